"""The churn model on disk: safetensors beside a JSON description, bound together by a hash. Nothing is pickled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_file, write_atomically, write_json
from evergreen.retail.features import Encoder
from evergreen.retail.model import Linear, Network, NetworkConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"
LINEAR, BACKGROUND = "linear", "background"
FORMAT = 1

Floats = NDArray[np.float64]


@dataclass
class ChurnModel:
    """A model that answers one example at a time, from its own columns alone.

    Attributes:
        encoder: of examples.
        network, linear: the two experts; their log-odds are averaged.
        share: of the network.
        threshold: risk from which on churn is answered.
        background: (b, 3k) examples that explanations compare with.
        weights_sha256: of the file it was read from.
    """

    encoder: Encoder
    network: Network
    linear: Linear
    share: float
    threshold: float
    background: Floats = field(default_factory=lambda: np.empty((0, 0)))
    weights_sha256: str = ""

    @property
    def period_days(self) -> int:
        return self.encoder.period_days

    @property
    def churn_days(self) -> int:
        return self.encoder.churn_days

    @property
    def periods(self) -> int:
        return int(self.background.shape[1]) // 3

    def probabilities(self, features: Floats) -> Floats:
        """(n, 3k) → (n,) probability of churn."""
        codes = self.encoder(np.asarray(features, np.float64))
        network, linear = self.network.log_odds(codes), self.linear.log_odds(codes[:, : self.encoder.wide])
        log_odds = self.share * network + (1 - self.share) * linear
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -500, 500))))


def save(path: Path, model: ChurnModel, **facts: Any) -> str:
    """Write a bundle, a folder that replaces ``path``; returns the weights' SHA-256.

    Args:
        path: the folder.
        model: with its background.
        facts: JSON values that are kept in the description, e.g. ``horizon``: how far the training data reach.
    """
    tensors = {f"network.{name}": value.contiguous() for name, value in model.network.state_dict().items()}
    tensors[LINEAR] = torch.from_numpy(np.array(model.linear.weights, np.float64))
    tensors[BACKGROUND] = torch.from_numpy(np.array(model.background, np.float64))

    def fill(folder: Path) -> None:
        folder.mkdir(parents=True)
        save_file(tensors, folder / WEIGHTS)
        description = {
            "format": FORMAT,
            "weights_sha256": sha256_file(folder / WEIGHTS),
            "network": model.network.config.model_dump(),
            "encoder": model.encoder.to_json(),
            "share": model.share,
            "threshold": model.threshold,
            "torch": torch.__version__,
        }
        write_json(folder / CONFIG, description | facts)

    write_atomically(path, fill)
    return str(read_json(path / CONFIG)["weights_sha256"])


def load(path: Path, expected_sha256: str | None = None) -> ChurnModel:
    """Read a bundle.

    Args:
        path: its folder.
        expected_sha256: what the weights' hash must be, besides the one in the bundle's own description.

    Raises:
        BadInputError: a file is missing or damaged, or the hash is another one.
    """
    for name in (WEIGHTS, CONFIG):
        if not (path / name).is_file():
            raise BadInputError(f"{path / name} is missing, expected a churn model made by `evergreen run retail`.")
    description, found = read_json(path / CONFIG), sha256_file(path / WEIGHTS)
    for wanted in (description.get("weights_sha256"), expected_sha256 or found):
        if found != wanted:
            raise BadInputError(f"{path / WEIGHTS} has SHA-256 {found}, expected {wanted}. Make or fetch it again.")
    return _build(path, description, load_file(path / WEIGHTS), found)


def _build(path: Path, description: Mapping[str, Any], tensors: dict[str, torch.Tensor], sha256: str) -> ChurnModel:
    try:
        encoder = Encoder.from_json(description["encoder"])
        config = NetworkConfig.read(description["network"], f"{path / CONFIG}: network")
        network = Network(encoder.width, config, seed=0)
        prefix = "network."
        network.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        linear = Linear(tensors[LINEAR].numpy())
        background = tensors[BACKGROUND].numpy()
        share, threshold = float(description["share"]), float(description["threshold"])
    except (KeyError, RuntimeError) as error:
        raise BadInputError(f"{path} holds weights that do not fit its {CONFIG}: {error}") from error
    return ChurnModel(encoder, network.eval(), linear, share, threshold, background, sha256)
