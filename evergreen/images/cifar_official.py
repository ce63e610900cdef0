"""CIFAR-10 as its authors publish it: an archive of Python 2 pickles, read only after its checksum is proven.

Even then the pickles may build nothing but NumPy arrays: the reader knows no other class or function.
"""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import sha256_file
from evergreen.images.benchmark import Benchmark
from evergreen.images.cifar import SIZE, benchmark

ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
FOLDER = "cifar-10-batches-py"
BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""Checksums of the unpacked files, as torchvision 0.29 lists them."""

# What the pickles of the archive may use to rebuild their arrays, and where NumPy 2 keeps it.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy._core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy", "ndarray"): "numpy",
    ("numpy", "dtype"): "numpy",
    ("_codecs", "encode"): "_codecs",  # how Python 3 spells bytes in old pickles
}


def read_archive(path: Path, sha256: str = ARCHIVE_SHA256) -> Benchmark:
    """Read the archive; nothing is unpacked to disk.

    Raises:
        BadInputError: it is not the published file, bit for bit, or holds something else than images and labels.
    """
    found = sha256_file(path)
    if found != sha256:
        raise BadInputError(
            f"{path} is not the published archive: SHA-256 {found}, expected {sha256}. Remove it or fetch it again."
        )
    try:
        with tarfile.open(path) as archive:
            contents = {name: _member(archive, f"{FOLDER}/{name}") for name in BATCH_MD5}
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise BadInputError(f"{path} is not the complete CIFAR-10 archive: {error}") from error
    return _assemble(contents, str(path))


def read_batches(folder: Path, md5: Mapping[str, str] = BATCH_MD5) -> Benchmark:
    """Read the unpacked batches from their folder.

    Raises:
        BadInputError: a file is missing or is not the published one.
    """
    contents = {}
    for name, expected in md5.items():
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise BadInputError(f"{folder} is not the complete folder {FOLDER}: {error}") from error
        found = hashlib.md5(contents[name], usedforsecurity=False).hexdigest()
        if found != expected:
            raise BadInputError(f"{folder / name} is not the published file: MD5 {found}, expected {expected}.")
    return _assemble(contents, str(folder))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _assemble(contents: Mapping[str, bytes], where: str) -> Benchmark:
    parts = {name: _batch(content, f"{where}: {name}") for name, content in contents.items()}
    train = [parts[name] for name in BATCH_MD5 if name != "test_batch"]
    images = np.concatenate([pixels for pixels, _ in train])
    labels = np.concatenate([numbers for _, numbers in train])
    return benchmark(images, labels, *parts["test_batch"])


def _batch(content: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """One batch → images (n, 32, 32, 3) and labels (n,)."""
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        pixels = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, SIZE, SIZE)
        labels = np.array(batch["labels"], dtype=np.uint8)
    except (
        pickle.UnpicklingError,
        LookupError,
        TypeError,
        ArithmeticError,
        ValueError,
        EOFError,
        AttributeError,
    ) as error:
        raise BadInputError(f"{where} is no batch of CIFAR-10: {error}") from error
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels  # channels last


class _ArraysOnly(pickle.Unpickler):
    """Builds lists, dictionaries and NumPy arrays, and refuses everything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        home = _ALLOWED.get((module, name))
        if home is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of CIFAR-10 needs")
        return super().find_class(home, name)
