import hashlib
import os
import pickle
import struct

import numpy as np
import pytest

from evergreen.errors import BadInputError
from evergreen.files import sha256_file
from evergreen.images.cifar_official import BATCH_MD5, FOLDER, read_archive, read_batches
from tests.images.archives import write_folder, write_tarball

RNG = np.random.default_rng(0)
BATCHES = {
    name: {
        "data": RNG.integers(0, 256, (4, 3072), dtype=np.uint8),
        "labels": [number, 1, 2, 3],
        "filenames": ["a.png"] * 4,
    }
    for number, name in enumerate(BATCH_MD5)
}


class Malice:
    def __reduce__(self):
        return os.system, ("touch /should-not-run",)


def contents(**replaced):
    return {name: pickle.dumps(replaced.get(name, batch), protocol=2) for name, batch in BATCHES.items()}


def python_2_pickle(batch):
    """A batch as Python 2 pickled it in 2009: byte strings everywhere, NumPy's old module names."""

    def short(text):
        return b"U" + bytes([len(text)]) + text.encode()

    def named(module, name):
        return f"c{module}\n{name}\n".encode()

    data = batch["data"]
    shape = b"M" + struct.pack("<H", data.shape[0]) + b"M" + struct.pack("<H", data.shape[1]) + b"\x86"
    dtype = named("numpy", "dtype") + short("u1") + b"K\0K\1\x87R(K\3" + short("|")
    dtype += b"NNN" + 2 * (b"J" + struct.pack("<i", -1)) + b"K\0tb"
    empty = (
        named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"K\0\x85" + short("b") + b"\x87R"
    )
    raw = data.tobytes()
    array = empty + b"(K\1" + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in batch["labels"]) + b"e"
    return b"\x80\2}(" + short("data") + array + short("labels") + labels + b"u."


def write_batches(path, files):
    write_folder(path, files)
    return {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


@pytest.mark.parametrize("dump", [python_2_pickle, lambda batch: pickle.dumps(batch, protocol=2)])
def test_archive_and_unpacked_batches_hold_the_images(tmp_path, dump):
    files = {name: dump(batch) for name, batch in BATCHES.items()}
    archive = write_tarball(tmp_path / "a.tar.gz", FOLDER, files)
    sums = write_batches(tmp_path / "b", files)
    expected = np.concatenate([batch["data"] for name, batch in BATCHES.items() if name != "test_batch"])
    for data in (read_archive(archive, sha256_file(archive)), read_batches(tmp_path / "b", sums)):
        assert data.images.shape == (20, 32, 32, 3)
        np.testing.assert_array_equal(data.images[6, 4, 9], expected[6].reshape(3, 32, 32)[:, 4, 9])
        np.testing.assert_array_equal(data.images.transpose(0, 3, 1, 2).reshape(20, 3072), expected)
        assert data.labels.tolist() == [label for n in range(5) for label in (n, 1, 2, 3)]
        assert data.test_labels.tolist() == [5, 1, 2, 3]


def test_nothing_is_read_before_the_checksum_fits(tmp_path):
    archive = write_tarball(tmp_path / "a.tar.gz", FOLDER, contents())
    with pytest.raises(BadInputError, match="is not the published archive: SHA-256"):
        read_archive(archive)
    write_batches(tmp_path / "b", contents(data_batch_1=Malice()))
    with pytest.raises(BadInputError, match=r"data_batch_1 is not the published file: MD5 \w+, expected c99cafc152"):
        read_batches(tmp_path / "b")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Malice(), "asks for posix.system"),
        ({"data": Malice()}, "asks for posix.system"),
        ({"data": BATCHES["test_batch"]["data"]}, "labels"),
        ({"data": np.zeros(5, np.uint8), "labels": [1]}, "cannot reshape"),
        ({"data": BATCHES["test_batch"]["data"], "labels": [300]}, "300"),
        ([1, 2], "no batch"),
    ],
)
def test_pickles_can_build_arrays_and_nothing_else(tmp_path, batch, message):
    archive = write_tarball(tmp_path / "a.tar.gz", FOLDER, contents(data_batch_2=batch))
    with pytest.raises(BadInputError, match=message):
        read_archive(archive, sha256_file(archive))
    assert not os.path.exists("/should-not-run")


def test_an_incomplete_archive_is_refused(tmp_path):
    files = contents()
    del files["data_batch_4"]
    archive = write_tarball(tmp_path / "a.tar.gz", FOLDER, files)
    with pytest.raises(BadInputError, match=r"not the complete CIFAR-10 archive.*data_batch_4"):
        read_archive(archive, sha256_file(archive))
    sums = write_batches(tmp_path / "b", files)
    with pytest.raises(BadInputError, match="not the complete folder"):
        read_batches(tmp_path / "b", {**sums, "data_batch_4": ""})
    (tmp_path / "c.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BadInputError, match="not the complete CIFAR-10 archive"):
        read_archive(tmp_path / "c.tar.gz", sha256_file(tmp_path / "c.tar.gz"))


def test_checksums_are_those_that_torchvision_knows():
    from torchvision.datasets import CIFAR10

    assert dict([*CIFAR10.train_list, *CIFAR10.test_list]) == BATCH_MD5
