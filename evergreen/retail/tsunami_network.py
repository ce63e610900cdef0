"""The published churn network and the recipe that trains it (Pasquadibisceglie et al. 2023, section 4.3)."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evergreen.progress import Progress, Silent

PATIENCE = 20
"""Epochs without a better validation loss before training stops."""
PLATEAU = 10
"""Epochs without a better validation loss before the learning rate is halved."""
VALIDATION = 0.2
"""Share of the rows, of each class alike, that training is stopped by."""


@dataclass(frozen=True)
class Recipe:
    """What the search chooses.

    Attributes:
        widths: neurons of each dense layer, one to three.
        dropout: share of a layer's outputs that training leaves out.
        batch: examples a step.
        rate: Adam's learning rate at the start.
    """

    widths: tuple[int, ...]
    dropout: float
    batch: int
    rate: float


class ChurnNetwork(nn.Module):
    """Dense layers with dropout, and one output.

    As published there is **no activation between the layers**, so however deep the network is, its answers are those
    of a linear model. The sigmoid is left to the loss, where it is exact for large scores too.
    """

    def __init__(self, features: int, recipe: Recipe) -> None:
        super().__init__()
        sizes = (features, *recipe.widths)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.Dropout(recipe.dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):  # Keras' own start
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(n, features) scaled → (n,) log odds of churn."""
        odds: Tensor = self.layers(features)
        return odds[:, 0]


class Trainer:
    """A network with its optimiser, which fine-tuning takes up again where the training before it stopped."""

    def __init__(self, features: int, recipe: Recipe, epochs: int, seed: int) -> None:
        self.recipe, self.epochs, self.seed, self.trained = recipe, epochs, seed, 0
        self.flops = 0.0
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.network = ChurnNetwork(features, recipe)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.rate, fused=True)

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.bool_], progress: Progress | None = None) -> float:
        """Train until the validation loss gets no better; the best weights stay.

        Args:
            features: (n, d), scaled.
            labels: (n,), True is churn.
            progress: advanced by each epoch.

        Returns:
            The smallest validation loss, unweighted.
        """
        order = np.random.default_rng((self.seed, self.trained))
        training, validation = stratified(labels, VALIDATION, order)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(int(order.integers(1 << 62)))
            self.trained += 1
            watched = validation if len(validation) else training  # too few rows to set any apart
            return self._fit(_Part.of(features, labels, training), _Part.of(features, labels, watched), progress)

    def _fit(self, training: "_Part", validation: "_Part", progress: Progress | None) -> float:
        weights = class_weights(training.labels)
        best, kept, since, since_halved = np.inf, self._weights(), 0, 0
        size = sum(values.numel() for values in self.network.parameters())
        for _ in range(self.epochs):
            self._epoch(training, weights)
            self.flops += size * (6.0 * len(training.labels) + 2.0 * len(validation.labels))
            loss = self._loss(validation)
            (progress or Silent()).advance()
            if loss < best:
                best, kept, since, since_halved = loss, self._weights(), 0, 0
                continue
            since, since_halved = since + 1, since_halved + 1
            if since_halved == PLATEAU:
                since_halved = 0
                for group in self.optimiser.param_groups:
                    group["lr"] *= 0.5
            if since == PATIENCE:
                break
        self.network.load_state_dict(kept)
        return float(best)

    def _epoch(self, part: "_Part", weights: Tensor) -> None:
        self.network.train()
        for rows in torch.randperm(len(part.labels)).split(self.recipe.batch):
            labels = part.labels[rows]
            odds = self.network(part.features[rows])
            loss = nn.functional.binary_cross_entropy_with_logits(odds, labels, weights[labels.long()])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()

    @torch.no_grad()
    def _loss(self, part: "_Part") -> float:
        self.network.eval()
        return float(nn.functional.binary_cross_entropy_with_logits(self.network(part.features), part.labels))

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}

    @torch.no_grad()
    def answer(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, d) scaled → (n,) probabilities of churn."""
        self.network.eval()
        return np.asarray(torch.sigmoid(self.network(torch.from_numpy(features))).numpy(), np.float64)


@dataclass(frozen=True)
class _Part:
    features: Tensor
    labels: Tensor

    @classmethod
    def of(cls, features: NDArray[np.float32], labels: NDArray[np.bool_], rows: NDArray[np.int64]) -> "_Part":
        return cls(torch.from_numpy(features[rows]), torch.from_numpy(labels[rows].astype(np.float32)))


def class_weights(labels: Tensor) -> Tensor:
    """Weights n / (2 n_c) of the two classes; a class without rows has none to weigh.

    n and n_c count the same rows. In the published code n leaves the validation part out and n_c does not, which
    makes all weights, and so all gradients, a fifth smaller: no other answer, a slightly smaller learning rate.

    >>> class_weights(torch.tensor([1.0, 1.0, 1.0, 0.0])).tolist()
    [2.0, 0.6666666865348816]
    """
    counts = torch.bincount(labels.long(), minlength=2)
    return (len(labels) / (2 * counts.clamp(min=1))).float()


def stratified(
    labels: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows at random into training and validation, ``share`` of each class, rounded; a class of one trains.

    The published split looks at no customer: near-identical rows of one customer are on both sides. It is kept, as it
    only stops the training of the reference.
    """
    held = np.zeros(len(labels), bool)
    for value in (False, True):
        rows = np.flatnonzero(labels == value)
        held[rng.permutation(rows)[: round(share * len(rows))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
