import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.files import sha256_json
from evergreen.images.accepted import read_accepted
from evergreen.images.arrays import open_folder, open_images, pixel_sha256, write_folder
from evergreen.images.days import day_folders, write_gone
from evergreen.images.validate import run
from tests.images.day_edits import (
    DAY,
    bad_split,
    change,
    damaged_pixels,
    duplicates_of_an_earlier_image,
    put,
    refused,
    result_of,
)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_clean_stream_passes_whole(make_stream, params):
    layout = make_stream()
    run(layout.workspace, params)
    result = result_of(layout)
    assert result["passed"]
    assert (result["rows_read"], result["rows_accepted"], result["rows_quarantined"]) == (120, 120, 0)
    assert (result["reasons"], result["failed"]) == ({}, [])
    expected = [(day.name, row) for day in day_folders(layout.raw) for row in range(40)]
    accepted = read_accepted(layout.validation / "accepted.parquet")
    assert list(zip(accepted["day"], accepted["row"], strict=True)) == expected
    assert open_images(layout.quarantine / "validate").shape == (0, 8, 8, 3)
    names = {page.name for page in (layout.validation / "docs").iterdir()}
    assert names == {"index.html", "suite-folders.html", "suite-index.html", "suite-statistics.html"}


def test_the_hash_is_that_of_the_rest_and_the_files_are_the_same_again(make_stream, params):
    layout = make_stream()
    run(layout.workspace, params)
    first = tree(layout.validation) | tree(layout.quarantine)
    result = result_of(layout)
    assert result.pop("hash") == sha256_json(result)
    run(layout.workspace, params)
    assert tree(layout.validation) | tree(layout.quarantine) == first


def bad_label(images, index):
    index.loc[3, "label"] = " cat"
    return {"d1-3": "unknown class"}


def repeated_identifier(images, index):
    index.loc[[6, 9], "image_id"] = "d0-0"
    return {"d0-0": "repeated identifier"}


def near_constant(images, index):
    put(images, index, 10, np.full((8, 8, 3), 90))
    images[10, 0, 0] = 91
    put(images, index, 10, images[10])
    return {"d1-10": "near-constant image"}


def too_dark(images, index):
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[0, 0] = 60
    put(images, index, 11, image)
    return {"d1-11": "channel mean"}


