import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.images.statistics import FEATURES, describe

SHAPES = st.tuples(st.integers(1, 4), st.integers(3, 6), st.integers(3, 6))


def naive(image):
    """The statistics of one image (H, W, 3), pixel by pixel."""
    height, width, _ = image.shape
    luma = [[float(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in row.astype(float)] for row in image]
    values = {}
    for channel, name in enumerate(("red", "green", "blue")):
        grey = [float(v) for v in image[:, :, channel].ravel()]
        values[f"mean_{name}"] = sum(grey) / len(grey)
        values[f"std_{name}"] = np.sqrt(sum((v - values[f"mean_{name}"]) ** 2 for v in grey) / len(grey))
    flat = [v for row in luma for v in row]
    values["brightness"] = sum(flat) / len(flat)
    values["contrast"] = np.sqrt(sum((v - values["brightness"]) ** 2 for v in flat) / len(flat))
    hsv = [colorsys.rgb_to_hsv(*(pixel / 255.0)) for pixel in image.reshape(-1, 3).astype(float)]
    values["saturation"] = sum(s for _, s, _ in hsv) / len(hsv)
    laplace, mask = [], []
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            near = luma[y - 1][x] + luma[y + 1][x] + luma[y][x - 1] + luma[y][x + 1]
            far = luma[y - 1][x - 1] + luma[y - 1][x + 1] + luma[y + 1][x - 1] + luma[y + 1][x + 1]
            laplace.append(near - 4 * luma[y][x])
            mask.append(abs(far - 2 * near + 4 * luma[y][x]))
    values["sharpness"] = np.std(laplace)
    values["noise"] = np.sqrt(np.pi / 2) * sum(mask) / (6 * len(mask))
    return [values[name] for name in FEATURES]


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), high=st.sampled_from([1, 2, 256]))
def test_statistics_are_those_of_a_pixel_by_pixel_reading(shape, seed, high):
    images = np.random.default_rng(seed).integers(0, high, (*shape, 3), dtype=np.uint8)
    found = describe(images)
    assert list(found.columns) == list(FEATURES)
    np.testing.assert_allclose(found.to_numpy(), [naive(image) for image in images], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(chunk=st.integers(1, 40), seed=st.integers(0, 1000))
def test_the_chunk_changes_no_bit(chunk, seed):
    images = np.random.default_rng(seed).integers(0, 256, (33, 7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(describe(images, chunk).to_numpy(), describe(images).to_numpy())


def test_a_constant_image_has_no_spread_at_all():
    images = np.full((2, 32, 32, 3), 131, dtype=np.uint8)
    images[1] = (7, 90, 200)
    found = describe(images)
    assert (found[["std_red", "std_green", "std_blue", "contrast", "sharpness", "noise"]] == 0).all(axis=None)
    assert found["saturation"].tolist() == pytest.approx([0, 193 / 200])


def test_noise_is_the_standard_deviation_of_what_was_added():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64]
    slope = 60 + y + x  # a slope is no noise
    grey = slope[None, :, :, None] + rng.normal(0, 9, (20, 64, 64, 1))
    images = np.clip(np.round(grey), 0, 255).astype(np.uint8).repeat(3, axis=3)
    assert describe(images)["noise"].mean() == pytest.approx(9, rel=0.03)


def test_memory_mapped_and_empty_arrays_are_fine(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "none.npy", images[:0])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(describe(mapped).to_numpy(), describe(images).to_numpy())
    assert describe(np.load(tmp_path / "none.npy")).shape == (0, len(FEATURES))
