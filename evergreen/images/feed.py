"""The batches of pretraining, put where the device is: on a card everything is there before the first step.

A copy from the host to a card makes one wait for the other. So images and labels are copied once if the card has room,
and an epoch's order and random numbers once an epoch; what a step needs is then picked out by the card itself.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evergreen.images.augment import draw
from evergreen.images.imageset import ImageSet

AT_ONCE = 4096
ROOM = 0.25
"""Share of a card's free memory that the images may take; training needs the rest."""


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch visits the images, a function of (seed, epoch)."""
    return np.random.default_rng((seed, epoch)).permutation(count)


class Feed:
    """Batches of images with their random numbers and labels, on the device.

    Args:
        images: on disk.
        labels: (images,) class numbers, or None.
        device: where the batches are wanted.
        seed: of order and random numbers.
        resident: whether all images are copied to the device now; by default on cards that have room.
    """

    def __init__(
        self,
        images: ImageSet,
        labels: NDArray[np.int64] | None,
        device: torch.device,
        seed: int,
        resident: bool | None = None,
    ) -> None:
        self.images = images
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.device = device
        self.seed = seed
        self.start(0)
        self.pixels: Tensor | None = None
        if has_room(images, device) if resident is None else resident:
            self.pixels = copied(images, device)

    def start(self, epoch: int) -> None:
        """Order and random numbers of an epoch."""
        self.rows = epoch_order(len(self.images), self.seed, epoch)
        self.order = torch.from_numpy(self.rows).to(self.device)
        self.draws = draw(len(self.images), views=2, seed=self.seed, epoch=epoch).to(self.device)

    def take(self, part: slice) -> tuple[Tensor, Tensor, Tensor | None]:
        """Some of the epoch's images.

        Args:
            part: places in the epoch's order, n of them.

        Returns:
            uint8 images (n, H, W, 3), random numbers (n, 2, DRAWS), and class numbers (n,) if there are any.
        """
        chosen = self.order[part]
        here = self.pixels
        pixels = self.images.take(self.rows[part]).to(self.device) if here is None else here[chosen]
        return pixels, self.draws[chosen], None if self.labels is None else self.labels[chosen]


def copied(images: ImageSet, device: torch.device) -> Tensor:
    """All images on the device, uint8 (images, H, W, 3)."""
    out = torch.empty((len(images), *images.arrays[0].shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(images), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(images)))
        out[start : start + len(rows)] = images.take(rows).to(device)
    return out


def has_room(images: ImageSet, device: torch.device) -> bool:
    """Whether the device is a card that can hold all images beside what training needs."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return len(images) * math.prod(images.arrays[0].shape[1:]) <= ROOM * free
