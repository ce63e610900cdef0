"""Simulated shifts: plain changes of pictures at any strength, on which the harm estimate learns what harm looks like.

They are simpler than real corruptions and than those of `corruptions`, and share no code with them: what is learnt from
these must carry over to shifts of another make.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

Pixels = NDArray[np.float32]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Shift:
    """A family of changes.

    Attributes:
        name: of the family.
        relatives: what it has in common with other changes; the words of :class:`~.corruptions.Corruption`.
        apply: pixels (n, H, W, 3) in [0, 1], strength in (0, 1], generator → pixels, not yet clipped.
    """

    name: str
    relatives: frozenset[str]
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def shifted(images: NDArray[np.uint8], shift: Shift, strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change images, uint8 (n, H, W, 3) → the same shape.

    Strength 0 is no change, 1 about the worst that still shows what is on the picture.
    """
    pixels = shift.apply(np.asarray(images, dtype=np.float32) / np.float32(255), strength, rng)
    return np.asarray(np.clip(pixels * 255 + 0.5, 0, 255), dtype=np.uint8)


def _grain(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    noise: Pixels = rng.standard_normal(pixels.shape, dtype=np.float32)
    return pixels + np.float32(0.15 * strength) * noise


def _dots(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Some pixels take a random colour."""
    hit = rng.random(pixels.shape[:3], dtype=np.float32)[..., None] < 0.2 * strength
    return np.where(hit, rng.random(pixels.shape, dtype=np.float32), pixels)


def _soften(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    sigma = 1.5 * strength * pixels.shape[1] / 32
    return np.asarray(gaussian_filter(pixels, (0, sigma, sigma, 0)), dtype=np.float32)


def _shrink(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Fewer pixels, bilinearly enlarged again."""
    height, width = pixels.shape[1:3]
    small = [max(2, round(side * (1 - 0.65 * strength))) for side in (height, width)]
    down = _resize(pixels, small[0], small[1])
    return _resize(down, height, width)


def _gain(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Exposure, up or down by at most two stops; the same direction for all pictures."""
    return np.asarray(pixels * 2 ** (rng.choice([-2.0, 1.5]) * strength), dtype=np.float32)


def _curve(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Gamma."""
    return np.asarray(pixels ** (2 ** (rng.choice([-1.5, 1.5]) * strength)), dtype=np.float32)


def _flatten(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Less contrast, about middle grey."""
    return np.asarray(0.5 + (pixels - 0.5) * (1 - 0.9 * strength), dtype=np.float32)


def _veil(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A coat of one colour."""
    return np.asarray(pixels + 0.8 * strength * (rng.random(3, dtype=np.float32) - pixels), dtype=np.float32)


def _tint(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Other white: each channel has a gain of its own."""
    return np.asarray(pixels * 2 ** (strength * rng.uniform(-1.5, 1.5, 3)), dtype=np.float32)


def _fade(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Towards grey, or away from it."""
    amount = strength * rng.choice([-1.0, 2.0])
    grey = (pixels @ LUMA)[..., None]
    return np.asarray(grey + (pixels - grey) * (1 + amount), dtype=np.float32)


def _blocks(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A rectangle of one colour over each picture, up to half of it."""
    count, height, width, _ = pixels.shape
    share = np.sqrt(0.5 * strength)
    tall = share * height * 2 ** rng.uniform(-0.5, 0.5, (count, 1, 1))
    wide = (share * width) ** 2 / (tall * width / height)
    rows = np.abs(np.arange(height)[None, :, None] - rng.uniform(0, height, (count, 1, 1))) < tall / 2
    columns = np.abs(np.arange(width)[None, None, :] - rng.uniform(0, width, (count, 1, 1))) < wide / 2
    return np.where((rows & columns)[..., None], rng.random((count, 1, 1, 3), dtype=np.float32), pixels)


def _scratches(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Straight lines one pixel wide, from edge to edge, at most ten."""
    count, height, width, _ = pixels.shape
    out = pixels.copy()
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    for line in range(10):
        drawn = rng.random((count, 1, 1)) < 10 * strength - line
        angle, at = rng.uniform(0, np.pi, (2, count, 1, 1)) / [[[[1]]], [[[np.pi]]]]
        offset = (at - 0.5) * height
        distance = np.cos(angle) * (rows - height / 2) + np.sin(angle) * (columns - width / 2) - offset
        hit = (np.abs(distance) < 0.7) & drawn
        out = np.where(hit[..., None], rng.choice([0.1, 0.9], (count, 1, 1, 1)).astype(np.float32), out)
    return out


def _tilt(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Turned, sheared and zoomed, each picture in its own way."""
    count = len(pixels)
    angle = rng.uniform(-1, 1, count) * strength * np.pi / 4
    size = 2 ** (rng.uniform(-0.7, 0.7, count) * strength)
    shear = rng.uniform(-0.4, 0.4, count) * strength
    cos, sin = np.cos(angle) * size, np.sin(angle) * size
    matrices = np.stack([np.stack([cos, -sin + shear], -1), np.stack([sin, cos], -1)], -2)  # (n, 2, 2)
    height, width = pixels.shape[1:3]
    middle = np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    grid = np.mgrid[:height, :width] - middle
    places = np.einsum("nab,bhw->nahw", matrices, grid) + middle
    return _read(pixels, places)


def _waves(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Rows and columns swing from side to side."""
    count, (height, width) = len(pixels), pixels.shape[1:3]
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    period, start = rng.uniform(0.25, 0.8, (2, count, 1, 1)), rng.uniform(0, 2 * np.pi, (2, count, 1, 1))
    reach = 0.09 * strength * height
    down = rows + reach * np.sin(2 * np.pi * columns / (period[0] * width) + start[0])
    right = columns + reach * np.sin(2 * np.pi * rows / (period[1] * height) + start[1])
    return _read(pixels, np.stack([down, right], 1))


def _levels(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Fewer grey levels: 64 down to 3."""
    steps = np.float32(max(2, round(64 ** (1 - 0.8 * strength)) - 1))
    return np.asarray(np.round(pixels * steps) / steps, dtype=np.float32)


def _tiles(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Tiles of a quarter, an eighth … of the side lose their detail in part."""
    height, width = pixels.shape[1:3]
    cells = [max(1, side // rng.choice([2, 4])) for side in (height, width)]
    coarse = _resize(pixels, cells[0], cells[1])
    rows, columns = np.arange(height) * cells[0] // height, np.arange(width) * cells[1] // width
    return np.asarray(pixels + strength * (coarse[:, rows][:, :, columns] - pixels), dtype=np.float32)


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    factors = (1, height / pixels.shape[1], width / pixels.shape[2], 1)
    # averaging over the pixels that fall together keeps fine texture from turning into false coarse one
    sigmas = [max(0.0, (1 / factor - 1) / 2) for factor in factors]
    soft = gaussian_filter(pixels, sigmas) if max(sigmas) > 0 else pixels
    return np.asarray(zoom(soft, factors, order=1, mode="nearest", grid_mode=True), dtype=np.float32)


def _read(pixels: Pixels, places: NDArray[np.float64]) -> Pixels:
    """Each picture at places (n, 2, H, W), bilinear, mirrored at the border."""
    out = np.empty_like(pixels)
    for picture, where, target in zip(pixels, places, out, strict=True):
        for channel in range(3):
            target[..., channel] = map_coordinates(picture[..., channel], where, order=1, mode="mirror")
    return out


SHIFTS = (
    Shift("grain", frozenset({"noise"}), _grain),
    Shift("dots", frozenset({"noise"}), _dots),
    Shift("soften", frozenset({"blur"}), _soften),
    Shift("shrink", frozenset({"blur", "coding"}), _shrink),
    Shift("gain", frozenset({"light"}), _gain),
    Shift("curve", frozenset({"light"}), _curve),
    Shift("flatten", frozenset({"light"}), _flatten),
    Shift("veil", frozenset({"light", "colour"}), _veil),
    Shift("tint", frozenset({"colour"}), _tint),
    Shift("fade", frozenset({"colour"}), _fade),
    Shift("blocks", frozenset({"cover"}), _blocks),
    Shift("scratches", frozenset({"cover"}), _scratches),
    Shift("tilt", frozenset({"shape"}), _tilt),
    Shift("waves", frozenset({"shape"}), _waves),
    Shift("levels", frozenset({"coding"}), _levels),
    Shift("tiles", frozenset({"coding", "blur"}), _tiles),
)
"""All families."""
