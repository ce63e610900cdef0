"""Any image file → a square RGB array, or the reason why not."""

import warnings
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from evergreen.errors import EvergreenError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
"""What is tried. Not Pillow's whole list: some of its formats call other programs, some accept any bytes."""

DRAFT_FACTOR = 4  # large JPEGs are decoded at a fraction of their size, but at least this many times the result's
SIXTEEN_BIT = 65_535


class RefusedImageError(EvergreenError):
    """A file that cannot be taken in. The text is ``kind: details`` for the quarantine."""

    exit_code = 2


def decode(file: BinaryIO, size: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decode one file: upright, RGB, shorter side resized with antialiasing, centre cut out.

    The EXIF orientation is applied; transparent parts show white; grey, palette, CMYK and other colour models become
    RGB; 16-bit values are scaled down to 8 bits. An image of the right size and mode passes unchanged. Of the pictures
    that a phone packs into one JPEG (MPO) the first one counts; other files with several frames are refused.

    Args:
        file: open for reading, at any position; stays open.
        size: side of the result in pixels.
        max_pixels: a file whose header announces more is refused before any pixel is decoded.

    Returns:
        uint8 (size, size, 3).

    Raises:
        RefusedImageError: it is no image, is damaged, has several frames, or is too large.
    """
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata beside intact pixels, and limits that are checked below
            with Image.open(file, formats=FORMATS) as image:
                _refuse_by_header(image, max_pixels)
                return _square(image, size)
    except RefusedImageError:
        raise
    except UnidentifiedImageError as error:
        raise RefusedImageError(f"no image: none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise RefusedImageError(f"too many pixels: {error}") from error
    except Exception as error:  # decoders meet hostile bytes here and raise whatever they like: it is the reason kept
        raise RefusedImageError(f"damaged: {type(error).__name__}: {error}") from error


def _refuse_by_header(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise RefusedImageError(f"too many pixels: {width}×{height}, at most {max_pixels:,} are taken")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise RefusedImageError(f"several frames: an animation or a file of several pages, format {image.format}")


def _square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    image.draft(None, (DRAFT_FACTOR * size, DRAFT_FACTOR * size))
    image.load()
    rgb = to_rgb(_upright(image))
    fitted = ImageOps.fit(rgb, (size, size), method=Image.Resampling.BILINEAR)  # Pillow's bilinear is antialiased
    return np.asarray(fitted)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an unreadable EXIF block leaves the picture as it lies."""
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError):
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, transparency over white, deep grey values as 8 bits.

    Raises:
        RefusedImageError: its values have no range that one could know.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """16-bit grey values → 8 bits; floating-point ones by the range they evidently use: 1, 255 or 65,535."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= SIXTEEN_BIT):  # also when one of them is no number
        raise RefusedImageError(f"grey values of unknown range: {low:g} to {high:g}, expected 0 to {SIXTEEN_BIT:,}")
    top = SIXTEEN_BIT
    if np.issubdtype(values.dtype, np.floating):
        top = next(limit for limit in (1, 255, SIXTEEN_BIT) if high <= limit)
    return np.asarray(values.astype(np.float64) * (255 / top)).round().astype(np.uint8)
