import io
import json

import numpy as np
import pytest
from PIL import Image

from evergreen.errors import BadInputError
from evergreen.images.cifar_npm import read_strips, read_tarball
from tests.images.archives import write_folder, write_tarball

ROWS = 20
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5 * ROWS, 32, 32, 3), dtype=np.uint8)
TEST = RNG.integers(0, 256, (ROWS, 32, 32, 3), dtype=np.uint8)


def strip(images):
    file = io.BytesIO()
    Image.fromarray(images.reshape(len(images), 1024, 3)).convert("RGBA").save(file, "PNG")
    return file.getvalue()


def package():
    files = {f"data_batch_{n + 1}.png": strip(IMAGES[n * ROWS : (n + 1) * ROWS]) for n in range(5)}
    files["test_batch.png"] = strip(TEST)
    files["train_lables.json"] = json.dumps([n % 10 for n in range(5 * ROWS)]).encode()
    files["test_lables.json"] = json.dumps([9] * ROWS).encode()
    return files


def test_tarball_and_unpacked_files_hold_the_same_images(tmp_path):
    packed = read_tarball(write_tarball(tmp_path / "p.tgz", "package", package()), ROWS)
    unpacked = read_strips(write_folder(tmp_path / "p", package()), ROWS)
    for data in (packed, unpacked):
        np.testing.assert_array_equal(data.images, IMAGES)
        np.testing.assert_array_equal(data.test_images, TEST)
        assert data.labels.tolist() == [n % 10 for n in range(5 * ROWS)]
        assert data.test_labels.tolist() == [9] * ROWS
    assert packed.sha256() == unpacked.sha256()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_3.png", None, "data_batch_3.png"),
        ("test_lables.json", None, "test_lables.json"),
        ("data_batch_2.png", strip(IMAGES[: ROWS - 1]), "data_batch_2.png is 1024×19, expected 1024×20"),
        ("data_batch_2.png", b"no picture", "data_batch_2.png is no readable PNG"),
        ("train_lables.json", b"{broken", "train_lables.json is not valid JSON"),
        ("train_lables.json", b"[1, 2, 10]", "not a list of class numbers from 0 to 9"),
        ("train_lables.json", b"[true]", "not a list of class numbers from 0 to 9"),
        ("train_lables.json", b'{"0": 1}', "not a list of class numbers from 0 to 9"),
    ],
)
def test_an_incomplete_or_wrong_package_is_refused(tmp_path, name, content, message):
    files = package()
    if content is None:
        del files[name]
    else:
        files[name] = content
    with pytest.raises(BadInputError, match=message):
        read_tarball(write_tarball(tmp_path / "p.tgz", "package", files), ROWS)
    with pytest.raises(BadInputError, match=message):
        read_strips(write_folder(tmp_path / "p", files), ROWS)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_torn_tarball_is_refused(tmp_path, share):
    path = write_tarball(tmp_path / "p.tgz", "package", package())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BadInputError, match="is not the complete npm package"):
        read_tarball(path, ROWS)
