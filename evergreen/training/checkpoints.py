"""Checkpoints from which training goes on exactly: safetensors and JSON, nothing pickled."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evergreen.files import read_json, remove, write_atomically, write_json


def save(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Write weights, buffers, optimiser state and ``progress`` (JSON) in one rename.

    Args:
        folder: the checkpoint; replaced.
        module: everything that is trained.
        optimiser: its state holds tensors only (SGD's momentum).
        progress: what the loop needs to go on, e.g. ``{"epoch": 3, "history": [...]}``.
    """
    tensors = {f"module.{name}": value.contiguous() for name, value in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{name}"] = value.contiguous()

    def write(part: Path) -> None:
        part.mkdir(parents=True)
        save_file(tensors, part / "state.safetensors")
        write_json(part / "progress.json", progress)

    write_atomically(folder, write)


def load(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restore a checkpoint into ``module`` and ``optimiser``; returns its progress, or None if there is none."""
    if not (folder / "progress.json").exists():
        return None
    tensors = load_file(folder / "state.safetensors")
    module.load_state_dict({n.removeprefix("module."): t for n, t in tensors.items() if n.startswith("module.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
    progress: dict[str, Any] = read_json(folder / "progress.json")
    return progress


def discard(folder: Path) -> None:
    """Remove a checkpoint that is no longer needed."""
    remove(folder)
