from dataclasses import replace

import numpy as np
import pytest

from evergreen.errors import BadInputError
from evergreen.images.cifar import Facts, benchmark, channel_moments, verify

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
TEST = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(60) % 10
TEST_LABELS = (np.arange(20) + 3) % 10
TRUE = benchmark(IMAGES, LABELS, TEST, TEST_LABELS)
FACTS = Facts(
    train=60,
    test=20,
    first_labels=(0, 1, 2, 3),
    first_test_labels=(3, 4, 5),
    mean=tuple((IMAGES / 255).mean(axis=(0, 1, 2)).round(8)),
    std=tuple((IMAGES / 255).std(axis=(0, 1, 2)).round(8)),
)


def test_the_true_data_set_passes():
    verify(TRUE, "here", FACTS, TRUE.sha256())


def test_moments_are_those_of_the_pixels():
    mean, std = channel_moments(IMAGES)
    np.testing.assert_allclose(mean, (IMAGES / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (IMAGES / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def swapped(values, first, second):
    values = values.copy()
    values[[first, second]] = values[[second, first]]
    return values


def brighter(images):
    images = images.copy()
    images[7, 3, 3, 1] ^= 1
    return images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[:59]}, r"training set is uint8\(59, 32, 32, 3\), expected uint8\(60, 32, 32, 3\)"),
        ({"images": IMAGES.astype(float)}, "training set is float64"),
        ({"test_images": TEST[:, :28]}, "test set is uint8"),
        ({"labels": LABELS[:50]}, "50 labels for 60 images"),
        ({"labels": swapped(LABELS, 0, 1)}, "begins with the labels 1 0 2 3, expected 0 1 2 3"),
        ({"test_labels": swapped(TEST_LABELS, 0, 1)}, "test set begins with the labels 4 3 5"),
        ({"labels": np.where(np.arange(60) == 20, 1, LABELS)}, r"has \[5, 7, 6"),
        ({"labels": np.where(np.arange(60) == 20, 11, LABELS)}, "images a class"),
        ({"images": brighter(IMAGES)}, "channel means"),
        ({"images": swapped(IMAGES, 5, 15)}, "some images or labels are not those of CIFAR-10"),
        ({"labels": swapped(LABELS, 20, 31)}, "some images or labels are not those of CIFAR-10"),
    ],
)
def test_every_difference_is_found_and_named(change, message):
    with pytest.raises(BadInputError, match=message):
        verify(replace(TRUE, **change), "here", FACTS, TRUE.sha256())


def test_one_grey_level_in_the_real_number_of_pixels_still_shows_in_the_mean():
    assert 1 / 255 / (50_000 * 1024) < 1e-8 < 200 / 255 / (50_000 * 1024)
