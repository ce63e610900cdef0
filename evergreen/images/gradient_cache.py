"""The contrastive loss over a batch that the machine cannot hold, by gradient caching (Gao et al. 2021)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evergreen.training.checkpoints import random_states, set_random_states
from evergreen.training.precision import Resolved, autocast


def cached_backward(
    model: nn.Module, views: Tensor, loss_of: Callable[[Tensor], Tensor], chunk: int, precision: Resolved
) -> tuple[Tensor, Tensor]:
    """Loss of the whole batch, its gradient added to the parameters, with ``chunk`` images through the model at a time.

    A first pass computes all projections and keeps nothing else; the loss gives their gradients; a second pass repeats
    each chunk and hands its share of them on. It costs one forward pass more than the direct computation and equals it
    exactly where the model treats images one by one. Batch norm does not: it sees the chunk's statistics, those of
    2·chunk views, in both passes, and its running statistics follow the second pass only. Dropout repeats its masks.

    Args:
        model: images to projections.
        views: (2N, 3, S, S), first all first views, then all second ones; a chunk takes both views of its images.
        loss_of: from projections (2N, D) to a scalar.
        chunk: images at a time.
        precision: of the forward passes.

    Returns:
        The loss and the projections (2N, D), both without gradient.
    """
    parts = [torch.cat(pair) for pair in zip(*(half.split(chunk) for half in views.chunk(2)), strict=True)]
    states, projections = [], []
    with running_statistics_kept(model), torch.no_grad():
        for part in parts:
            states.append(random_states())
            with autocast(precision, views.device):
                projections.append(model(part))
    z = rows_together(projections).requires_grad_()
    loss = loss_of(z)
    (gradient,) = torch.autograd.grad(loss, z)
    halves = [half.split(chunk) for half in gradient.chunk(2)]
    for part, state, first, second in zip(parts, states, *halves, strict=True):
        set_random_states(state)
        with autocast(precision, views.device):
            again = model(part)
        again.backward(torch.cat([first, second]))
    return loss.detach(), z.detach()


def rows_together(parts: list[Tensor]) -> Tensor:
    """Projections of chunks, each first views then second ones, in the order of the whole batch."""
    return torch.cat([torch.cat([part.chunk(2)[view] for part in parts]) for view in (0, 1)])


class running_statistics_kept:  # noqa: N801, a context manager reads as a verb
    """While this is open, batch norms in training mode leave their running statistics as they are."""

    def __init__(self, model: nn.Module) -> None:
        self.norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self.kept: list[list[Tensor]] = []

    def __enter__(self) -> None:
        self.kept = [[buffer.clone() for buffer in norm.buffers(recurse=False)] for norm in self.norms]

    def __exit__(self, *_: object) -> None:
        for norm, values in zip(self.norms, self.kept, strict=True):
            for buffer, value in zip(norm.buffers(recurse=False), values, strict=True):
                buffer.copy_(value)
