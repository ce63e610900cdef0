"""Scoring: nothing lost, nothing doubled, the same answers whatever the batches, and memory that does not grow."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from evergreen.errors import BadInputError
from evergreen.images.arrays import pixel_sha256, write_folder
from evergreen.images.bundle import Classifier
from evergreen.images.score import PREDICTIONS_SCHEMA, Identity, Scored, quarantine_path, score
from evergreen.images.score_source import FolderSource, open_source
from evergreen.progress import Silent

CLASSES = ["blue", "green", "red"]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def classifier(make_classifier: Callable[..., Classifier]) -> Classifier:
    return make_classifier(CLASSES)


def run(given: Path, output: Path, classifier: Classifier, batch_size: int = 4, column: str | None = None) -> Scored:
    source = open_source(given, column, without=(output, quarantine_path(output)))
    return score(source, output, classifier, Identity("images", "7", NOW), Silent(), batch_size)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    content = BytesIO()
    Image.fromarray(image).save(content, kind)
    return content.getvalue()


@pytest.fixture
def folder(tmp_path: Path, painter: Callable[..., np.ndarray]) -> Path:
    """Nine pictures in sub-folders, large and small, and five files that are none."""
    folder = tmp_path / "pictures"
    images = painter(CLASSES * 3, size=96)
    for number, image in enumerate(images):
        kind = ("PNG", "JPEG", "WEBP")[number % 3]
        path = folder / f"day {number // 3}" / f"{CLASSES[number % 3]}-{number}.{kind.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image, kind))
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "half.png").write_bytes(encoded(images[0])[:2000])
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    frames = [Image.fromarray(image) for image in images[:2]]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    return folder


def test_folder_with_broken_files(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    output = tmp_path / "new" / "predictions.parquet"
    done = run(folder, output, classifier)
    rows, refused = pd.read_parquet(output), pd.read_parquet(quarantine_path(output))
    assert (done.read, done.scored, sum(done.refused.values())) == (14, 9, 5)
    assert pq.read_schema(output).equals(PREDICTIONS_SCHEMA)
    assert [Path(path).name.split("-")[0] for path in rows["path"]] == list(rows["prediction"])
    assert done.classes == {name: 3 for name in CLASSES}
    assert rows["score"].between(0.34, 1).all()
    assert set(rows["model"]) == {"images"}
    assert set(rows["model_version"]) == {"7"}
    assert set(rows["predicted_at"]) == {pd.Timestamp(NOW)}
    assert rows["image_id"].is_unique
    reasons = dict(zip(refused["path"], refused["reason"].str.split(":").str[0], strict=True))
    assert reasons == {
        "notes.txt": "no image",
        "empty.png": "no image",
        "half.png": "damaged",
        "gone.png": "broken link",
        "moving.gif": "several frames",
    }
    assert done.quarantine == quarantine_path(output) == tmp_path / "new" / "predictions.quarantine.parquet"
    assert {path.name for path in output.parent.iterdir()} == {output.name, quarantine_path(output).name}


def test_image_keeps_the_name_that_ingest_gives_it(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    from evergreen.files import sha256_file
    from evergreen.images.folder import scan

    output = tmp_path / "p.parquet"
    run(folder, output, classifier)
    rows = pd.read_parquet(output).set_index("path")["image_id"]
    for entry in scan(folder):
        if entry.name in rows:
            assert rows[entry.name] == entry.image_id(sha256_file(folder / entry.relative))


@pytest.mark.parametrize("batch_size", [1, 3, 14, 1000])
def test_batches_do_not_change_the_answers(
    folder: Path, tmp_path: Path, classifier: Classifier, batch_size: int
) -> None:
    run(folder, tmp_path / "a.parquet", classifier, 5)
    run(folder, tmp_path / "b.parquet", classifier, batch_size)
    first, second = (pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    pd.testing.assert_frame_equal(first, second, check_exact=False, atol=1e-5)


def test_csv_holds_the_same(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    run(folder, tmp_path / "a.parquet", classifier)
    run(folder, tmp_path / "a.csv", classifier)
    options = pyarrow.csv.ConvertOptions(column_types=PREDICTIONS_SCHEMA)
    table = pyarrow.csv.read_csv(tmp_path / "a.csv", convert_options=options)
    expected = pq.read_table(tmp_path / "a.parquet")
    for name in ("image_id", "path", "prediction", "model_version", "predicted_at"):
        assert table[name].to_pylist() == expected[name].to_pylist()
    np.testing.assert_allclose(table["score"], expected["score"], rtol=1e-6)


def test_order_of_the_classes_is_the_models(folder: Path, tmp_path: Path, make_classifier) -> None:
    run(folder, tmp_path / "a.parquet", make_classifier(CLASSES))
    run(folder, tmp_path / "b.parquet", make_classifier(["red", "blue", "green"]))
    first, second = (pd.read_parquet(tmp_path / name)["prediction"] for name in ("a.parquet", "b.parquet"))
    assert list(first) == list(second)


def test_output_inside_the_input_is_not_read_by_the_next_run(folder: Path, classifier: Classifier) -> None:
    output = folder / "predictions.parquet"
    first, second = run(folder, output, classifier), run(folder, output, classifier)
    assert first == second


def test_earlier_quarantine_goes_when_nothing_is_refused(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    output = tmp_path / "p.parquet"
    run(folder, output, classifier)
    assert quarantine_path(output).exists()
    for name in ("notes.txt", "empty.png", "half.png", "gone.png", "moving.gif"):
        (folder / name).unlink()
    done = run(folder, output, classifier)
    assert (done.refused, done.quarantine) == ({}, None)
    assert not quarantine_path(output).exists()


@pytest.fixture
def arrays(tmp_path: Path, painter: Callable[..., np.ndarray]) -> Path:
    labels = CLASSES * 4
    images = painter(labels)
    index = pd.DataFrame(
        {
            "image_id": [f"{label}/{number}" for number, label in enumerate(labels)],
            "arrived_at": pd.Timestamp(NOW),
            "label": None,
            "split": "train",
            "sha256": [pixel_sha256(image) for image in images],
        }
    )
    write_folder(tmp_path / "window", images, index)
    return tmp_path / "window"


@pytest.mark.parametrize("named", ["", "index.parquet"])
def test_array_folder(arrays: Path, tmp_path: Path, classifier: Classifier, named: str) -> None:
    done = run(arrays / named, tmp_path / "p.parquet", classifier, batch_size=5)
    rows = pd.read_parquet(tmp_path / "p.parquet")
    assert done.scored == 12
    assert [name.split("/")[0] for name in rows["image_id"]] == list(rows["prediction"])
    assert rows["path"].isna().all()


@pytest.fixture
def table(painter: Callable[..., np.ndarray]) -> dict[str, list]:
    """Encoded images with a name each, one of them missing and one damaged."""
    images = painter(CLASSES * 2, size=40)
    content = [encoded(image) for image in images]
    return {
        "image_id": [f"{name}-{i}" for i, name in enumerate([*CLASSES * 2, "null", "bad"])],
        "image": [*content, None, b"x"],
    }


def check_parquet(done: Scored, output: Path) -> pd.DataFrame:
    rows, refused = pd.read_parquet(output), pd.read_parquet(quarantine_path(output))
    assert (done.read, done.scored) == (8, 6)
    assert list(rows["prediction"]) == CLASSES * 2
    assert list(refused["row"]) == [6, 7]
    return rows


def test_parquet_with_encoded_images(table: dict[str, list], tmp_path: Path, classifier: Classifier) -> None:
    pq.write_table(pa.table(table), tmp_path / "in.parquet", row_group_size=3)
    done = run(tmp_path / "in.parquet", tmp_path / "out.parquet", classifier)
    rows = check_parquet(done, tmp_path / "out.parquet")
    assert list(rows["image_id"]) == table["image_id"][:6]
    assert done.refused == {"empty": 1, "no image": 1}


def test_parquet_as_hugging_face_writes_it(table: dict[str, list], tmp_path: Path, classifier: Classifier) -> None:
    values = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(table["image"])]
    values[1] = {"bytes": None, "path": "one.png"}
    (tmp_path / "one.png").write_bytes(table["image"][1])
    pq.write_table(pa.table({"image": values, "label": [0] * 8}), tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", tmp_path / "out.parquet", classifier)
    rows = check_parquet(done, tmp_path / "out.parquet")
    assert list(rows["image_id"]) == [str(row) for row in range(6)]
    assert rows["path"][1] == "one.png"


def test_parquet_with_paths_relative_to_it(table: dict[str, list], tmp_path: Path, classifier: Classifier) -> None:
    place = tmp_path / "elsewhere"
    (place / "pictures").mkdir(parents=True)
    for number, content in enumerate(table["image"][:6]):
        (place / "pictures" / f"{number}.png").write_bytes(content)
    paths = [f"pictures/{number}.png" for number in range(6)]
    pq.write_table(
        pa.table({"n": range(8), "where": [*paths, "pictures/missing.png", "pictures"]}), place / "in.parquet"
    )
    done = run(place / "in.parquet", tmp_path / "out.parquet", classifier, column="where")
    rows = check_parquet(done, tmp_path / "out.parquet")
    assert list(rows["path"]) == paths
    assert done.refused == {"unreadable file": 2}


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    """One row group of 64 MiB in pages of 1 MiB: only some pages are ever in Arrow's memory at once."""
    rng = np.random.default_rng(0)
    path = tmp_path / "in.parquet"
    content = pa.table({"image": [rng.bytes(1 << 19) for _ in range(128)]})
    pq.write_table(content, path, use_dictionary=False, write_batch_size=2)
    assert pq.ParquetFile(path).num_row_groups == 1
    del content
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    held = [pool.bytes_allocated() - before for _ in open_source(path).batches(2, 32, 1000)]
    assert len(held) == 64
    assert 0 < max(held) < 16 << 20


