"""Small images inside a page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from evergreen.images.augment import AugmentConfig, augment, draw, to_float


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, and the words for those who do not see it."""

    source: str
    alt: str


def picture(pixels: NDArray[np.uint8], alt: str) -> Picture:
    """Inline an image (H, W, 3) as PNG, unscaled: the page enlarges it."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return Picture("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(), alt)


def augmented(
    images: NDArray[np.uint8], names: Sequence[str], views: int, config: AugmentConfig, seed: int, size: int
) -> list[list[Picture]]:
    """Each image as it is, followed by some of the views that the encoder learns from.

    Args:
        images: (N, H, W, 3).
        names: of the images, for the alt texts.
        views: how many of each.
        config: as in pretraining.
        seed: of the draws.
        size: side of the views in pixels.
    """
    originals = to_float(torch.from_numpy(np.ascontiguousarray(images)))
    draws = draw(len(images), views, seed, epoch=0)
    drawn = [augment(originals, draws[:, view], config, size) for view in range(views)]
    rows = [[picture(image, f"{name}: the image itself")] for image, name in zip(images, names, strict=True)]
    for number, batch in enumerate(drawn, start=1):
        pixels = (batch * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()  # (N, H, W, 3)
        for row, image, name in zip(rows, pixels, names, strict=True):
            row.append(picture(image, f"{name}: augmented view {number}"))
    return rows
