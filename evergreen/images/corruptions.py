"""Nineteen kinds of corruption in five severities, in the spirit of CIFAR-10-C (Hendrycks & Dietterich 2019).

The kinds and their strengths for 32×32 images follow the paper; the code is our own, vectorised over images, so single
pixels differ from the published arrays. Deviations: fog and spatter use sums of smooth random fields instead of a
plasma fractal and a Canny edge; frost is left out, for it needs photographs. What is random about an image belongs to
(kind, seed, image id): neither to its neighbours nor to the severity, so a higher severity is more of the same.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

from evergreen.errors import BadInputError
from evergreen.images.corruption import noisy

Pixels = NDArray[np.float32]
Rngs = Sequence[np.random.Generator]
SEVERITIES = (1, 2, 3, 4, 5)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    Attributes:
        name: of the kind.
        relatives: names of what it has in common with other kinds: noise, blur, light, colour, cover, shape, coding.
        apply: pixels (n, H, W, 3) in [0, 1], severity, a generator for each image → pixels, not yet clipped.
    """

    name: str
    relatives: frozenset[str]
    apply: Callable[[Pixels, int, Rngs], Pixels]


def corrupt(
    images: NDArray[np.uint8], ids: Sequence[str], kind: str, severity: int, seed: int, batch_size: int = 500
) -> NDArray[np.uint8]:
    """Corrupt each image.

    Args:
        images: uint8 (N, H, W, 3).
        ids: the images' N names.
        kind: one of :data:`KINDS`.
        severity: 1 to 5.
        seed: of the run.
        batch_size: images computed at a time; the result does not depend on it.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        BadInputError: there is no such kind or severity, or not one name for each image.
    """
    if kind not in KINDS:
        raise BadInputError(f"Found corruption {kind!r}, expected one of: {', '.join(KINDS)}.")
    if severity not in SEVERITIES:
        raise BadInputError(f"Found severity {severity!r}, expected a whole number from 1 to 5.")
    if len(ids) != len(images):
        raise BadInputError(f"Found {len(ids)} names for {len(images)} images, expected one for each.")
    if kind == "gaussian_noise":
        return noisy(images, list(ids), severity, seed)
    out = np.empty_like(images)
    for start in range(0, len(images), batch_size):
        block = slice(start, start + batch_size)
        pixels = np.asarray(images[block], dtype=np.float32) / np.float32(255)
        changed = KINDS[kind].apply(pixels, severity, [_generator(kind, seed, name) for name in ids[block]])
        out[block] = to_bytes(changed)
    return out


def to_bytes(pixels: Pixels) -> NDArray[np.uint8]:
    """Values in [0, 1], others clipped, as the nearest grey levels."""
    return np.asarray(np.clip(pixels * 255 + 0.5, 0, 255), dtype=np.uint8)


def _generator(kind: str, seed: int, image_id: str) -> np.random.Generator:
    key = hashlib.sha256(f"{kind}:{seed}:{image_id}".encode()).digest()[:16]
    return np.random.Generator(np.random.SFC64(int.from_bytes(key)))


def _each(rngs: Rngs, draw: Callable[[np.random.Generator], NDArray[Any] | float]) -> Pixels:
    """What ``draw`` gives for each image, stacked."""
    return np.stack([draw(rng) for rng in rngs]).astype(np.float32)


# -- noise ------------------------------------------------------------------------------------------------------------


