"""Checkpoints from which training goes on exactly: safetensors and JSON, nothing pickled."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from evergreen.files import remove, write_atomically

STATE = "state.safetensors"
PROGRESS = "progress"


def save(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Write weights, buffers, optimiser state, random generators and ``progress`` (JSON) in one rename of one file.

    Whenever the process is killed, the last checkpoint or the one before it is there and whole.

    Args:
        folder: the checkpoint's place; what it held is replaced.
        module: everything that is trained.
        optimiser: its state holds tensors only, as that of SGD, LARS and AdamW does.
        progress: what the loop needs to go on, e.g. ``{"epoch": 3, "history": [...]}``.
    """
    tensors = {f"module.{name}": value.contiguous() for name, value in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{name}"] = value.contiguous()
    tensors |= {f"random.{name}": state for name, state in random_states().items()}
    metadata = {PROGRESS: json.dumps(progress)}
    write_atomically(folder / STATE, lambda part: save_file(tensors, part, metadata))


def load(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restore a checkpoint into ``module``, ``optimiser`` and torch's generators.

    Returns:
        Its progress, or None if there is no checkpoint.
    """
    if not (folder / STATE).exists():
        return None
    with safe_open(folder / STATE, framework="pt") as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress: dict[str, Any] = json.loads(file.metadata()[PROGRESS])
    module.load_state_dict(_below("module.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _below("optimiser.", tensors).items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
    set_random_states(_below("random.", tensors))
    return progress


def discard(folder: Path) -> None:
    """Remove a checkpoint that is no longer needed."""
    remove(folder)


def random_states() -> dict[str, Tensor]:
    """The states of torch's generators, which dropout draws from: the processor's and the current CUDA card's."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Tensor]) -> None:
    """Put back what :func:`random_states` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