@given(
    kinds=st.lists(st.sampled_from([*CLASSES, "damaged", "null"]), min_size=1, max_size=12),
    batch_size=st.integers(1, 5),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost_or_doubled(
    tmp_path: Path, classifier: Classifier, painter: Callable[..., np.ndarray], kinds: list[str], batch_size: int
) -> None:
    content = {name: encoded(painter([name])[0]) for name in CLASSES} | {"damaged": b"GIF89a", "null": None}
    path, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"image": pa.array([content[kind] for kind in kinds], pa.binary())}), path)
    try:
        done = run(path, output, classifier, batch_size)
    except BadInputError:
        assert not set(kinds) & set(CLASSES)
    else:
        assert done.read == len(kinds)
    rows = pd.read_parquet(output)
    refused = (
        pd.read_parquet(quarantine_path(output)) if quarantine_path(output).exists() else pd.DataFrame({"row": []})
    )
    assert sorted([*rows["image_id"].astype(int), *refused["row"].astype(int)]) == list(range(len(kinds)))
    assert [kinds[int(row)] for row in rows["image_id"]] == list(rows["prediction"])


def test_failure_leaves_the_earlier_output(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    class Stop:
        def advance(self, count: int = 1, **fields: object) -> None:
            raise KeyboardInterrupt

    output = tmp_path / "p.parquet"
    run(folder, output, classifier)
    before = output.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        score(open_source(folder), output, classifier, Identity("images", "8", NOW), Stop(), 4)
    assert output.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", output.name, quarantine_path(output).name}


def test_input_without_one_readable_image_is_an_error(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    for day in ("day 0", "day 1", "day 2"):
        shutil.rmtree(folder / day)
    with pytest.raises(BadInputError, match="None of the 5 inputs is a readable image"):
        run(folder, tmp_path / "p.parquet", classifier)
    assert len(pd.read_parquet(tmp_path / "p.quarantine.parquet")) == 5


def test_input_that_changes_meanwhile_is_an_error(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    class Shrinking(FolderSource):
        @property
        def total(self) -> int:
            return super().total + 1  # one that was there when it was counted

    with pytest.raises(BadInputError, match="The input changed while it was read: 15 images"):
        score(Shrinking(folder), tmp_path / "p.parquet", classifier, Identity("images", "8", NOW), Silent(), 4)
    assert not (tmp_path / "p.parquet").exists()


@pytest.mark.parametrize("name", ["p.json", "p", "p.parquet.gz"])
def test_unknown_suffix_is_refused(folder: Path, tmp_path: Path, classifier: Classifier, name: str) -> None:
    with pytest.raises(BadInputError, match=r"expected one of \.parquet, \.csv"):
        run(folder, tmp_path / name, classifier)


def test_inputs_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        open_source(tmp_path / "nothing")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(BadInputError, match="no readable Parquet file"):
        open_source(tmp_path / "text.parquet")
    pq.write_table(pa.table({"image": [1.5], "label": ["a"]}), tmp_path / "numbers.parquet")
    with pytest.raises(BadInputError, match="image double, label string: none of image, "):
        open_source(tmp_path / "numbers.parquet")
    with pytest.raises(BadInputError, match="no column 'picture'"):
        open_source(tmp_path / "numbers.parquet", "picture")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="is empty"):
        open_source(tmp_path / "empty")
