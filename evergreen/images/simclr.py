"""SimCLR pretraining (Chen et al. 2020): two views of each image, pulled together among all others of the batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evergreen.errors import BadInputError
from evergreen.images.bundle import embed_batches
from evergreen.images.contrastive import SimCLR, backward, two_views
from evergreen.images.distributed import ALONE, Processes, start_alike, synchronise
from evergreen.images.encoders import Encoder
from evergreen.images.feed import Feed
from evergreen.images.imageset import ImageSet
from evergreen.images.losses import alignment, uniformity
from evergreen.images.monitors import CollapseWatch, check_gates, feature_std, knn_accuracy, rankme
from evergreen.images.simclr_config import SimCLRConfig, check
from evergreen.progress import Progress
from evergreen.training import checkpoints
from evergreen.training.optimisers import build_optimiser, set_learning_rate
from evergreen.training.precision import Resolved, resolve
from evergreen.training.schedules import scaled_rate, warmup_cosine

__all__ = ["Pretrained", "SimCLR", "SimCLRConfig", "pretrain", "two_views"]

KNN_IMAGES = 2000
"""The online kNN looks at no more labelled images than these."""


@dataclass
class Pretrained:
    """An encoder with the head it was trained with, how it got there, and the format it was computed in."""

    encoder: Encoder
    history: list[dict[str, Any]]
    precision: Resolved
    head: nn.Module


@dataclass
class Run:
    """What stays the same from step to step, and ``place``: where the run is, as the checkpoint has it."""

    model: SimCLR
    optimiser: torch.optim.Optimizer
    feed: Feed
    config: SimCLRConfig
    precision: Resolved
    progress: Progress
    processes: Processes
    checkpoint: Path | None
    place: dict[str, Any]
    watch: CollapseWatch

    def save(self, **place: Any) -> None:
        """Note where the run is, and let one process write it down."""
        self.place |= place | {"collapse": self.watch.counts}
        if self.checkpoint and self.processes.writes:
            checkpoints.save(self.checkpoint, self.model, self.optimiser, self.place)


def pretrain(
    images: ImageSet,
    config: SimCLRConfig,
    seed: int,
    device: torch.device,
    progress: Progress,
    checkpoint: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    labels: NDArray[np.int64] | None = None,
    processes: Processes = ALONE,
) -> Pretrained:
    """Pretrain an encoder on unlabelled images.

    Args:
        images: at least 16 of them; a view is told from the others of its batch.
        config: the recipe.
        seed: of weights, order and views.
        device: where it runs.
        progress: told of every image pair.
        checkpoint: folder written every ``checkpoint_epochs`` and every ``checkpoint_steps``, and read at the start: a
            run that was cut off anywhere goes on exactly.
        on_epoch: called with each epoch's record {epoch, loss, learning_rate, alignment, uniformity, view_size,
            feature_std, rankme and, given labels, knn_accuracy}; feature_std and rankme are of the last step's
            projections.
        labels: (images,) class numbers, -1 where unknown, for the loss ``supervised`` and the online kNN.
        processes: who trains together; each calls this with the same arguments.

    Raises:
        BadInputError: there are too few images or labels for the recipe, or the loss is no number any more.
        StoppedError: the projections have collapsed, or the result does not pass its gates.
    """
    check(config, len(images), labels, processes)
    precision = resolve(config.precision, device)
    torch.manual_seed(seed)
    model = SimCLR(config).to(device)
    if processes.world > 1:
        synchronise(model, device)
    optimiser = build_optimiser(config.optimiser, [model], config.momentum, config.weight_decay)
    done = checkpoints.load(checkpoint, model, optimiser) if checkpoint else None
    start_alike(model, done, processes)
    place = done or {"epoch": 0, "step": 0, "sums": [0.0, 0.0, 0.0], "history": [], "collapse": {}}
    feed = Feed(images, labels, device, seed)
    watch = CollapseWatch(config.collapse, place["collapse"])
    run = Run(model, optimiser, feed, config, precision, progress, processes, checkpoint, place, watch)
    if config.compiles(device, len(images), processes.world):
        model.compile(dynamic=False)
    batch, steps = config.batches(len(images), processes.world)
    progress.advance((place["epoch"] * steps + place["step"]) * batch)
    history: list[dict[str, Any]] = place["history"]
    for epoch in range(place["epoch"], config.epochs):
        record = run_epoch(run, epoch)
        history.append(record)
        if (epoch + 1) % config.checkpoint_epochs == 0 or epoch + 1 == config.epochs:
            run.save(epoch=epoch + 1, step=0, sums=[0.0, 0.0, 0.0], history=history)
        if on_epoch:
            on_epoch(record)
    check_gates(config.gates, history[-1])
    return Pretrained(model.encoder.eval(), history, precision, model.head.eval())


def run_epoch(run: Run, epoch: int) -> dict[str, Any]:
    """Train one epoch from ``run.place`` on; the last incomplete batch is left out. Returns its record.

    The sums stay on the device: reading them at every step would make a GPU wait.
    """
    config, processes, feed = run.config, run.processes, run.feed
    run.model.train()
    size = config.view_size(epoch)
    batch, steps = config.batches(len(feed.images), processes.world)
    feed.start(epoch)
    sums = torch.tensor(run.place["sums"], device=feed.device)
    peak = scaled_rate(config.learning_rate, config.scaling, batch)
    warmup = math.ceil(config.warmup_fraction * config.epochs * steps)
    rate, z = 0.0, torch.empty(0)
    for step in range(run.place["step"], steps):
        rate = warmup_cosine(epoch * steps + step, config.epochs * steps, peak, warmup)
        set_learning_rate(run.optimiser, rate)
        figures, z = train_step(run, processes.part(step * batch, batch), size)
        sums += figures
        every = 20  # steps between two readings of the loss
        run.progress.advance(batch, **({"loss": f"{sums[0].item() / (step + 1):.3f}"} if step % every == 0 else {}))
        if config.collapse.every and (epoch * steps + step + 1) % config.collapse.every == 0:
            look_for_collapse(run, float(figures[0]), z, epoch, step)
        if config.checkpoint_steps and (step + 1) % config.checkpoint_steps == 0 and step + 1 < steps:
            run.save(epoch=epoch, step=step + 1, sums=sums.tolist())
    run.place |= {"step": 0, "sums": [0.0, 0.0, 0.0]}
    loss, align, uniform = (sums / steps).tolist()
    check_number(loss, epoch, config)
    record = {
        "epoch": epoch + 1,
        "loss": loss,
        "learning_rate": rate,
        "alignment": align,
        "uniformity": uniform,
        "view_size": size,
        "feature_std": float(feature_std(z)),
        "rankme": float(rankme(z)),
    }
    return record | online_knn(run)


def look_for_collapse(run: Run, loss: float, z: Tensor, epoch: int, step: int) -> None:
    """Stop a run whose projections have become all the same, or whose loss is no number."""
    check_number(loss, epoch, run.config)
    chance = math.log(len(z) - 1) if run.config.loss == "nt_xent" else None
    run.watch.look(loss, z, chance, f"epoch {epoch + 1}, step {step + 1}")


def check_number(loss: float, epoch: int, config: SimCLRConfig) -> None:
    """Complain of a loss that is not finite."""
    if not math.isfinite(loss):
        raise BadInputError(
            f"The contrastive loss became {loss} in epoch {epoch + 1}. Lower images.pretrain.learning_rate "
            f"({config.learning_rate}) or set precision: fp32 in params.yaml."
        )


def online_knn(run: Run) -> dict[str, float]:
    """{knn_accuracy} of the encoder as it is, leave-one-out on the labelled images; empty with fewer than two."""
    labels, images = run.feed.labels, run.feed.images
    if labels is None:
        return {}
    known = (labels >= 0).nonzero().squeeze(1)[:KNN_IMAGES]
    if len(known) < 2:
        return {}
    pixels = images.take(known.cpu().numpy()).numpy()
    features = torch.cat(list(embed_batches(run.model.encoder, pixels, images.size, run.precision)))
    return {"knn_accuracy": knn_accuracy(features, labels[known])}


def train_step(run: Run, part: slice, size: int) -> tuple[Tensor, Tensor]:
    """One step of gradient descent. With the images on the card it asks nothing of the host.

    Args:
        run: what is trained.
        part: this process's places in the epoch's order.
        size: side of the views in pixels.

    Returns:
        (3,) loss, alignment and uniformity before it, and the projections (2N, D) of all processes.
    """
    images, draws, labels = run.feed.take(part)
    views = two_views(images, draws, run.config, size)
    run.optimiser.zero_grad(set_to_none=True)
    loss, z = backward(run.model, views, labels, run.config, run.precision, run.processes)
    run.optimiser.step()
    if run.model.bank is not None:
        run.model.bank.remember(z)
    with torch.no_grad():
        return torch.stack([loss, alignment(z), uniformity(z)]), z
