"""Corruptions that a stream may suffer: the Gaussian noise of CIFAR-10-C (Hendrycks & Dietterich 2019)."""

import hashlib

import numpy as np
from numpy.typing import NDArray

GAUSSIAN_SIGMA = (0.04, 0.06, 0.08, 0.09, 0.10)
"""Standard deviation for severity 1 to 5, in units of the full range, as CIFAR-10-C uses for 32×32 images."""


def gaussian_noise(image: NDArray[np.uint8], severity: int, seed: int, image_id: str) -> NDArray[np.uint8]:
    """Add independent Gaussian noise to every value, clip, and cut to whole grey levels as CIFAR-10-C does.

    The noise belongs to (seed, image_id): it depends neither on the image's neighbours nor on its place in the stream.
    Cutting instead of rounding darkens by half a grey level on average.

    Args:
        image: uint8 (H, W, 3).
        severity: 1 to 5.
        seed: of the run.
        image_id: the image's name.

    Returns:
        uint8 (H, W, 3).
    """
    key = int.from_bytes(hashlib.sha256(f"gaussian:{seed}:{image_id}".encode()).digest()[:16])
    noise = np.random.default_rng(key).normal(scale=GAUSSIAN_SIGMA[severity - 1], size=image.shape)
    corrupted: NDArray[np.uint8] = (np.clip(image / 255 + noise, 0, 1) * 255).astype(np.uint8)
    return corrupted


def noisy(images: NDArray[np.uint8], ids: list[str], severity: int, seed: int) -> NDArray[np.uint8]:
    """Each image with Gaussian noise of its own.

    Args:
        images: uint8 (n, H, W, 3).
        ids: the images' n names.
        severity: 1 to 5, see :func:`gaussian_noise`.
        seed: of the run.
    """
    out = np.empty_like(images)
    for row, (image, image_id) in enumerate(zip(images, ids, strict=True)):
        out[row] = gaussian_noise(image, severity, seed, image_id)
    return out
