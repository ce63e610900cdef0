"""The process model on disk: weights and counts as safetensors, and a JSON description, bound together by a hash."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_file, write_atomically, write_json
from evergreen.process.contexts import FAMILIES
from evergreen.process.ensemble import Ensemble, Said
from evergreen.process.learner import EvergreenConfig, EvergreenLearner
from evergreen.process.network import Network
from evergreen.process.prefixes import LONG_LENGTH, Window

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
KIND = "evergreen-process"


@dataclass
class Champion:
    """A model that answers for open cases.

    Attributes:
        activities: code of each name, for the windows it is given.
        resources: likewise.
        names: of the codes.
        outcomes: codes of the activities that can be an outcome.
        window: events that it looks back.
        facts: what else its description says.
    """

    parts: Ensemble
    activities: dict[str, int]
    resources: dict[str, int]
    names: tuple[str, ...]
    outcomes: tuple[int, ...]
    facts: dict[str, Any]
    window: int = LONG_LENGTH

    @property
    def weights_sha256(self) -> str:
        """What the model is known by."""
        return str(self.facts["sha256"])

    def say(self, window: Window) -> Said:
        """Answers for n cases as they are at the end of their windows; the outcome's columns are those of ``outcomes``.

        Args:
            window: of :attr:`window` events, coded with :attr:`activities` and :attr:`resources`.
        """
        said = self.parts.say(window)
        chosen = said.outcome[:, list(self.outcomes)]
        share = chosen / np.maximum(chosen.sum(1, keepdims=True), 1e-12)
        return Said(said.probabilities, said.classes, said.remaining_days, share)


def save(path: Path, learner: EvergreenLearner, **facts: Any) -> str:
    """Write a model as a bundle, a folder that replaces ``path``; returns the SHA-256 of its weights.

    Args:
        path: of the folder.
        learner: the model.
        facts: JSON values that are kept in the description.
    """
    parts, stream = learner.parts, learner.task.stream
    tensors = {f"network.{name}": value.contiguous() for name, value in parts.network.state_dict().items()}
    for part, arrays in _arrays(parts).items():
        tensors |= {f"{part}.{name}": torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    known = max(parts.known, 1)
    description = {
        "kind": KIND,
        "settings": learner.config.model_dump(mode="json"),
        "classes": parts.table.classes,
        "network_classes": parts.network.classes,
        "known": parts.known,
        "activities": list(stream.activities[:known]),
        "resources": list(stream.resources),
        "outcomes": [code for code in learner.task.outcomes.tolist() if code < min(known, parts.table.classes)],
        **facts,
    }

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        save_file(tensors, folder / WEIGHTS)
        write_json(folder / CONFIG, {**description, "sha256": sha256_file(folder / WEIGHTS)})

    write_atomically(path, write)
    return sha256_file(path / WEIGHTS)


def load(path: Path, expected_sha256: str | None = None) -> Champion:
    """Read a bundle. Nothing is unpickled.

    Raises:
        BadInputError: it is no bundle of this kind, or not as it was written.
    """
    if not (path / CONFIG).is_file() or not (path / WEIGHTS).is_file():
        raise BadInputError(f"{path} holds no process model: expected {CONFIG} and {WEIGHTS} in it.")
    description = read_json(path / CONFIG)
    if description.get("kind") != KIND:
        raise BadInputError(f"{path} holds a model of kind {description.get('kind')!r}, expected {KIND!r}.")
    found = sha256_file(path / WEIGHTS)
    for wanted in (description["sha256"], expected_sha256):
        if wanted is not None and found != wanted:
            raise BadInputError(f"{path / WEIGHTS} has the SHA-256 {found}, expected {wanted}. Restore the bundle.")
    config = EvergreenConfig.read(description["settings"], f"{path / CONFIG}: settings")
    network = Network(config.network, int(description["network_classes"]), 0)
    parts = Ensemble(FAMILIES if config.counts else FAMILIES[:1], network, config.max_count_mib << 20)
    tensors = load_file(path / WEIGHTS)
    loaded = (("table", parts.table), ("mixture", parts.mixture), ("decision", parts.decision))
    network.load_state_dict(_under("network", tensors))
    for name, part in loaded:
        part.restore({key: value.numpy() for key, value in _under(name, tensors).items()})
    parts.known = int(description["known"])
    names = tuple(description["activities"])
    return Champion(
        parts,
        {name: code for code, name in enumerate(names)},
        {name: code for code, name in enumerate(description["resources"])},
        names,
        tuple(description["outcomes"]),
        description,
    )


def _arrays(parts: Ensemble) -> dict[str, dict[str, Any]]:
    return {
        "table": parts.table.arrays(),
        "mixture": parts.mixture.arrays(),
        "decision": parts.decision.arrays(),
    }


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in tensors.items() if key.startswith(f"{prefix}.")}
