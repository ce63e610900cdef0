"""Optimisers with the usual groups: no weight decay on biases and normalisation."""

from collections.abc import Iterable

import torch
from torch import nn


def sgd(modules: Iterable[nn.Module], momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum; parameters with fewer than two dimensions are not decayed.

    The learning rate is set at every step by :func:`set_learning_rate`.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=momentum > 0)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the same rate, times the group's own ``scale`` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
