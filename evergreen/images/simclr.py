"""SimCLR pretraining (Chen et al. 2020): two views of each image, pulled together among all others of the batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.images.augment import AugmentConfig, augment, draw, to_float
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder, projection_head
from evergreen.images.imageset import ImageSet
from evergreen.images.losses import alignment, nt_xent, uniformity
from evergreen.progress import Progress
from evergreen.training import checkpoints
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Precision, Resolved, autocast, resolve
from evergreen.training.schedules import warmup_cosine

MIN_IMAGES = 16


class SimCLRConfig(Config):
    """How the encoder is pretrained.

    ``view_sizes`` lists the side of the views in pixels; the epochs are shared out among them in order. Views smaller
    than the images cost less by the square of the ratio, and in a short run more epochs are worth more than pixels.
    """

    encoder: EncoderConfig = EncoderConfig()
    augment: AugmentConfig = AugmentConfig()
    epochs: int = Field(gt=0)
    batch_size: int = Field(default=256, ge=4)
    view_sizes: tuple[int, ...] = (16,)
    temperature: float = Field(default=0.5, gt=0)
    learning_rate: float = Field(default=0.3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    head_hidden: int = 512
    head_output: int = 128
    precision: Precision = "auto"

    def batches(self, images: int) -> tuple[int, int]:
        """Size of a batch and batches in an epoch: a small set is one batch, a last incomplete one is left out."""
        size = min(self.batch_size, images)
        return size, images // size

    def view_size(self, epoch: int) -> int:
        """Side of the views in a 0-based epoch."""
        return self.view_sizes[epoch * len(self.view_sizes) // self.epochs]


@dataclass
class Pretrained:
    """An encoder, how it got there, and the format it was computed in."""

    encoder: Encoder
    history: list[dict[str, Any]]
    precision: Resolved


class SimCLR(nn.Module):
    """Encoder f and projection head g."""

    def __init__(self, config: SimCLRConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder)
        self.head = projection_head(self.encoder.features, config.head_hidden, config.head_output)

    def forward(self, views: Tensor) -> Tensor:
        projections: Tensor = self.head(self.encoder(views))
        return projections


def pretrain(
    images: ImageSet,
    config: SimCLRConfig,
    seed: int,
    device: torch.device,
    progress: Progress,
    checkpoint: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Pretrained:
    """Pretrain an encoder on unlabelled images.

    Args:
        images: at least 16 of them; a view is told from the others of its batch.
        config: the recipe.
        seed: of weights, order and views.
        device: where it runs.
        progress: told of every image pair.
        checkpoint: folder written after every epoch and read at the start: a run that was cut off goes on exactly.
        on_epoch: called with each epoch's record {epoch, loss, learning_rate, alignment, uniformity, view_size}.

    Raises:
        BadInputError: there are too few images, or the loss is no number any more.
    """
    if len(images) < MIN_IMAGES:
        raise BadInputError(
            f"Pretraining needs at least {MIN_IMAGES} images, found {len(images)} in the training windows. "
            "Ingest more images."
        )
    precision = resolve(config.precision, device)
    torch.manual_seed(seed)
    model = SimCLR(config).to(device)
    optimiser = sgd([model], config.momentum, config.weight_decay)
    done = (checkpoints.load(checkpoint, model, optimiser) if checkpoint else None) or {"epoch": 0, "history": []}
    history: list[dict[str, Any]] = done["history"]
    progress.advance(done["epoch"] * math.prod(config.batches(len(images))))
    for epoch in range(done["epoch"], config.epochs):
        record = run_epoch(model, optimiser, images, config, seed, epoch, device, precision, progress)
        history.append(record)
        if checkpoint:
            checkpoints.save(checkpoint, model, optimiser, {"epoch": epoch + 1, "history": history})
        if on_epoch:
            on_epoch(record)
    return Pretrained(model.encoder.eval(), history, precision)


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch visits the images, a function of (seed, epoch)."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def run_epoch(
    model: SimCLR,
    optimiser: torch.optim.Optimizer,
    images: ImageSet,
    config: SimCLRConfig,
    seed: int,
    epoch: int,
    device: torch.device,
    precision: Resolved,
    progress: Progress,
) -> dict[str, Any]:
    """Train one epoch; the last incomplete batch is left out. Returns its record.

    The sums stay on the device: reading them at every step would make a GPU wait.
    """
    model.train()
    size = config.view_size(epoch)
    batch, steps = config.batches(len(images))
    order = epoch_order(len(images), seed, epoch)
    draws = draw(len(images), views=2, seed=seed, epoch=epoch)
    sums = torch.zeros(3, device=device)
    rate = 0.0
    for step in range(steps):
        rows = order[step * batch : (step + 1) * batch]
        rate = warmup_cosine(
            epoch * steps + step,
            config.epochs * steps,
            config.learning_rate,
            math.ceil(config.warmup_fraction * config.epochs * steps),
        )
        set_learning_rate(optimiser, rate)
        views = two_views(images.take(rows).to(device), draws[torch.from_numpy(rows)].to(device), config, size)
        sums += train_step(model, optimiser, views, config.temperature, precision)
        every = 20  # steps between two readings of the loss
        progress.advance(batch, **({"loss": f"{sums[0].item() / (step + 1):.3f}"} if step % every == 0 else {}))
    loss, align, uniform = (sums / steps).tolist()
    if not math.isfinite(loss):
        raise BadInputError(
            f"The contrastive loss became {loss} in epoch {epoch + 1}. Lower images.pretrain.learning_rate "
            f"({config.learning_rate}) or set precision: fp32 in params.yaml."
        )
    return {
        "epoch": epoch + 1,
        "loss": loss,
        "learning_rate": rate,
        "alignment": align,
        "uniformity": uniform,
        "view_size": size,
    }


def two_views(images: Tensor, draws: Tensor, config: SimCLRConfig, size: int) -> Tensor:
    """Both views of a batch, (2N, 3, size, size): first all first views, then all second ones.

    Args:
        images: uint8 (N, H, W, 3).
        draws: (N, 2, DRAWS).
    """
    batch = to_float(images)
    return torch.cat([augment(batch, draws[:, view], config.augment, size) for view in (0, 1)])


def train_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, views: Tensor, temperature: float, precision: Resolved
) -> Tensor:
    """One step of gradient descent; returns (3,): loss, alignment and uniformity before it."""
    with autocast(precision, views.device):
        z = model(views)
    loss = nt_xent(z, temperature)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        return torch.stack([loss.detach(), alignment(z), uniformity(z)])
