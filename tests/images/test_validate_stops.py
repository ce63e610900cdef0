"""What stops a stream, and what is left behind then."""

from pathlib import Path

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
import pytest

from evergreen.errors import BadInputError, StoppedError
from evergreen.images import validate as step
from evergreen.images.arrays import pixel_sha256
from evergreen.images.validate import run
from evergreen.stream.suites import BrokenExpectationError, Check
from tests.images.day_edits import (
    DAY,
    bad_split,
    change,
    damaged_pixels,
    duplicates_of_an_earlier_image,
    refused,
    result_of,
)


def swap_times(images, index):
    index.loc[[5, 6], "arrived_at"] = index.loc[[6, 5], "arrived_at"].to_numpy()


def a_day_early(images, index):
    index["arrived_at"] -= pd.Timedelta(hours=36)


def leak_gate(images, index):
    index.loc[2, "split"] = "gate"
    index.loc[2, "label"] = "cat"


@pytest.mark.parametrize(
    ("fault", "check"),
    [(swap_times, "order of arrival"), (a_day_early, "order of arrival"), (leak_gate, "label of a gate image")],
)
def test_a_fault_of_the_whole_stream_stops_it(make_stream, lenient, fault, check):
    layout = make_stream()
    change(layout, fault)
    with pytest.raises(StoppedError, match=check):
        run(layout.workspace, lenient)
    result = result_of(layout)
    assert not result["passed"]
    assert any(check in line for line in result["failed"])
    assert (layout.validation / "docs" / "index.html").is_file()
    assert not (layout.validation / "accepted.parquet").exists()
    assert not (layout.quarantine / "validate").exists()


def cut_images(day: Path) -> None:
    (day / "images.npy").write_bytes((day / "images.npy").read_bytes()[:-50])


def float_images(day: Path) -> None:
    np.save(day / "images.npy", np.zeros((40, 8, 8, 3), dtype=np.float32))


def flat_images(day: Path) -> None:
    np.save(day / "images.npy", np.zeros((40, 8, 8), dtype=np.uint8))


def no_images(day: Path) -> None:
    (day / "images.npy").unlink()


def other_size(day: Path) -> None:
    np.save(day / "images.npy", np.zeros((40, 9, 8, 3), dtype=np.uint8))


def fewer_images(day: Path) -> None:
    np.save(day / "images.npy", np.zeros((39, 8, 8, 3), dtype=np.uint8))


def other_columns(day: Path) -> None:
    frame = pd.read_parquet(day / "index.parquet").rename(columns={"split": "part"})
    frame.to_parquet(day / "index.parquet")


def no_index(day: Path) -> None:
    (day / "index.parquet").unlink()


def broken_index(day: Path) -> None:
    (day / "index.parquet").write_bytes(b"PAR1 not really")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (cut_images, "unreadable folder"),
        (float_images, "array type"),
        (flat_images, r"array shape \(channels\)"),
        (no_images, r"unreadable folder.*images\.npy is missing"),
        (no_index, r"unreadable folder.*index\.parquet is missing"),
        (broken_index, "unreadable folder"),
        (other_size, r"array shape \(height\)"),
        (fewer_images, "images without index row"),
        (other_columns, "index columns"),
    ],
)
@pytest.mark.parametrize("where", ["stream", "test"])
def test_an_array_folder_that_is_none_stops_the_stream_before_its_rows_are_read(
    make_stream, params, fault, check, where
):
    layout = make_stream()
    fault(layout.raw / DAY if where == "stream" else layout.test / "clean")
    with pytest.raises(StoppedError, match=check):
        run(layout.workspace, params)
    assert result_of(layout)["rows_read"] == 0
    assert not (layout.validation / "accepted.parquet").exists()


def test_a_damaged_test_set_of_a_benchmark_is_reported_like_any_folder(make_stream, params):
    layout = make_stream()
    params["ingest"]["source"] = "digits"
    no_index(layout.test / "clean")
    with pytest.raises(StoppedError, match=r"index\.parquet is missing"):
        run(layout.workspace, params)


def test_more_bad_rows_than_a_check_allows_stop_the_stream_but_are_shown(make_stream, params):
    layout = make_stream()
    expected = change(layout, duplicates_of_an_earlier_image)  # 3 of 120 = 2.5 %, allowed 1 %
    with pytest.raises(StoppedError, match=r"duplicate image \(duplicate_of\): 3 unexpected, 2\.50%, allowed 1\.00%"):
        run(layout.workspace, params)
    assert refused(layout) == expected
    assert not (layout.validation / "accepted.parquet").exists()
    assert result_of(layout)["rows_accepted"] == 117


def test_many_reasons_below_their_limits_stop_the_stream_together(make_stream, params):
    layout = make_stream()
    change(layout, lambda images, index: index.__setitem__("label", index["label"].where(index.index != 3, " cat")))
    change(layout, bad_split)
    change(layout, damaged_pixels)
    params["validate"] |= {"max_quarantined_fraction": 0.024}
    with pytest.raises(StoppedError, match=r"3 of 120 rows \(2\.50%\) refused, at most 2\.40% allowed"):
        run(layout.workspace, params)


def test_a_stopped_run_leaves_nothing_of_the_one_before(make_stream, params):
    layout = make_stream()
    run(layout.workspace, params)
    change(layout, swap_times)
    with pytest.raises(StoppedError):
        run(layout.workspace, params)
    assert not (layout.validation / "accepted.parquet").exists()


def test_a_stream_of_refused_images_alone_is_stopped(make_stream, lenient):
    layout = make_stream(days=1)
    change(layout, lambda images, index: index.__setitem__("split", "test"), "2026-01-01")
    with pytest.raises(StoppedError, match="no image was accepted"):
        run(layout.workspace, lenient)


def test_days_without_images_are_stopped(make_stream, params):
    layout = make_stream(days=1, rows=0)
    with pytest.raises(StoppedError, match="no image"):
        run(layout.workspace, params)


def test_a_dead_channel_stops_the_stream(make_stream, lenient):
    layout = make_stream(days=1)

    def kill_blue(images, index):
        images[..., 2] = 128
        index["sha256"] = [pixel_sha256(image) for image in images]

    change(layout, kill_blue, "2026-01-01")
    with pytest.raises(StoppedError, match=r"dead channel \(std_blue\)"):
        run(layout.workspace, lenient)


def test_a_check_that_breaks_is_no_fault_of_the_data(make_stream, params, monkeypatch):
    layout = make_stream()
    lost = Check("lost column", "row", gxe.ExpectColumnValuesToBeNull(column="nowhere"))
    monkeypatch.setattr(step, "statistics_suite", lambda config: [lost])
    with pytest.raises(BrokenExpectationError, match="nowhere") as caught:
        run(layout.workspace, params)
    assert caught.value.exit_code == 1
    assert not result_of(layout)["passed"]
    assert not (layout.validation / "accepted.parquet").exists()


def test_without_arrivals_there_is_nothing_to_validate(make_stream, params):
    layout = make_stream(days=0)
    with pytest.raises(BadInputError, match="no arrivals"):
        run(layout.workspace, params)


def test_unknown_parameters_are_refused(make_stream, params):
    layout = make_stream(days=1)
    params["validate"]["max_bad"] = 1
    with pytest.raises(BadInputError, match="max_bad"):
        run(layout.workspace, params)
