"""Batch-norm statistics of another regime."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evergreen.images.augment import to_float
from evergreen.images.encoders import Encoder
from evergreen.images.mixture import Images
from evergreen.training.precision import Resolved, autocast

BATCHES = 30
BATCH_SIZE = 256


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
    layers = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
    encoder.train()
    rng = np.random.default_rng(seed)
    device = encoder.mean.device
    with torch.no_grad(), autocast(precision, device):
        for _ in range(batches if layers else 0):
            encoder(to_float(images.take(rng.choice(rows, size=batch_size)).to(device)))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return encoder.eval()
