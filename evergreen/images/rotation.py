"""Rotation prediction: the pretext that contrastive learning replaced, as a baseline for it.

Each image is shown in its four orientations, and the network says which is which; to see that a dog stands on its head
it must know dogs (Gidaris, Singh and Komodakis 2018, Unsupervised representation learning by predicting image
rotations).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.images.augment import AugmentConfig, augment, draw, to_float
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder, forward_flops
from evergreen.images.feed import epoch_order
from evergreen.images.mixture import Images
from evergreen.images.training_parts import PASSES, Student, descend
from evergreen.progress import Progress
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Precision, Resolved, autocast, resolve
from evergreen.training.schedules import warmup_cosine

TURNS = 4


class RotationConfig(Config):
    """How the encoder is pretrained.

    A batch has ``batch_size`` images, each of them four times. The augmentation leaves the colours alone, as in the
    paper: nothing here would be solved by comparing them.
    """

    encoder: EncoderConfig = EncoderConfig()
    augment: AugmentConfig = AugmentConfig(crop_scale=(0.7, 1.0), jitter_probability=0.0, grey_probability=0.0)
    epochs: int = Field(gt=0)
    batch_size: int = Field(default=128, gt=0)
    view_size: int = Field(default=16, gt=0)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    precision: Precision = "auto"

    def batches(self, images: int) -> tuple[int, int]:
        """Size of a batch and batches in an epoch: a small set is one batch, a last incomplete one is left out."""
        size = min(self.batch_size, images)
        return size, images // size

    def flops(self, encoder: Encoder, images: int) -> float:
        """Cost of the whole pretraining on so many images."""
        views = TURNS * self.epochs * math.prod(self.batches(images))
        return float(PASSES * views * forward_flops(encoder, self.view_size))


def pretrain_rotation(
    images: Images,
    config: RotationConfig,
    seed: int,
    device: torch.device,
    progress: Progress,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Encoder:
    """Pretrain an encoder on unlabelled images by predicting how they were turned.

    Args:
        images: at least 2.
        config: the recipe.
        seed: of weights, order and views.
        device: where it runs.
        progress: told of every image.
        on_epoch: called with each epoch's record {epoch, loss, accuracy}, accuracy that of the four-way guess.

    Returns:
        The encoder, in eval mode.

    Raises:
        BadInputError: there are fewer than 2 images, or the loss is no number any more.
    """
    if len(images) < 2:
        raise BadInputError(f"Rotation pretraining needs at least 2 images, found {len(images)}. Ingest more images.")
    precision = resolve(config.precision, device)
    torch.manual_seed(seed)
    encoder = build_encoder(config.encoder)
    model = Student(encoder, nn.Linear(encoder.features, TURNS)).to(device).train()
    optimiser = sgd([model], config.momentum, config.weight_decay)
    for epoch in range(config.epochs):
        loss, accuracy = rotation_epoch(model, optimiser, images, config, seed, epoch, precision, progress)
        if not math.isfinite(loss):
            raise BadInputError(
                f"The rotation loss became {loss} in epoch {epoch + 1}. Lower learning_rate ({config.learning_rate}) "
                "or set precision: fp32."
            )
        if on_epoch:
            on_epoch({"epoch": epoch + 1, "loss": loss, "accuracy": accuracy})
    return encoder.eval()


def rotation_epoch(
    model: Student,
    optimiser: torch.optim.Optimizer,
    images: Images,
    config: RotationConfig,
    seed: int,
    epoch: int,
    precision: Resolved,
    progress: Progress,
) -> tuple[float, float]:
    """Train one epoch; the last incomplete batch is left out. Returns the mean loss and accuracy of its steps."""
    device = model.head.weight.device
    batch, steps = config.batches(len(images))
    total = config.epochs * steps
    order = epoch_order(len(images), seed, epoch)
    draws = draw(len(images), views=1, seed=seed, epoch=epoch)[:, 0]
    sums = torch.zeros(2, device=device)
    for step in range(steps):
        warmup = math.ceil(config.warmup_fraction * total)
        set_learning_rate(optimiser, warmup_cosine(epoch * steps + step, total, config.learning_rate, warmup))
        rows = order[step * batch : (step + 1) * batch]
        pixels = to_float(images.take(rows).to(device))
        views = augment(pixels, draws[torch.from_numpy(rows)].to(device), config.augment, config.view_size)
        turned, turns = all_turns(views)
        with autocast(precision, device):
            logits = model(turned).float()
        loss = functional.cross_entropy(logits, turns)
        descend(optimiser, loss)
        sums += torch.stack([loss.detach(), (logits.argmax(dim=1) == turns).float().mean()])
        progress.advance(batch)
    mean_loss, accuracy = (sums / steps).tolist()
    return mean_loss, accuracy


def all_turns(images: Tensor) -> tuple[Tensor, Tensor]:
    """Square images (N, C, S, S) turned counter-clockwise by 0°, 90°, 180° and 270°, and the number of quarter turns.

    Returns:
        (4N, C, S, S), first all upright ones, and (4N,) int64.
    """
    turned = torch.cat([torch.rot90(images, k, dims=(2, 3)) for k in range(TURNS)])
    return turned, torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
