"""Pretraining in several processes: one loss over all their images, one set of weights.

The convention everywhere: there is one loss, every process computes it whole from the gathered projections, and the
gradients that the processes hold are the parts of its gradient. So gathering hands each process its own slice back, and
the parameters' gradients are summed, not averaged. Where each process has a loss of its own part of the batch and
gradients are averaged, as in data-parallel training of classifiers, one of the two has to be done otherwise.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from evergreen.errors import BadInputError
from evergreen.training.precision import best_device


@dataclass(frozen=True)
class Processes:
    """This process among all that train together: number ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def part(self, start: int, count: int) -> slice:
        """This process's part of a batch; ``count`` is a multiple of ``world``. Parts in order of rank are the batch.

        >>> Processes(1, 2).part(6, 6)
        slice(9, 12, None)
        """
        each = count // self.world
        return slice(start + self.rank * each, start + (self.rank + 1) * each)


ALONE = Processes()


@contextmanager
def joined() -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, as its environment says, and give this one its device.

    Over NCCL with a card for each process of the machine, else over gloo on the processor. Without torchrun: one
    process and the best device.

    Raises:
        BadInputError: there are cards, but fewer than processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE, best_device()
        return
    local = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise BadInputError(
                f"Process {local} of this machine finds {torch.cuda.device_count()} CUDA cards, expected one for each "
                "process. Start as many as there are cards: torchrun --nproc-per-node."
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), world), device
    finally:
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Concatenation over the processes; the gradient of one loss that all compute alike is the own slice of it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes, ctx.rows = processes, own.shape[1]
        parts = [torch.empty_like(own) for _ in range(processes.world)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.narrow(1, ctx.processes.rank * ctx.rows, ctx.rows), None


def gather_views(z: Tensor, processes: Processes) -> Tensor:
    """Projections of all processes, with gradient, in the order of the whole batch.

    Args:
        z: (2n, D) of this process, first all first views, then all second ones.
        processes: who takes part; each has n images.

    Returns:
        (2·n·world, D), first all first views in order of rank, then all second ones.
    """
    if processes.world == 1:
        return z
    gathered: Tensor = _Gather.apply(z.float().view(2, len(z) // 2, -1), processes)
    return gathered.flatten(0, 1)


def gather_labels(labels: Tensor, processes: Processes) -> Tensor:
    """Labels (n,) of all processes in order of rank, (n·world,)."""
    if processes.world == 1:
        return labels
    parts = [torch.empty_like(labels) for _ in range(processes.world)]
    dist.all_gather(parts, labels.contiguous())
    return torch.cat(parts)


def sum_gradients(module: nn.Module, processes: Processes) -> None:
    """Add up the parts of the gradient that the processes hold, in one message."""
    if processes.world == 1:
        return
    parameters = [p for p in module.parameters() if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in parameters])
    dist.all_reduce(flat)
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))  # in the weight's own layout


def start_alike(module: nn.Module, progress: dict[str, Any] | None, processes: Processes) -> None:
    """Give every process the weights of the first one, and make sure that all go on from the same checkpoint.

    Raises:
        BadInputError: they found different checkpoints.
    """
    if processes.world == 1:
        return
    for value in module.state_dict().values():
        dist.broadcast(value, src=0)
    here = None if progress is None else (progress["epoch"], progress["step"])
    found: list[Any] = [None] * processes.world
    dist.all_gather_object(found, here)
    if any(place != found[0] for place in found):
        raise BadInputError(
            f"The processes found different checkpoints: (epoch, step) {found}. EVERGREEN_HOME must be one folder that "
            "all of them see."
        )


class _Normalise(torch.autograd.Function):
    """Batch norm over the rows of all processes (Ioffe and Szegedy 2015), two messages forward and one backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        around = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        own = x.new_full((1,), x.numel() / x.shape[1])
        sums = torch.cat([x.sum(dim=around), own])
        dist.all_reduce(sums)
        count = sums[-1]
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        variance = centred.square().sum(dim=around)  # not E[x²] − E[x]², which cancels
        dist.all_reduce(variance)
        variance /= count
        scale = (variance + eps).rsqrt()
        normal = centred * scale.view(shape)
        ctx.save_for_backward(normal, weight, scale, count)
        ctx.around, ctx.shape = around, shape
        ctx.mark_non_differentiable(mean, variance, count)
        return normal * weight.view(shape) + bias.view(shape), mean, variance, count

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        normal, weight, scale, count = ctx.saved_tensors
        of_bias, of_weight = dy.sum(dim=ctx.around), (dy * normal).sum(dim=ctx.around)
        means = torch.stack([of_bias, of_weight])
        dist.all_reduce(means)
        mean_bias, mean_weight = (means / count).view(2, *ctx.shape).unbind()
        dx = (dy - mean_bias - normal * mean_weight) * (weight * scale).view(ctx.shape)
        return dx, of_weight, of_bias, None  # own parts: sum_gradients adds them up


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training mode are those of all processes' rows, on any device and backend.

    torch.nn.SyncBatchNorm does the same on CUDA only. Names of weights and buffers are those of the replaced layer.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        if not self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        normal, mean, variance, count = _Normalise.apply(x.float(), self.weight, self.bias, self.eps)
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        out: Tensor = normal.to(x.dtype)
        return out


def synchronise(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch norm below ``module`` by one over all processes: torch's own on CUDA, ours elsewhere.

    Raises:
        BadInputError: a layer is a batch norm of a kind that cannot be replaced.
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            plain = child.affine and child.track_running_stats and child.momentum is not None
            if not plain:
                raise BadInputError(f"The batch norm {name} has no weights, statistics or momentum: run one process.")
            cuda = device.type == "cuda"
            setattr(
                module,
                name,
                nn.SyncBatchNorm.convert_sync_batchnorm(child) if cuda else SynchronisedBatchNorm(child),
            )
        elif isinstance(child, _BatchNorm):
            raise BadInputError(
                f"The layer {name} ({type(child).__name__}) cannot be synchronised between processes. Use another "
                "encoder or one process."
            )
        else:
            synchronise(child, device)
    return module
