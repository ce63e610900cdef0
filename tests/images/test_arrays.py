from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.images.arrays import (
    INDEX_SCHEMA,
    FolderWriter,
    content_sha256,
    open_folder,
    open_images,
    pixel_sha256,
    read_index,
    write_folder,
)


def some_folder(count, size=8, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    index = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(count)],
            "arrived_at": pd.date_range("2026-01-01 23:59:59.123456", periods=count, freq="7us", tz="UTC").as_unit(
                "us"
            ),
            "label": ["cat" if n % 3 == 0 else None for n in range(count)],
            "split": ["val" if n % 5 == 0 else "train" for n in range(count)],
            "sha256": [pixel_sha256(image) for image in images],
        }
    )
    return images, index


@given(count=st.integers(0, 30), cuts=st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=25, deadline=None)
def test_written_in_pieces_or_in_one_the_files_are_the_same_bytes(tmp_path_factory, count, cuts):
    folder = tmp_path_factory.mktemp("arrays")
    images, index = some_folder(count)
    write_folder(folder / "one", images, index)
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    with FolderWriter(folder / "pieces", 8) as writer:
        for start, end in pairwise(bounds):
            writer.append(images[start:end], index.iloc[start:end])
    assert (folder / "one" / "images.npy").read_bytes() == (folder / "pieces" / "images.npy").read_bytes()
    found, rows = open_folder(folder / "pieces")
    np.testing.assert_array_equal(found, images)
    assert content_sha256(rows) == content_sha256(index)
    assert rows["arrived_at"].tolist() == index["arrived_at"].tolist()
    assert rows["label"].isna().tolist() == index["label"].isna().tolist()


def test_images_are_memory_mapped_read_only_and_standard_npy(tmp_path):
    images, index = some_folder(12)
    write_folder(tmp_path / "a", images, index)
    mapped = open_images(tmp_path / "a")
    assert isinstance(mapped, np.memmap)
    assert mapped.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "images.npy"), images)


def test_index_on_disk_has_exactly_the_contracts_columns(tmp_path):
    images, index = some_folder(3)
    write_folder(tmp_path / "a", images, index[index.columns[::-1]])  # the order of the frame does not matter
    assert pq.read_schema(tmp_path / "a" / "index.parquet").equals(INDEX_SCHEMA)
    assert read_index(tmp_path / "a").columns.tolist() == ["image_id", "arrived_at", "label", "split", "sha256"]


def test_an_error_while_writing_leaves_the_old_folder(tmp_path):
    images, index = some_folder(4)
    write_folder(tmp_path / "a", images, index)
    before = (tmp_path / "a" / "images.npy").read_bytes()

    def stop_halfway():
        with FolderWriter(tmp_path / "a", 8) as writer:
            writer.append(images[:2], index.iloc[:2])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_halfway()
    assert (tmp_path / "a" / "images.npy").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_images_that_do_not_belong_to_the_rows_are_refused(tmp_path):
    images, index = some_folder(4)
    with pytest.raises(ValueError, match="expected uint8"), FolderWriter(tmp_path / "a", 8) as writer:
        writer.append(images[:3], index)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "index.parquet").unlink(), "is missing"),
        (lambda f: (f / "images.npy").unlink(), "is missing"),
        (lambda f: (f / "index.parquet").write_bytes(b"PAR1 no"), "no readable Parquet"),
        (lambda f: (f / "images.npy").write_bytes((f / "images.npy").read_bytes()[:200]), "damaged"),
        (lambda f: (f / "images.npy").write_bytes(b""), "damaged"),
        (lambda f: np.save(f / "images.npy", np.zeros((4, 8, 8, 3))), "float64"),
        (lambda f: np.save(f / "images.npy", np.zeros((4, 8, 8), np.uint8)), r"expected uint8\(N, height, width, 3\)"),
        (lambda f: np.save(f / "images.npy", np.zeros((5, 8, 8, 3), np.uint8)), "5 images and an index of 4 rows"),
        (lambda f: np.save(f / "images.npy", np.array([{}]), allow_pickle=True), "damaged"),
    ],
)
def test_damaged_folders_are_named_with_what_is_wrong(tmp_path, damage, message):
    write_folder(tmp_path / "a", *some_folder(4))
    damage(tmp_path / "a")
    with pytest.raises(BadInputError, match=message):
        open_folder(tmp_path / "a")


def test_other_columns_are_refused_with_both_lists(tmp_path):
    write_folder(tmp_path / "a", *some_folder(2))
    table = pa.table({"image_id": ["a", "b"], "label": ["x", "y"]})
    pq.write_table(table, tmp_path / "a" / "index.parquet")
    with pytest.raises(BadInputError, match=r"has the columns image_id string, label string; expected image_id string"):
        read_index(tmp_path / "a")


def test_content_hash_sees_every_column(tmp_path):
    _, index = some_folder(3)
    changes = {
        "image_id": "other",
        "arrived_at": pd.Timestamp("2026-02-01", tz="UTC"),
        "label": "dog",
        "split": "gate",
        "sha256": "0" * 64,
    }
    hashes = {content_sha256(index)}
    for column, value in changes.items():
        changed = index.copy()
        changed.loc[1, column] = value
        hashes.add(content_sha256(changed))
    assert len(hashes) == 1 + len(changes)
