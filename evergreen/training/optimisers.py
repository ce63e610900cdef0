"""Optimisers with the usual groups: no weight decay on biases and normalisation."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

OptimiserName = Literal["sgd", "lars", "adamw"]


def build_optimiser(
    name: OptimiserName, modules: Iterable[nn.Module], momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimiser by name; ``momentum`` is AdamW's β₁, its β₂ stays 0.999."""
    if name == "sgd":
        return sgd(modules, momentum, weight_decay)
    groups = decay_groups(modules, weight_decay)
    if name == "lars":
        groups[1]["adapted"] = False
        return LARS(groups, momentum)
    return torch.optim.AdamW(groups, lr=0.0, betas=(momentum, 0.999))


def sgd(modules: Iterable[nn.Module], momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum; parameters with fewer than two dimensions are not decayed.

    The learning rate is set at every step by :func:`set_learning_rate`.
    """
    return torch.optim.SGD(decay_groups(modules, weight_decay), lr=0.0, momentum=momentum, nesterov=momentum > 0)


def decay_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters in two groups: weights, which are decayed, then biases and norms, which are not."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You et al. 2017, algorithm 1): for large batches.

    Each weight tensor w with gradient g moves by momentum on λ·(g + βw), where λ = η‖w‖ / (‖g‖ + β‖w‖) and β is the
    weight decay. Groups with ``adapted`` false, biases and norms, take plain momentum (Chen et al. 2020, section 2.2).
    A tensor whose norm or gradient is zero takes λ = 1.

    Args:
        groups: parameter groups with ``weight_decay``.
        momentum: of every group.
        trust: η.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float, trust: float = 1e-3) -> None:
        defaults = {"lr": 0.0, "momentum": momentum, "weight_decay": 0.0, "trust": trust, "adapted": True}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        decay = group["weight_decay"]
        update = parameter.grad.add(parameter, alpha=decay)
        if group["adapted"]:
            weight, gradient = parameter.norm(), parameter.grad.norm()
            local = group["trust"] * weight / (gradient + decay * weight)
            update = update * torch.where((weight > 0) & (gradient > 0), local, torch.ones_like(local))
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(update * group["lr"])
        parameter.sub_(buffer)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the same rate, times the group's own ``scale`` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
