import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evergreen.images.decode import RefusedImageError, decode

LIMIT = 50_000_000
COLOUR = (200, 100, 50)


def encode(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


def picture(width=32, height=32, seed=0):
    """Noise over a gradient, so that every pixel and every side differs."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    base = np.stack([rows * 200 / height, columns * 200 / width, (rows + columns) * 100 / (width + height)], axis=2)
    return (base + rng.integers(0, 50, (height, width, 3))).astype(np.uint8)


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour_type, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = b"".join(b"\0" + row for row in rows)
    return io.BytesIO(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(body))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_an_image_of_the_right_size_passes_unchanged(form):
    pixels = picture()
    decoded = decode(encode(Image.fromarray(pixels), form), 32, LIMIT)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [
        ("RGB", "JPEG", {"quality": 95}),
        ("RGB", "JPEG2000", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "AVIF", {}),
        ("CMYK", "TIFF", {}),
        ("CMYK", "JPEG", {"quality": 95}),
        ("YCbCr", "JPEG", {"quality": 95}),
        ("YCbCr", "TIFF", {}),
        ("LAB", "TIFF", {}),
        ("P", "PNG", {}),
        ("P", "GIF", {}),
        ("P", "BMP", {}),
        ("RGBA", "PNG", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGBA", "TIFF", {}),
    ],
)
def test_colours_survive_every_colour_model(mode, form, options):
    image = Image.new("RGB", (40, 40), COLOUR)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    decoded = decode(encode(image, form, **options), 32, LIMIT)
    assert np.abs(decoded.astype(int) - COLOUR).max() <= 6


@pytest.mark.parametrize(
    ("image", "form", "level"),
    [
        (Image.new("1", (40, 40), 1), "PNG", 255),
        (Image.new("L", (40, 40), 77), "JPEG", 77),
        (Image.new("LA", (40, 40), (77, 255)), "PNG", 77),
        (Image.new("I;16", (40, 40), 100 * 257), "PNG", 100),
        (Image.new("I;16", (40, 40), 100 * 257), "TIFF", 100),
        (Image.fromarray(np.full((40, 40), 100 * 257, ">u2")), "TIFF", 100),
        (Image.new("I", (40, 40), 100 * 257), "TIFF", 100),
        (Image.new("F", (40, 40), 0.4), "TIFF", 102),
        (Image.new("F", (40, 40), 102.0), "TIFF", 102),
        (Image.new("F", (40, 40), 102.0 * 257), "TIFF", 102),
    ],
)
def test_grey_of_any_depth(image, form, level):
    decoded = decode(encode(image, form), 32, LIMIT)
    assert decoded.shape == (32, 32, 3)
    assert np.abs(decoded.astype(int) - level).max() <= 1


def test_sixteen_bits_keep_their_order_instead_of_being_clipped():
    ramp = np.linspace(0, 65535, 32, dtype=np.uint16)
    decoded = decode(encode(Image.fromarray(np.tile(ramp, (32, 1)))), 32, LIMIT)
    np.testing.assert_allclose(decoded[0, :, 0], ramp / 257, atol=1)


def test_colour_png_of_16_bits():
    row = struct.pack(">3H", *(value * 257 for value in COLOUR)) * 40
    np.testing.assert_allclose(decode(png(40, 40, 16, 2, [row] * 40), 32, LIMIT)[3, 5], COLOUR, atol=1)


def test_transparency_shows_white():
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :16] = (*COLOUR, 255)
    pixels[:, 16:24] = (*COLOUR, 0)
    pixels[:, 24:] = (0, 0, 0, 128)
    decoded = decode(encode(Image.fromarray(pixels)), 32, LIMIT)
    assert decoded[0, 0].tolist() == list(COLOUR)
    assert decoded[0, 20].tolist() == [255, 255, 255]
    np.testing.assert_allclose(decoded[0, 30], 127, atol=1)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_shows_white(mode):
    image = Image.new("RGB", (32, 32), (10, 10, 10))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    key = {"P": image.getpixel((0, 0)), "L": 10, "RGB": (10, 10, 10)}[mode]
    assert (decode(encode(image, transparency=key), 32, LIMIT) == 255).all()


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(orientation):
    pixels = picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(Image.fromarray(pixels), exif=exif), 32, LIMIT)
    np.testing.assert_array_equal(decoded, UPRIGHT[orientation](pixels))


def test_broken_exif_does_not_cost_the_picture():
    pixels = picture()
    decoded = decode(encode(Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken"), 32, LIMIT)
    np.testing.assert_array_equal(decoded, pixels)


def test_the_centre_of_the_longer_side_is_kept():
    wide, tall = picture(64, 32), picture(32, 64)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(wide)), 32, LIMIT), wide[:, 16:48])
    np.testing.assert_array_equal(decode(encode(Image.fromarray(tall)), 32, LIMIT), tall[16:48])


def test_shrinking_is_antialiased():
    checks = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    decoded = decode(encode(Image.fromarray(checks)), 32, LIMIT)
    assert np.abs(decoded[2:-2, 2:-2].astype(int) - 127).max() <= 3


def test_a_large_jpeg_looks_like_its_full_decoding():
    smooth = Image.fromarray(picture(40, 30)).resize((2000, 1500), Image.Resampling.BICUBIC)
    file = encode(smooth, "JPEG", quality=95)
    with Image.open(file) as full:
        expected = np.asarray(full.convert("RGB").crop((250, 0, 1750, 1500)).resize((32, 32), Image.Resampling.BOX))
    assert np.abs(decode(file, 32, LIMIT).astype(int) - expected).mean() < 3


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 700), (700, 1), (3, 2), (33, 31)])
def test_any_size_becomes_square(width, height):
    assert decode(encode(Image.new("RGB", (width, height), COLOUR)), 32, LIMIT).tolist() == [[list(COLOUR)] * 32] * 32


def reason(file, limit=LIMIT):
    with pytest.raises(RefusedImageError) as refused:
        decode(file, 32, limit)
    return str(refused.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_truncated_files_are_refused(form, share):
    content = encode(Image.fromarray(picture(200, 200)), form).getvalue()
    assert reason(io.BytesIO(content[: int(share * len(content))])).split(":")[0] in ("damaged", "no image")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_several_frames_are_refused(form):
    frames = [Image.fromarray(picture(seed=n)) for n in range(3)]
    assert reason(encode(frames[0], form, save_all=True, append_images=frames[1:])).startswith("several frames: ")


def test_the_main_picture_of_a_phones_jpeg_is_taken():
    frames = [Image.new("RGB", (40, 40), colour) for colour in (COLOUR, (0, 0, 0))]
    file = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(decode(file, 32, LIMIT).astype(int) - COLOUR).max() <= 6


def test_bombs_are_refused_by_their_header():
    header_only = png(9000, 9000, 8, 2, [])
    assert reason(header_only) == "too many pixels: 9000×9000, at most 50,000,000 are taken"
    assert reason(png(60_000, 60_000, 8, 2, [])).startswith("too many pixels: ")
    assert reason(encode(Image.new("RGB", (40, 40))), limit=1599).startswith("too many pixels: 40×40")
    assert decode(encode(Image.new("RGB", (40, 40))), 32, 1600).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0" * 5000,
        b"%!PS-Adobe-3.0 EPSF",
    ],
)
def test_other_files_are_no_images(content):
    assert reason(io.BytesIO(content)).startswith("no image: none of JPEG")


def test_grey_values_without_a_known_range_are_refused():
    for values in ([-1.0, 1.0], [0.0, 1e9], [np.nan, 1.0]):
        image = Image.fromarray(np.array([values], np.float32))
        assert reason(encode(image, "TIFF")).startswith("grey values of unknown range: ")


SEEDS = {
    form: encode(Image.fromarray(picture(24, 24)), form).getvalue()
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
}


@given(
    form=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 10**6),
)
@settings(max_examples=200, deadline=None)
def test_hostile_bytes_give_an_image_or_a_reason(form, changes, length):
    content = bytearray(SEEDS[form])
    for place, value in changes:
        content[place % len(content)] = value
    file = io.BytesIO(bytes(content[: max(1, length % (2 * len(content)))]))
    assert shape_or_reason(file) in (
        (16, 16, 3),
        "no image",
        "damaged",
        "several frames",
        "too many pixels",
        "grey values of unknown range",
    )
    assert not file.closed


def shape_or_reason(file):
    try:
        return decode(file, 16, 1_000_000).shape
    except RefusedImageError as error:
        return str(error).split(":")[0]
