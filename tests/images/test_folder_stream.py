import os
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evergreen.errors import BadInputError
from evergreen.images import folder_stream
from evergreen.images.arrays import open_folder, pixel_sha256, read_index
from evergreen.images.days import day_folders, read_gone
from evergreen.images.decode import decode
from evergreen.images.folder import folder_params
from evergreen.images.folder_stream import ingest_folder
from evergreen.images.ingest_config import IngestConfig
from evergreen.images.layout import ImageLayout
from evergreen.images.splits import split_of

NOON = 1_767_268_800  # 2026-01-01 12:00 UTC
DAY = 86_400
SHARES = {"val_fraction": 0.1, "gate_fraction": 0.2, "test_fraction": 0.2}


def save(folder, name, colour, seconds=0, content=None):
    """One small image (or ``content``) that was modified ``seconds`` after noon."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        Image.new("RGB", (9, 8), tuple(colour)).save(path)
    else:
        path.write_bytes(content)
    os.utime(path, (NOON + seconds, NOON + seconds))


def config(folder, **changes):
    values = {
        "image_size": 8,
        "first_day": "2026-01-01",
        "days": 1,
        "images_per_day": 1,
        "known_fraction": 0.01,
        "noise_from_day": None,
        "noise_severity": 3,
        "max_pixels": 10_000,
    }
    return IngestConfig.read(values | SHARES | folder_params(folder) | changes, "test")


def ingest(workspace, folder, seed=0, **changes):
    layout = ImageLayout(workspace)
    return layout, ingest_folder(layout, folder, config(folder, **changes), seed)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stream(layout):
    return pd.concat([read_index(path) for path in day_folders(layout.raw)], ignore_index=True)


def refused(layout):
    rows = pd.read_parquet(layout.quarantine / "ingest" / "reasons.parquet")
    return dict(zip(rows["path"], rows["reason"].str.split(":").str[0], strict=True))


FILES = st.lists(
    st.tuples(
        st.sampled_from(["cat/", "cat/deep/", "dog/", "unlabelled/", ""]),
        st.sampled_from(["image", "image", "image", "text", "empty"]),
        st.integers(0, 2),  # day
        st.integers(0, 3),  # hour: ties are frequent
        st.integers(0, 40),  # colour: copies are frequent
    ),
    min_size=1,
    max_size=14,
)


def put(folder, number, made):
    place, kind, day, hour, colour = made
    content = {"image": None, "text": b"no image", "empty": b""}[kind]
    save(folder, f"{place}{number}.png", (colour * 6, 255 - colour, 10), day * DAY + hour * 3600, content)


@given(first=FILES, later=FILES)
@settings(max_examples=25, deadline=None)
def test_a_growing_folder_loses_nothing_and_rewrites_nothing(tmp_path_factory, first, later):
    base = tmp_path_factory.mktemp("growing")
    folder = base / "in"
    for number, made in enumerate(first):
        put(folder, number, made)
    if not any(made[1] == "image" for made in first):
        with pytest.raises(BadInputError, match="None of the"):
            ingest(base, folder)
        return
    layout, outcome = ingest(base, folder)
    before = tree(layout.raw)
    assert ingest(base, folder)[1].read == outcome.read
    assert tree(layout.raw) == before  # nothing new: nothing written
    for number, made in enumerate(later, start=len(first)):
        put(folder, number, made)
    layout, outcome = ingest(base, folder)
    after = tree(layout.raw)
    before.pop("gone.json")
    assert {name: after.get(name) for name in before} == before

    everything = [*first, *later]
    good = {number for number, made in enumerate(everything) if made[1] == "image"}
    _, tested = open_folder(layout.test / "clean")
    index = pd.concat([stream(layout), tested], ignore_index=True)
    numbers = [int(image_id.split("#")[0].split("/")[-1].removesuffix(".png")) for image_id in index["image_id"]]
    assert Counter(numbers) == Counter(good)
    assert len(refused(layout)) == outcome.quarantined == len(everything) - len(good)
    assert outcome.read == len(everything)
    for number, row in zip(numbers, index.itertuples(), strict=True):
        check_row(row, everything[number])
    for path in day_folders(layout.raw):
        images, rows = open_folder(path)
        assert [pixel_sha256(image) for image in images] == rows["sha256"].tolist()
        assert rows.sort_values(["arrived_at", "image_id"]).index.tolist() == list(range(len(rows)))
        assert set(rows["arrived_at"].dt.strftime("%Y-%m-%d")) == {path.name[:10]}
    assert tested["arrived_at"].is_monotonic_increasing


def check_row(row, made):
    """What a naive reading of the rules says about one accepted image."""
    place, _, day, hour, _ = made
    assert row.arrived_at == pd.Timestamp(NOON + day * DAY + hour * 3600, unit="s", tz="UTC")
    label = {"cat/": "cat", "cat/deep/": "cat", "dog/": "dog"}.get(place)
    split = split_of(row.sha256, 0, test=0.2, gate=0.2, val=0.1)
    if label is None and split in ("test", "gate"):
        split = "train"
    assert row.split == split
    assert (None if pd.isna(row.label) else row.label) == (None if split == "gate" else label)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    for number in range(40):
        place = ("cat/", "dog/", "unlabelled/")[number % 3]
        save(folder, f"{place}{number}.png", (number * 6, 7, number), (number % 4) * DAY // 2)
    save(folder, "broken.png", (), 5, b"\x89PNG\r\n\x1a\n")
    return folder


def test_the_order_in_which_files_are_found_or_made_changes_nothing(tmp_path, folder, monkeypatch):
    layout, _ = ingest(tmp_path / "a", folder)
    listdir = os.listdir

    def shuffled(path):
        names = listdir(path)
        random.Random(3).shuffle(names)
        return names

    monkeypatch.setattr(os, "listdir", shuffled)
    other, _ = ingest(tmp_path / "b", folder)
    assert tree(other.raw) == tree(layout.raw)
    assert tree(other.test) == tree(layout.test)
    assert tree(other.quarantine) == tree(layout.quarantine)


def test_labels_of_the_gate_are_in_no_index_and_stay_known_to_the_gate(tmp_path, folder):
    layout, outcome = ingest(tmp_path / "w", folder)
    again = ingest(tmp_path / "w", folder)[1]
    index = stream(layout)
    gate = index[index["split"] == "gate"]
    assert len(gate) > 0
    assert gate["label"].isna().all()
    for account in (outcome, again):
        assert dict(account.gate.itertuples(index=False)) == {name: name.split("/")[0] for name in gate["image_id"]}
        assert len(account.hidden) == 0
    assert set(gate["image_id"].str.split("/").str[0]) <= {"cat", "dog"}


def test_unlabelled_is_normal(tmp_path):
    for number in range(6):
        save(tmp_path / "in", f"{number}.png", (number, 0, 0))
    layout, outcome = ingest(tmp_path / "w", tmp_path / "in")
    images, tested = open_folder(layout.test / "clean")
    assert (len(images), len(tested), outcome.test_images, len(outcome.gate)) == (0, 0, 0, 0)
    assert images.shape == (0, 8, 8, 3)
    assert stream(layout)["label"].isna().all()


def test_pixels_are_those_of_the_decoder(tmp_path, folder):
    layout, _ = ingest(tmp_path / "w", folder)
    for path in [*day_folders(layout.raw), layout.test / "clean"]:
        images, index = open_folder(path)
        for image, image_id in zip(images, index["image_id"], strict=True):
            with (folder / image_id.split("#")[0]).open("rb") as file:
                np.testing.assert_array_equal(image, decode(file, 8, 10_000))


def test_every_awkward_file_ends_in_quarantine_with_its_bytes(tmp_path, folder):
    shutil.rmtree(folder / "unlabelled")
    save(folder, "cat/empty.png", (), content=b"")
    save(folder, "cat/text.txt", (), content=b"hello")
    Image.new("RGB", (200, 200)).save(folder / "dog" / "bomb.png")
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "dog" / "film.gif", save_all=True, append_images=frames[1:])
    (folder / "gone").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    layout, outcome = ingest(tmp_path / "w", folder)
    assert refused(layout) == {
        "broken.png": "no image",
        "cat/empty.png": "empty file",
        "cat/text.txt": "no image",
        "dog/bomb.png": "too many pixels",
        "dog/film.gif": "several frames",
        "gone": "broken link",
        "pipe": "no regular file",
    }
    assert outcome.quarantined == 7
    rows = pd.read_parquet(layout.quarantine / "ingest" / "reasons.parquet").set_index("path")
    for name in ("broken.png", "cat/text.txt", "dog/bomb.png", "dog/film.gif"):
        row = rows.loc[name]
        kept = layout.quarantine / "ingest" / "files" / f"{row['sha256']}{Path(name).suffix}"
        assert kept.read_bytes() == (folder / name).read_bytes()
        assert row["size_bytes"] == (folder / name).stat().st_size


def test_a_mended_file_leaves_the_quarantine_and_arrives(tmp_path, folder):
    layout, outcome = ingest(tmp_path / "w", folder)
    assert refused(layout) == {"broken.png": "no image"}
    save(folder, "broken.png", (1, 2, 3), 10 * DAY)
    layout, outcome = ingest(tmp_path / "w", folder)
    assert refused(layout) == {}
    assert outcome.quarantined == 0
    assert read_index(layout.raw / "2026-01-11")["image_id"].str.startswith("broken.png#").all()


def test_late_files_open_a_part_of_their_day(tmp_path, folder):
    layout, _ = ingest(tmp_path / "w", folder)
    names = [path.name for path in day_folders(layout.raw)]
    for number in (1, 2):
        save(folder, f"late{number}.png", (number, number, 99), number)
        layout, _ = ingest(tmp_path / "w", folder)
        assert set(names) < {path.name for path in day_folders(layout.raw)}
        assert read_index(layout.raw / f"2026-01-01.{number}")["image_id"].str.startswith(f"late{number}.png#").all()


def test_touched_and_removed_files_do_not_change_what_arrived(tmp_path, folder):
    layout, _ = ingest(tmp_path / "w", folder)
    before = tree(layout.raw)
    assert read_gone(layout.raw) == frozenset()
    os.utime(folder / "cat" / "0.png", (NOON + 99 * DAY, NOON + 99 * DAY))
    (folder / "dog" / "1.png").unlink()
    layout, outcome = ingest(tmp_path / "w", folder)
    assert tree(layout.raw) | {"gone.json": None} == before | {"gone.json": None}
    assert {name.split("#")[0] for name in read_gone(layout.raw)} == {"dog/1.png"}
    assert outcome.read == 40


def test_a_file_that_is_moved_is_gone_and_arrives_again_and_back_again_is_known(tmp_path, folder):
    layout, _ = ingest(tmp_path / "w", folder)
    (folder / "unlabelled" / "2.png").rename(folder / "cat" / "two words é.png")
    layout, _ = ingest(tmp_path / "w", folder)
    assert {name.split("#")[0] for name in read_gone(layout.raw)} == {"unlabelled/2.png"}
    parts = day_folders(layout.raw)
    (folder / "cat" / "two words é.png").rename(folder / "unlabelled" / "2.png")
    layout, _ = ingest(tmp_path / "w", folder)
    assert not any(name.startswith("unlabelled/2.png") for name in read_gone(layout.raw))
    assert day_folders(layout.raw) == parts


def test_another_seed_or_folder_is_another_stream(tmp_path, folder):
    layout, _ = ingest(tmp_path / "w", folder)
    fresh, _ = ingest(tmp_path / "fresh", folder, seed=1)
    layout, _ = ingest(tmp_path / "w", folder, seed=1)
    assert tree(layout.raw) == tree(fresh.raw)
    save(tmp_path / "in2", "only.png", (1, 1, 1))
    layout, _ = ingest(tmp_path / "w", tmp_path / "in2")
    assert len(stream(layout)) == 1


def test_a_folder_that_changed_since_is_refused_with_the_command_to_run(tmp_path, folder):
    asked = config(folder)
    save(folder, "new.png", (1, 2, 3))
    with pytest.raises(BadInputError, match=f"evergreen step images ingest --folder {folder}"):
        ingest_folder(ImageLayout(tmp_path / "w"), folder, asked, 0)
    assert not (tmp_path / "w").exists()


def test_the_workspaces_own_data_are_no_source(tmp_path, folder):
    ingest(tmp_path / "w", folder)
    for place in (tmp_path / "w", tmp_path / "w" / "data" / "images" / "raw"):
        with pytest.raises(BadInputError, match="lie in one another"):
            ingest(tmp_path / "w", place)


def test_a_file_that_changes_while_it_is_read_is_set_aside(tmp_path, folder, monkeypatch):
    def decode_slowly(file, size, max_pixels):
        pixels = decode(file, size, max_pixels)
        if file.name.endswith("cat/0.png"):
            os.utime(file.name, (NOON + 1, NOON + 1))
        return pixels

    monkeypatch.setattr(folder_stream, "decode", decode_slowly)
    layout, outcome = ingest(tmp_path / "w", folder)
    assert refused(layout) == {"broken.png": "no image", "cat/0.png": "changed"}
    assert outcome.read == 41


def test_a_damaged_day_is_named_instead_of_ignored(tmp_path, folder):
    layout, _ = ingest(tmp_path / "w", folder)
    (layout.raw / "2026-01-01" / "images.npy").unlink()
    with pytest.raises(BadInputError, match="2026-01-01"):
        ingest(tmp_path / "w", folder)
