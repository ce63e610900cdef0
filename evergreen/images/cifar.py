"""CIFAR-10 (Krizhevsky 2009): what it must look like, wherever it comes from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.images.benchmark import Benchmark

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = 32
TRAIN_IMAGES = 50_000
TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Facts:
    """What is known of a data set beforehand.

    Attributes:
        train: number of training images, equally many of each class.
        test: number of test images, equally many of each class.
        first_labels: of the training images.
        first_test_labels: of the test images.
        mean: of each channel of the training images, in units of the full range, to eight digits.
        std: standard deviation, likewise.
    """

    train: int
    test: int
    first_labels: tuple[int, ...]
    first_test_labels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


FACTS = Facts(
    train=TRAIN_IMAGES,
    test=TEST_IMAGES,
    first_labels=(6, 9, 9, 4, 1, 1, 2, 7, 8, 3),
    first_test_labels=(3, 8, 8, 0, 6, 6, 1, 6, 3, 1),
    mean=(0.49139968, 0.48215841, 0.44653091),
    std=(0.24703223, 0.24348513, 0.26158784),
)
"""The published counts, order and channel statistics: one wrong grey level in a thousand images shows in the mean."""


CONTENT_SHA256 = "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660"
"""``Benchmark.sha256()`` of the true data set: what proves a copy that has no published checksum of its own."""


def benchmark(
    images: NDArray[np.uint8], labels: NDArray[np.integer], test: NDArray[np.uint8], test_labels: NDArray[np.integer]
) -> Benchmark:
    """CIFAR-10 out of its four arrays, not verified yet."""
    return Benchmark("cifar10", CLASSES, images, labels, test, test_labels)


def verify(data: Benchmark, where: str, facts: Facts = FACTS, sha256: str | None = None) -> None:
    """Compare a copy of the data set with what is known of it.

    Args:
        data: the copy.
        where: where it came from, for the message.
        facts: what is known.
        sha256: what ``data.sha256()`` must be, e.g. :data:`CONTENT_SHA256`; None where the files' own published
            checksums were compared before.

    Raises:
        BadInputError: something differs; the message names the first difference.
    """
    _verify_part(f"{where}: training set", data.images, data.labels, facts.train, facts.first_labels)
    _verify_part(f"{where}: test set", data.test_images, data.test_labels, facts.test, facts.first_test_labels)
    mean, std = channel_moments(data.images)
    for name, found, expected in (("means", mean, facts.mean), ("standard deviations", std, facts.std)):
        if max(abs(f - e) for f, e in zip(found, expected, strict=True)) > 1e-8:
            raise BadInputError(
                f"{where}: the pixels are not those of CIFAR-10: channel {name} {_spell(found)}, "
                f"expected {_spell(expected)}."
            )
    if sha256 is not None and data.sha256() != sha256:
        raise BadInputError(f"{where}: some images or labels are not those of CIFAR-10 (SHA-256 {data.sha256()}).")


def _verify_part(
    where: str, images: NDArray[np.uint8], labels: NDArray[np.integer], count: int, first: tuple[int, ...]
) -> None:
    if images.shape != (count, SIZE, SIZE, 3) or images.dtype != np.uint8:
        raise BadInputError(
            f"{where} is {images.dtype}{images.shape}, expected uint8{(count, SIZE, SIZE, 3)}. It is not CIFAR-10."
        )
    if len(labels) != count:
        raise BadInputError(f"{where} has {len(labels):,} labels for {count:,} images. It is not CIFAR-10.")
    if tuple(labels[: len(first)]) != first:
        found = " ".join(map(str, labels[: len(first)]))
        raise BadInputError(f"{where} begins with the labels {found}, expected {' '.join(map(str, first))}.")
    per_class = np.bincount(np.clip(labels, 0, len(CLASSES)), minlength=len(CLASSES))
    if per_class.tolist() != [count // len(CLASSES)] * len(CLASSES):
        raise BadInputError(f"{where} has {per_class.tolist()} images a class, expected {count // len(CLASSES)} each.")


def channel_moments(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in units of the full range, from exact counts of grey levels."""
    levels = np.arange(256)
    means, stds = [], []
    for channel in range(3):
        counts = np.bincount(images[..., channel].reshape(-1), minlength=256)
        total, first, second = int(counts.sum()), int(counts @ levels), int(counts @ levels**2)
        means.append(first / total / 255)
        stds.append(float(np.sqrt(second / total - (first / total) ** 2)) / 255)
    return tuple(means), tuple(stds)


def _spell(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.8f}" for value in values)
