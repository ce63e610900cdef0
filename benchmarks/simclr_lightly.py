"""lightly's SimCLR: its transform in a DataLoader, its projection head, its NT-Xent. No other file imports lightly."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from evergreen.config import Config
from evergreen.images.encoders import Encoder
from evergreen.images.simclr_config import SimCLRConfig
from evergreen.progress import Progress
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.schedules import warmup_cosine

OURS = SimCLRConfig(epochs=1)
SCHEDULE = 10_000  # parts that the time of a run is divided into, for the learning rate


class LightlySettings(Config):
    """How lightly is run; the defaults are those of its example `examples/pytorch/simclr.py`.

    Attributes:
        precision: of network and head.
        channels_last: lay weights and views out so.
        workers: processes that make views; the example has 8, here it is one for each core.
        one_pass: both views go through the network together.
        compiled: network and head go through torch.compile.
        recipe: ``lightly``: the transform's own defaults, SGD of rate 0.06 without momentum or schedule. ``tuned``: our
            distortions in lightly's transform, and our optimiser and schedule.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    workers: int
    one_pass: bool = False
    compiled: bool = False
    recipe: Literal["lightly", "tuned"] = "lightly"


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Both views of each image, from PIL images, as torchvision's data sets hand them out."""

    def __init__(self, images: NDArray[np.uint8], transform: Callable[[Image.Image], Any]) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        first, second = self.transform(Image.fromarray(self.images[number]))
        return first, second


def build_transform(encoder: Encoder, size: int, recipe: str) -> SimCLRTransform:
    """Two views of ``size`` pixels, normalised as the encoder would do it."""
    statistics = {"mean": encoder.mean.flatten().tolist(), "std": encoder.std.flatten().tolist()}
    if recipe == "lightly":
        return SimCLRTransform(input_size=size, normalize=statistics)
    return SimCLRTransform(
        input_size=size,
        cj_strength=OURS.augment.jitter_strength,
        min_scale=OURS.augment.crop_scale[0],
        gaussian_blur=0.0,
        normalize=statistics,
    )


def train(
    images: NDArray[np.uint8],
    encoder: Encoder,
    settings: LightlySettings,
    batch: int,
    progress: Progress,
    seconds: float | None = None,
) -> float:
    """Train the encoder in place.

    Args:
        images: uint8 (N, H, W, 3).
        encoder: fresh; its network is trained, in the layout that ``settings`` say.
        settings: how.
        batch: images of a step.
        progress: told of every image pair; the way out for a run without an end.
        seconds: until when; for ever if None.

    Returns:
        Seconds from the first view to the last step.
    """
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    network = nn.Sequential(encoder.body, SimCLRProjectionHead(encoder.features, 512, 128)).to(memory_format=layout)
    forward: Callable[[Tensor], Tensor] = torch.compile(network) if settings.compiled else network
    tuned = settings.recipe == "tuned"
    if tuned:
        optimiser = sgd([network], OURS.momentum, OURS.weight_decay)
        set_learning_rate(optimiser, OURS.learning_rate)
    else:
        optimiser = torch.optim.SGD(network.parameters(), lr=0.06)
    criterion = NTXentLoss()
    loader = DataLoader(
        Pictures(images, build_transform(encoder, images.shape[1], settings.recipe)),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=settings.workers,
        persistent_workers=tuned and settings.workers > 0,
    )
    network.train()
    started = time.perf_counter()
    for first, second in endless(loader):
        passed = time.perf_counter() - started
        if seconds is not None and passed >= seconds:
            break
        if tuned and seconds is not None:
            step, warmup = int(SCHEDULE * passed / seconds), int(SCHEDULE * OURS.warmup_fraction)
            set_learning_rate(optimiser, warmup_cosine(step, SCHEDULE, OURS.learning_rate, warmup))
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
            z = project(forward, [view.contiguous(memory_format=layout) for view in (first, second)], settings.one_pass)
        criterion(*z).backward()
        optimiser.step()
        optimiser.zero_grad()
        progress.advance(batch)
    return time.perf_counter() - started


def endless(loader: "DataLoader[tuple[Tensor, Tensor]]") -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from loader


def project(forward: Callable[[Tensor], Tensor], views: list[Tensor], one_pass: bool) -> tuple[Tensor, Tensor]:
    """Projections of first and second views, each (N, D) in fp32."""
    if one_pass:
        first, second = forward(torch.cat(views)).float().chunk(2)
        return first, second
    return forward(views[0]).float(), forward(views[1]).float()
