"""Statistics of single images: cheap numbers that notice when a camera, a scene or a file format changes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CHANNELS = ("red", "green", "blue")

FEATURES = (
    *(f"mean_{channel}" for channel in CHANNELS),
    *(f"std_{channel}" for channel in CHANNELS),
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "noise",
)
"""What :func:`describe` measures, in this order. All in grey levels (0 to 255) but saturation (0 to 1)."""

CHUNK_PIXELS = 1 << 16

# ITU-R BT.601 luma in thousandths: whole numbers, so that the sums below are exact.
LUMA_THOUSANDTHS = np.array([299.0, 587.0, 114.0])


def describe(images: NDArray[np.uint8], chunk: int | None = None) -> pd.DataFrame:
    """Measure each image.

    - ``mean_*``, ``std_*``: mean and standard deviation of a channel;
    - ``brightness``, ``contrast``: mean and standard deviation of the luma;
    - ``saturation``: mean of (max − min) / max over the channels of a pixel, as in HSV;
    - ``sharpness``: standard deviation of the Laplacian of the luma, the energy of edges and fine texture;
    - ``noise``: the standard deviation of additive Gaussian noise that would explain the luma's response to a mask
      blind to flat and evenly sloping areas (Immerkær 1996, Fast noise variance estimation).

    Args:
        images: uint8 (N, H, W, 3), H and W at least 3; may be memory-mapped.
        chunk: images in memory at a time, by default about 65,000 pixels of them, which fit a processor's cache; the
            result does not depend on it.

    Returns:
        N rows, the columns :data:`FEATURES`, float64.
    """
    values = np.empty((len(images), len(FEATURES)))
    chunk = chunk or max(1, CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
    for start, block in chunks(images, chunk):
        values[start : start + len(block)] = _describe_block(block)
    return pd.DataFrame(values, columns=list(FEATURES))


def chunks(images: NDArray[np.uint8], size: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Cut images into blocks of at most ``size``: (number of the first one, block in memory)."""
    for start in range(0, len(images), size):
        yield start, np.asarray(images[start : start + size])


def _describe_block(block: NDArray[np.uint8]) -> NDArray[np.float64]:
    count, height, width, _ = block.shape
    # (n, H, W, 3) → (n, 3, H·W): each plane contiguous, so that sums run along memory
    planes = np.ascontiguousarray(block.reshape(count, height * width, 3).transpose(0, 2, 1))
    red, green, blue = (planes[:, channel].astype(np.float64) for channel in range(3))
    luma = LUMA_THOUSANDTHS[0] * red + LUMA_THOUSANDTHS[1] * green + LUMA_THOUSANDTHS[2] * blue
    means, stds = zip(*(_moments(values) for values in (red, green, blue, luma)), strict=True)
    surface = luma.reshape(count, height, width)
    twice_centre = 2 * surface[:, 1:-1, 1:-1]
    rows = surface[:, :-2, 1:-1] + surface[:, 2:, 1:-1] - twice_centre  # second differences down
    columns = surface[:, 1:-1, :-2] + surface[:, 1:-1, 2:] - twice_centre  # and across
    _, sharpness = _moments((rows + columns).reshape(count, -1))
    return np.column_stack(
        [*means[:3], *stds[:3], means[3] / 1000, stds[3] / 1000, _saturation(planes), sharpness / 1000, _noise(surface)]
    )


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over the last axis of whole numbers, (n, k) → (n,) and (n,), from exact sums."""
    count = values.shape[-1]
    total = values.sum(axis=-1)
    squares = np.einsum("nk,nk->n", values, values)
    return total / count, np.sqrt(np.maximum(count * squares - total**2, 0)) / count


def _saturation(planes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean HSV saturation, (n, 3, k) → (n,)."""
    brightest = np.maximum(np.maximum(planes[:, 0], planes[:, 1]), planes[:, 2])
    darkest = np.minimum(np.minimum(planes[:, 0], planes[:, 1]), planes[:, 2])
    # a black pixel has no colour: 0 / 1
    ratio = (brightest - darkest) / np.maximum(brightest, 1).astype(np.float64)
    return np.asarray(ratio.mean(axis=-1))


def _noise(surface: NDArray[np.float64]) -> NDArray[np.float64]:
    """Immerkær's estimate in grey levels from luma in thousandths, (n, H, W) → (n,)."""
    down = surface[:, :-2] + surface[:, 2:] - 2 * surface[:, 1:-1]
    mask = np.abs(down[:, :, :-2] + down[:, :, 2:] - 2 * down[:, :, 1:-1]).reshape(len(surface), -1)
    return np.asarray(np.sqrt(np.pi / 2) / 6 * mask.sum(axis=1) / mask.shape[1] / 1000)