def shot_noise(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Photons counted: Poisson noise."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    counts = np.stack([rng.poisson(image * photons) for image, rng in zip(pixels, rngs, strict=True)])
    return (counts / photons).astype(np.float32)


def impulse_noise(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Values that are stuck at black or white (salt and pepper), each channel for itself."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    draws = _each(rngs, lambda rng: rng.random(pixels.shape[1:]))
    return np.where(draws < share / 2, 0, np.where(draws < share, 1, pixels)).astype(np.float32)


def speckle_noise(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Gaussian noise in proportion to the value."""
    sigma = (0.06, 0.1, 0.12, 0.16, 0.2)[severity - 1]
    return pixels * (1 + np.float32(sigma) * _each(rngs, lambda rng: rng.standard_normal(pixels.shape[1:])))


# -- blur -------------------------------------------------------------------------------------------------------------


def gaussian_blur(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """A soft lens."""
    return _blur(pixels, (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1])


def defocus_blur(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """A lens out of focus: a disk, its edge softened."""
    radius, edge = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    span = np.arange(-4, 5)
    disk = (span[:, None] ** 2 + span[None, :] ** 2 <= radius**2).astype(np.float64)
    return _convolve(pixels, gaussian_filter(disk / disk.sum(), edge))


def glass_blur(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Frosted glass: neighbouring pixels change places, between two soft blurs."""
    sigma, rounds = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[severity - 1]
    height, width = pixels.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    current = _blur(pixels, sigma)
    for _ in range(rounds):
        step = _each(rngs, lambda rng: rng.integers(-1, 2, (2, height, width))).astype(np.int64)
        near = np.clip(rows + step[:, 0], 0, height - 1), np.clip(columns + step[:, 1], 0, width - 1)
        current = current[np.arange(len(pixels))[:, None, None], near[0], near[1]]
    return _blur(current, sigma)


def motion_blur(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """A moving camera: a half-Gaussian trail in a direction of the image's own, up to 45 degrees off the horizontal."""
    length, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity - 1]
    steps = np.arange(length + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angles = _each(rngs, lambda rng: rng.uniform(-np.pi / 4, np.pi / 4))
    out = np.zeros_like(pixels)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        out += np.float32(weight) * _displaced(pixels, step * np.sin(angles), step * np.cos(angles))
    return out


def zoom_blur(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """A lens that zooms during the exposure: the mean of ever larger pictures."""
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)
    return np.asarray((pixels + sum(_zoomed(pixels, factor) for factor in factors)) / (len(factors) + 1))


# -- weather and dirt -------------------------------------------------------------------------------------------------


def fog(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Bright haze of uneven density; the result keeps the picture's brightest value in place."""
    amount, roughness = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    haze = amount * _clouds(rngs, pixels.shape[1:3], roughness)[..., None]
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((pixels + haze) * brightest / (brightest + amount), dtype=np.float32)


def snow(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Flakes that fall, over a paler picture."""
    mean, spread, threshold, length, keep = (
        (0.1, 0.2, 0.6, 4, 0.95),
        (0.1, 0.2, 0.5, 5, 0.9),
        (0.15, 0.3, 0.55, 5, 0.9),
        (0.25, 0.3, 0.6, 6, 0.85),
        (0.3, 0.3, 0.65, 7, 0.8),
    )[severity - 1]
    layer = mean + spread * _each(rngs, lambda rng: rng.standard_normal(pixels.shape[1:3]))
    layer = np.where(layer < threshold, 0, np.minimum(layer, 1)).astype(np.float32)
    slant = _each(rngs, lambda rng: rng.uniform(np.pi / 4, 3 * np.pi / 4))
    trail = [_displaced(layer[..., None], step * np.sin(slant), step * np.cos(slant)) for step in range(length)]
    flakes = sum(trail) / np.float32(length)
    pale = np.maximum(pixels, (pixels @ LUMA)[..., None] * 1.5 + 0.5)
    return np.asarray(keep * pixels + (1 - keep) * pale + flakes, dtype=np.float32)


def spatter(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Drops on the lens: pale water up to severity 3, brown mud from 4 on."""
    covered, opacity = ((0.06, 0.6), (0.1, 0.7), (0.14, 0.8), (0.12, 0.9), (0.2, 0.95))[severity - 1]
    field = gaussian_filter(_each(rngs, lambda rng: rng.standard_normal(pixels.shape[1:3])), (0, 1.2, 1.2))
    border = np.quantile(field, 1 - covered, axis=(1, 2), keepdims=True)
    # a soft edge: full opacity one standard deviation of the field above the border
    drops = np.clip((field - border) / field.std(axis=(1, 2), keepdims=True) * 2, 0, 1)[..., None] * opacity
    colour = np.array([0.69, 0.93, 0.93] if severity <= 3 else [0.25, 0.165, 0.08], dtype=np.float32)
    return np.asarray(pixels * (1 - drops) + colour * drops, dtype=np.float32)


# -- light and colour -------------------------------------------------------------------------------------------------


def brightness(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """HSV's value raised: colours get brighter, hue and saturation stay."""
    return _with_value(pixels, pixels.max(axis=3) + (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1])


def darkness(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """HSV's value lowered: dusk. Not among the paper's kinds; the mirror of ``brightness``."""
    return _with_value(pixels, pixels.max(axis=3) - (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1])


def contrast(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Values move towards the mean of their channel."""
    mean = pixels.mean(axis=(1, 2), keepdims=True)
    return np.asarray((pixels - mean) * (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1] + mean, dtype=np.float32)


def saturate(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """HSV's saturation scaled (and shifted): paler for severity 1 and 2, garish from 3 on."""
    factor, shift = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))[severity - 1]
    value = pixels.max(axis=3, keepdims=True)
    saturation = 1 - pixels.min(axis=3, keepdims=True) / np.maximum(value, 1e-6)
    wanted = np.clip(saturation * factor + shift, 0, 1)
    # value − c is linear in the saturation at fixed hue; a grey has none, whatever the factor
    ratio = np.where(saturation > 1e-6, wanted / np.maximum(saturation, 1e-6), 1)
    return np.asarray(value - (value - pixels) * ratio, dtype=np.float32)


# -- coding and shape -------------------------------------------------------------------------------------------------


def jpeg(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """Strong JPEG compression."""
    quality = (80, 65, 58, 50, 40)[severity - 1]
    coded = [_recoded(image, quality) for image in to_bytes(pixels)]
    return np.asarray(np.stack(coded) / 255, dtype=np.float32)


def pixelate(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """A lower resolution: averaged down, and up again without smoothing."""
    scale = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    rows, columns = (_coarse(side, max(1, int(side * scale))) for side in pixels.shape[1:3])
    return np.asarray(np.einsum("ab,nbwc,dw->nadc", rows, pixels, columns, optimize=True), dtype=np.float32)


def elastic(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    """A rubber sheet: every place is pulled a little, neighbours together (Simard et al. 2003)."""
    reach, smoothness = ((0.6, 3.0), (0.9, 2.5), (1.2, 2.2), (1.5, 2.0), (2.0, 2.0))[severity - 1]
    field = _each(rngs, lambda rng: rng.uniform(-1, 1, (2, *pixels.shape[1:3])))
    smooth = np.asarray(gaussian_filter(field, (0, 0, smoothness, smoothness)))
    smooth *= reach / smooth.std(axis=(2, 3), keepdims=True)
    return _displaced(pixels, smooth[:, 0], smooth[:, 1])


# -- tools of several kinds -------------------------------------------------------------------------------------------


def _blur(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(gaussian_filter(pixels, (0, sigma, sigma, 0), mode="reflect"), dtype=np.float32)


def _convolve(pixels: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    return np.asarray(convolve(pixels, (kernel / kernel.sum())[None, :, :, None], mode="reflect"), dtype=np.float32)


def _displaced(pixels: Pixels, down: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]]) -> Pixels:
    """Read each pixel ``down`` and ``right`` of its place: (n,) one distance an image, or (n, H, W); bilinear.

    Outside, the border's pixels are repeated.
    """
    count, height, width, _ = pixels.shape
    shape = (count, *([1, 1] if np.ndim(down) == 1 else down.shape[1:]))
    y = np.clip(np.arange(height)[None, :, None] + down.reshape(shape), 0, height - 1)
    x = np.clip(np.arange(width)[None, None, :] + right.reshape(shape), 0, width - 1)
    top, left = np.minimum(y.astype(np.int64), height - 2), np.minimum(x.astype(np.int64), width - 2)
    fy, fx = (y - top)[..., None].astype(np.float32), (x - left)[..., None].astype(np.float32)
    image = np.arange(count)[:, None, None]
    upper = pixels[image, top, left] * (1 - fx) + pixels[image, top, left + 1] * fx
    lower = pixels[image, top + 1, left] * (1 - fx) + pixels[image, top + 1, left + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, dtype=np.float32)


def _zoomed(pixels: Pixels, factor: float) -> Pixels:
    """The middle of each image, enlarged to the whole: bilinear, as two matrix products."""
    rows, columns = (_linear(side, factor) for side in pixels.shape[1:3])
    return np.asarray(np.einsum("ab,nbwc,dw->nadc", rows, pixels, columns, optimize=True), dtype=np.float32)


def _linear(side: int, factor: float) -> NDArray[np.float32]:
    """(side, side): each row reads one place of a line, enlarged about its middle."""
    places = np.clip((np.arange(side) - (side - 1) / 2) / factor + (side - 1) / 2, 0, side - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(places[:, None] - np.arange(side)[None, :])), dtype=np.float32)


def _coarse(side: int, cells: int) -> NDArray[np.float32]:
    """(side, side): each row is the mean over the coarse cell that covers it, cells of equal size."""
    edges = np.linspace(0, side, cells + 1)
    places = np.arange(side)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)  # (cells, side)
    means = np.maximum(overlap, 0) * cells / side
    covering = np.minimum(((places + 0.5) * cells / side).astype(np.int64), cells - 1)
    return np.asarray(means[covering], dtype=np.float32)


def _clouds(rngs: Rngs, size: tuple[int, ...], roughness: float) -> Pixels:
    """Smooth random fields (n, H, W) in [0, 1]: octaves of blurred noise, each ``roughness`` times weaker."""
    total = np.zeros((len(rngs), *size), dtype=np.float32)
    for octave, scale in enumerate((8, 4, 2, 1)):
        noise = gaussian_filter(_each(rngs, lambda rng: rng.standard_normal(size)), (0, scale, scale), mode="wrap")
        total += noise / noise.std(axis=(1, 2), keepdims=True) / roughness**octave
    low, high = total.min(axis=(1, 2), keepdims=True), total.max(axis=(1, 2), keepdims=True)
    return np.asarray((total - low) / (high - low), dtype=np.float32)


def _with_value(pixels: Pixels, value: Pixels) -> Pixels:
    """The same hue and saturation at another HSV value (n, H, W); black becomes grey."""
    old = pixels.max(axis=3, keepdims=True)
    wanted = np.clip(value, 0, 1)[..., None]
    return np.where(old > 1e-6, pixels * wanted / np.maximum(old, 1e-6), wanted).astype(np.float32)


def _recoded(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _unused(pixels: Pixels, severity: int, rngs: Rngs) -> Pixels:
    raise AssertionError("gaussian noise has code of its own, which the simulated stream uses as well")


KINDS = {
    kind.name: kind
    for kind in (
        Corruption("gaussian_noise", frozenset({"noise"}), _unused),
        Corruption("shot_noise", frozenset({"noise"}), shot_noise),
        Corruption("impulse_noise", frozenset({"noise"}), impulse_noise),
        Corruption("speckle_noise", frozenset({"noise"}), speckle_noise),
        Corruption("gaussian_blur", frozenset({"blur"}), gaussian_blur),
        Corruption("defocus_blur", frozenset({"blur"}), defocus_blur),
        Corruption("glass_blur", frozenset({"blur", "shape"}), glass_blur),
        Corruption("motion_blur", frozenset({"blur"}), motion_blur),
        Corruption("zoom_blur", frozenset({"blur", "shape"}), zoom_blur),
        Corruption("fog", frozenset({"light"}), fog),
        Corruption("snow", frozenset({"cover"}), snow),
        Corruption("spatter", frozenset({"cover"}), spatter),
        Corruption("brightness", frozenset({"light"}), brightness),
        Corruption("darkness", frozenset({"light"}), darkness),
        Corruption("contrast", frozenset({"light"}), contrast),
        Corruption("saturate", frozenset({"colour"}), saturate),
        Corruption("jpeg", frozenset({"coding"}), jpeg),
        Corruption("pixelate", frozenset({"blur", "coding"}), pixelate),
        Corruption("elastic", frozenset({"shape"}), elastic),
    )
}
"""All kinds by name."""
