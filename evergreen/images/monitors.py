"""What tells during pretraining whether the features are any good, and when they have collapsed."""

import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from evergreen.config import Config
from evergreen.errors import StoppedError

Monitor = Literal["loss", "alignment", "uniformity", "feature_std", "rankme", "knn_accuracy"]
LOWER_IS_BETTER = ("loss", "alignment", "uniformity")


def feature_std(z: Tensor) -> Tensor:
    """Spread of unit vectors z (n, D): √D times the mean standard deviation of a coordinate.

    1 when they point everywhere evenly, 0 when they are all the same (Chen and He 2021, section 4.1).
    """
    unit = functional.normalize(z.float(), dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(z.shape[1])


def rankme(z: Tensor) -> Tensor:
    """Effective rank of z (n, D): exp of the entropy of its singular values (Garrido et al. 2023, equation 3).

    From 1, all vectors parallel, to min(n, D).
    """
    singular = torch.linalg.svdvals(z.float())
    share = singular / singular.sum().clamp(min=torch.finfo(singular.dtype).tiny)
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()


def knn_accuracy(features: Tensor, labels: Tensor, neighbours: int = 10, temperature: float = 0.1) -> float:
    """Leave-one-out accuracy of weighted nearest neighbours by cosine similarity (Wu et al. 2018, section 3.4).

    Args:
        features: (n, D), n ≥ 2.
        labels: (n,) class numbers from 0.
        neighbours: how many vote; fewer where there are not so many.
        temperature: a neighbour of similarity s votes exp(s / temperature).
    """
    unit = functional.normalize(features.float(), dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(float("-inf"))
    weight, nearest = similarity.topk(min(neighbours, len(unit) - 1), dim=1)
    votes = functional.one_hot(labels[nearest], int(labels.max()) + 1) * (weight / temperature).exp().unsqueeze(2)
    return float((votes.sum(dim=1).argmax(dim=1) == labels).double().mean())


class CollapseConfig(Config):
    """When a run counts as collapsed: one sign, ``patience`` looks in a row, one look every ``every`` steps.

    Attributes:
        every: steps between two looks; 0 never looks.
        patience: looks.
        min_std: below this :func:`feature_std` the projections are all but equal.
        min_rankme: below this :func:`rankme` they lie on a line.
        loss_margin: nearer than this to log(2N − 1) the loss (nt_xent) says that all views look alike.
    """

    every: int = Field(default=20, ge=0)
    patience: int = Field(default=5, ge=1)
    min_std: float = Field(default=0.01, ge=0)
    min_rankme: float = Field(default=1.05, ge=0)
    loss_margin: float = Field(default=1e-4, ge=0)


class CollapseWatch:
    """Counts for how many looks in a row each sign of collapse has been there.

    Args:
        config: thresholds.
        counts: where a resumed run goes on.
    """

    def __init__(self, config: CollapseConfig, counts: dict[str, int] | None = None) -> None:
        self.config = config
        self.counts = dict(counts or {})

    def look(self, loss: float, z: Tensor, chance: float | None, when: str) -> None:
        """Judge one step.

        Args:
            loss: its loss.
            z: (2N, D) its projections.
            chance: the loss of identical views, None where the loss has no such value.
            when: the step in words, for the message.

        Raises:
            StoppedError: a sign has now been there ``patience`` times in a row.
        """
        config, z = self.config, z.detach()
        std, rank = float(feature_std(z)), float(rankme(z))
        signs = {
            f"feature_std {std:.4g} < {config.min_std}": ("feature_std", std < config.min_std),
            f"rankme {rank:.4g} < {config.min_rankme}": ("rankme", rank < config.min_rankme),
        }
        if chance is not None:
            near = abs(loss - chance) < config.loss_margin
            signs[f"loss {loss:.4g} is that of identical views, {chance:.4g}"] = ("loss", near)
        for words, (name, there) in signs.items():
            self.counts[name] = self.counts.get(name, 0) + 1 if there else 0
            if self.counts[name] >= config.patience:
                raise StoppedError(
                    f"Pretraining has collapsed in {when}: {words}, {config.patience} times in a row. Lower "
                    "images.pretrain.learning_rate, use a larger batch_size or a head with batch norm; "
                    "images.pretrain.collapse has the thresholds."
                )


def check_gates(gates: dict[Monitor, float], record: dict[str, Any]) -> None:
    """Hold the last epoch's record against the limits: upper ones for loss, alignment, uniformity, lower for the rest.

    Raises:
        StoppedError: a monitor is on the wrong side, or was not measured.
    """
    for name, limit in gates.items():
        found = record.get(name)
        if found is None:
            raise StoppedError(
                f"The gate on {name} has nothing to judge: it was not measured. knn_accuracy needs labelled images; "
                "take the gate out of images.pretrain.gates or label some."
            )
        if found > limit if name in LOWER_IS_BETTER else found < limit:
            expected = "at most" if name in LOWER_IS_BETTER else "at least"
            raise StoppedError(
                f"The encoder does not pass its gate: {name} is {found:.4g}, expected {expected} {limit}. Nothing was "
                "written. Train longer or change images.pretrain.gates."
            )