FAULTS = [
    bad_label,
    bad_split,
    damaged_pixels,
    repeated_identifier,
    duplicates_of_an_earlier_image,
    near_constant,
    too_dark,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_bad_rows_are_quarantined_with_their_reason_and_nothing_else_is(make_stream, lenient, fault):
    layout = make_stream()
    expected = change(layout, fault)
    run(layout.workspace, lenient)
    assert refused(layout) == expected
    result = result_of(layout)
    assert result["passed"]
    assert result["rows_accepted"] + result["rows_quarantined"] == result["rows_read"] == 120
    assert sum(result["reasons"].values()) == result["rows_quarantined"]
    assert set(result["reasons"]) == set(expected.values())


def test_quarantine_keeps_the_pixels(make_stream, lenient):
    layout = make_stream()
    change(layout, duplicates_of_an_earlier_image)
    run(layout.workspace, lenient)
    kept, _ = open_folder(layout.raw / DAY)
    np.testing.assert_array_equal(open_images(layout.quarantine / "validate"), kept[[8, 20, 31]])


def test_a_duplicate_on_another_day_is_refused_and_the_first_is_kept(make_stream, lenient):
    layout = make_stream()
    original, _ = open_folder(layout.raw / "2026-01-01")
    change(layout, lambda images, index: put(images, index, 0, original[36]))
    run(layout.workspace, lenient)
    assert refused(layout) == {"d1-0": "duplicate image"}


@pytest.mark.parametrize("name", ["clean", "noisy"])
def test_images_of_the_test_set_are_refused(make_stream, lenient, name):
    layout = make_stream()
    held_out = open_images(layout.test / name)
    change(layout, lambda images, index: put(images, index, 12, held_out[4]))
    run(layout.workspace, lenient)
    assert refused(layout) == {"d1-12": "copy of a test image"}


def test_a_label_must_be_a_class(make_stream, lenient):
    layout = make_stream()
    lenient["validate"]["classes"] = ["cat", "dog", "zebra"]
    change(layout, lambda images, index: index.__setitem__("label", index["label"].replace({"dog": "wolf"})))
    run(layout.workspace, lenient)
    assert set(refused(layout).values()) == {"unknown class"}
    assert len(refused(layout)) == 7


def test_the_classes_of_a_benchmark_are_those_of_its_test_set(make_stream, lenient):
    layout = make_stream()
    lenient["ingest"]["source"] = "digits"
    change(layout, lambda images, index: index.__setitem__("label", index["label"].replace({"dog": "wolf"})))
    run(layout.workspace, lenient)
    assert set(refused(layout).values()) == {"unknown class"}


def test_a_stream_without_any_label_passes(make_stream, params):
    layout = make_stream()
    for day in day_folders(layout.raw):
        change(layout, lambda images, index: index.__setitem__("label", None), day.name)
    run(layout.workspace, params)
    assert result_of(layout)["rows_accepted"] == 120


def test_labelling_by_moving_files_counts_against_no_limit(make_stream, params):
    """A third of a day is labelled: their unlabelled rows are set aside, one of them for its copy in the test set."""
    layout = make_stream()
    images, index = open_folder(layout.raw / DAY)
    moved = index[index["label"].isna()].iloc[:13]
    positions = moved.index.to_numpy()
    labelled = moved.assign(label="cat", image_id="cat/" + moved["image_id"])
    write_folder(layout.raw / f"{DAY}.1", np.array(images)[positions[1:]], labelled.iloc[1:])
    write_folder(layout.test / "clean", np.array(images)[positions[:1]], labelled.iloc[:1].assign(split="test"))
    write_gone(layout.raw, moved["image_id"])
    run(layout.workspace, params)
    assert refused(layout) == dict.fromkeys(moved["image_id"], "labelled later")
    result = result_of(layout)
    assert (result["passed"], result["reasons"]) == (True, {"labelled later": 13})
    assert (result["rows_read"], result["rows_accepted"]) == (132, 119)


def test_a_moved_class_is_taken_at_its_new_place_and_a_contradiction_stops_nothing_small(make_stream, params):
    layout = make_stream()
    images, index = open_folder(layout.raw / DAY)
    old = index[index["label"] == "cat"]
    renamed = old.assign(label="tiger", image_id="tiger/" + old["image_id"])
    dog = index[index["label"] == "dog"].iloc[:1]
    rows = pd.concat([renamed, dog.assign(label="wolf", image_id="wolf/x")]).sort_values("arrived_at")
    write_folder(layout.raw / f"{DAY}.1", np.array(images)[rows.index.to_numpy()], rows)
    write_gone(layout.raw, old["image_id"])
    run(layout.workspace, params)
    contradictory = dict.fromkeys([*dog["image_id"], "wolf/x"], "contradictory labels")
    assert refused(layout) == dict.fromkeys(old["image_id"], "moved") | contradictory


def test_late_arrivals_in_a_part_of_their_day_pass(make_stream, params, make_index, make_pictures):
    layout = make_stream()
    for number, day in enumerate(("2025-12-30", "2026-01-01.1", "2026-01-01.2")):
        images = make_pictures(4, seed=50 + number)
        times = [pd.Timestamp(f"{day[:10]}T03:00Z")] * 4
        write_folder(layout.raw / day, images, make_index(images, times, day))
    run(layout.workspace, params)
    assert result_of(layout)["rows_accepted"] == 132


def test_a_day_without_images_between_others_is_fine(make_stream, params):
    layout = make_stream(days=2)
    images, index = open_folder(layout.raw / DAY)
    write_folder(layout.raw / "2026-01-02.1", images[:0], index[:0])
    run(layout.workspace, params)
    assert result_of(layout)["rows_accepted"] == 80


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_wrong_each_row_is_accepted_or_quarantined_once(make_stream, lenient, data):
    """Against a reading row by row that knows nothing of frames and suites, for a benchmark: nothing moves."""
    lenient["ingest"]["source"] = "digits"
    layout = make_stream(uuid.uuid4().hex, days=2, rows=12)
    original, _ = open_folder(layout.raw / "2026-01-01")
    for day in ("2026-01-01", DAY):
        for row, kind in data.draw(st.dictionaries(st.integers(0, 11), st.integers(0, 3), max_size=6)).items():

            def fault(images, index, row=row, kind=kind):
                if kind == 0:
                    put(images, index, row, original[data.draw(st.integers(0, 11))])
                elif kind == 1:
                    index.loc[row, "split"] = "none"
                elif kind == 2:
                    index.loc[row, "image_id"] = "d0-1"
                else:
                    index.loc[row, "label"] = ""

            change(layout, fault, day)
    accepted, ids, hashes = [], set(), set()
    for day in ("2026-01-01", DAY):
        images, index = open_folder(layout.raw / day)
        for row, (image, entry) in enumerate(zip(images, index.itertuples(), strict=True)):
            fine = entry.split in ("train", "val", "gate") and (pd.isna(entry.label) or entry.label.strip() != "")
            fresh = entry.image_id not in ids and pixel_sha256(image) not in hashes
            ids.add(entry.image_id)
            hashes.add(pixel_sha256(image))
            if fine and fresh:
                accepted.append((day, row))
    run(layout.workspace, lenient)
    found = read_accepted(layout.validation / "accepted.parquet")
    assert list(zip(found["day"], found["row"], strict=True)) == accepted
    assert len(open_images(layout.quarantine / "validate")) == 24 - len(accepted)
