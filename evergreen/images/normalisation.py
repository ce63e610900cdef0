"""Batch-norm statistics, measured anew."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from evergreen.images.augment import to_float
from evergreen.images.encoders import Encoder
from evergreen.images.mixture import Images
from evergreen.training.precision import Resolved, autocast

BATCHES = 30
BATCH_SIZE = 256
MEASURED = 10 * BATCH_SIZE
"""Images that a training measures the statistics on, before and after."""


def recalibrate(
    encoder: Encoder,
    images: Images,
    rows: NDArray[np.int64],
    precision: Resolved,
    seed: int,
    batches: int = BATCHES,
    batch_size: int = BATCH_SIZE,
) -> Encoder:
    """Measure the batch-norm statistics anew on some images; the weights stay. The encoder is changed and returned.

    A shift of the inputs moves the statistics of every layer, and with those of the new regime much of the harm is
    undone without a label (Li et al. 2016, Revisiting batch normalization for practical domain adaptation; Schneider
    et al. 2020, Improving robustness against common corruptions by covariate shift adaptation).

    Args:
        encoder: any; one without batch norm stays as it is.
        images: a collection.
        rows: row numbers in it to draw batches from, with replacement; at least one.
        precision: of the forward passes.
        seed: of the draws.
        batches: how many; the statistics are the plain mean over them.
        batch_size: images in each.
    """
    rng = np.random.default_rng(seed)
    device = encoder.mean.device
    drawn = (images.take(rng.choice(rows, size=batch_size)) for _ in range(batches))
    return measure_statistics(encoder, (to_float(batch.to(device)) for batch in drawn), precision)


def measure_statistics(encoder: Encoder, batches: Iterable[Tensor], precision: Resolved) -> Encoder:
    """Make the batch-norm statistics the plain mean over some batches (Wu and Johnson 2021, section 3: PreciseBN).

    The statistics that training leaves are those of its views, and of weights that have changed since.

    Args:
        encoder: changed and returned, ready to answer; without batch norm no batch is asked for.
        batches: float images (N, 3, H, W) in [0, 1].
        precision: of the forward passes.
    """
    layers = norms(encoder)
    momenta = [layer.momentum for layer in layers]
    encoder.eval()  # whatever else behaves differently in training, dropout say, answers as it will
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.train()
    with torch.no_grad(), autocast(precision, encoder.mean.device):
        for images in batches if layers else ():
            encoder(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return encoder.eval()


def norms(encoder: nn.Module) -> list[_BatchNorm]:
    """The layers that keep statistics."""
    return [layer for layer in encoder.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


def normalised(encoder: nn.Module) -> bool:
    """Whether there are statistics to measure."""
    return bool(norms(encoder))


def random_batches(images: Images, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """``MEASURED`` different whole images, or about all if there are fewer: float (N, 3, H, W) on ``device``."""
    chosen = torch.randperm(len(images), generator=generator)[:MEASURED]
    whole = max(BATCH_SIZE, len(chosen) // BATCH_SIZE * BATCH_SIZE)  # a small batch would count as much as the others
    for rows in chosen[:whole].split(BATCH_SIZE):
        yield to_float(images.take(rows.numpy()).to(device))
