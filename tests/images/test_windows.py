import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.images.accepted import ACCEPTED_FILE, read_accepted, write_accepted
from evergreen.images.arrays import open_folder, read_index, write_folder
from evergreen.images.days import day_folders
from evergreen.images.windows import WindowsConfig, plan, read_windows, run


def accept(layout, refused=()):
    """Accept all arrivals but those at the positions ``refused``."""
    days = day_folders(layout.raw)
    rows = [(day.name, row, image_id) for day in days for row, image_id in enumerate(read_index(day)["image_id"])]
    frame = pd.DataFrame(rows, columns=["day", "row", "image_id"]).drop(index=list(refused))
    layout.validation.mkdir(parents=True, exist_ok=True)
    write_accepted(layout.validation / ACCEPTED_FILE, frame)
    return frame


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def stamps(folder):
    return {
        p.name: [(f.name, f.stat().st_mtime_ns, f.stat().st_ino) for f in sorted(p.iterdir())] for p in folder.iterdir()
    }


def everything(layout):
    return tree(layout.windows) | {"training": layout.training_windows.read_bytes()}


@pytest.mark.parametrize(("hours", "windows"), [(24, 3), (6, 12), (30, 3), (240, 1)])
def test_each_accepted_image_is_in_the_one_window_of_its_time(make_stream, params, hours, windows):
    layout = make_stream(days=3, rows=40)
    accepted = accept(layout, refused=[0, 5, 41, 119])
    params["windows"] |= {"hours": hours}
    run(layout.workspace, params)
    found = read_windows(layout.windows)
    assert len(found) == windows
    seen = []
    for window in found:
        images, index = open_folder(layout.windows / window.window_id)
        assert len(images) == window.rows
        assert ((window.start <= index["arrived_at"]) & (index["arrived_at"] < window.end)).all()
        assert (window.end - window.start).total_seconds() == hours * 3600
        assert window.start.timestamp() % (hours * 3600) == 0
        seen += index["image_id"].tolist()
    assert seen == accepted["image_id"].tolist()


def test_pixels_and_index_rows_arrive_unchanged(make_stream, params):
    layout = make_stream(days=2, rows=30)
    accept(layout, refused=[3])
    params["windows"] |= {"hours": 36}
    run(layout.workspace, params)
    raw = [open_folder(day) for day in day_folders(layout.raw)]
    pixels = dict(
        zip([i for _, index in raw for i in index["image_id"]], np.concatenate([a for a, _ in raw]), strict=True)
    )
    rows = pd.concat([index for _, index in raw]).set_index("image_id")
    for window in read_windows(layout.windows):
        images, index = open_folder(layout.windows / window.window_id)
        for image, (_, row) in zip(images, index.iterrows(), strict=True):
            np.testing.assert_array_equal(image, pixels[row["image_id"]])
        pd.testing.assert_frame_equal(index.set_index("image_id"), rows.loc[index["image_id"]])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_windows_by_count_are_those_of_a_counting_loop(tmp_path_factory, data):
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    rows = data.draw(st.integers(1, 9))
    raw = tmp_path_factory.mktemp("raw")
    accepted, time = [], pd.Timestamp("2026-01-01", tz="UTC")
    for number, length in enumerate(lengths):
        ids = [f"{number}-{row}" for row in range(length)]
        index = pd.DataFrame({"image_id": ids, "arrived_at": time, "label": None, "split": "train", "sha256": "0" * 64})
        write_folder(raw / f"2026-01-{number + 1:02d}", np.zeros((length, 4, 4, 3), np.uint8), index)
        keep = data.draw(st.sets(st.integers(0, length - 1)))
        accepted += [(f"2026-01-{number + 1:02d}", row, ids[row]) for row in sorted(keep)]
    frame = pd.DataFrame(accepted, columns=["day", "row", "image_id"])
    plans = list(plan(day_folders(raw), frame, WindowsConfig(by="count", rows=rows)))
    expected = [[i for _, _, i in accepted[start : start + rows]] for start in range(0, len(accepted), rows)]
    assert [p.index["image_id"].tolist() for p in plans] == expected


@pytest.mark.parametrize(("by", "hours"), [("time", 24), ("time", 6), ("count", 24)])
def test_a_late_image_changes_the_window_of_its_time_alone(make_stream, params, make_index, make_pictures, by, hours):
    layout = make_stream(days=3)
    params["windows"] |= {"by": by, "hours": hours, "rows": 40}
    accept(layout)
    run(layout.workspace, params)
    before = {window.window_id for window in read_windows(layout.windows)}
    training = layout.training_windows.read_bytes()
    images = make_pictures(2, seed=77)
    times = [pd.Timestamp("2026-01-03T01:00Z"), pd.Timestamp("2026-01-03T02:00Z")]
    write_folder(layout.raw / "2026-01-03.1", images, make_index(images, times, "late"))
    accept(layout)
    run(layout.workspace, params)
    windows = read_windows(layout.windows)
    after = {window.window_id for window in windows}
    assert len(before - after) == (0 if by == "count" else 1)
    assert len(after - before) == 1
    for window in windows:
        index = read_index(layout.windows / window.window_id)
        assert ("late-0" in index["image_id"].tolist()) == (window.window_id in after - before)
        assert window.start <= index["arrived_at"].min()
        assert window.end >= index["arrived_at"].max()
    assert layout.training_windows.read_bytes() != training


def test_the_same_windows_are_not_touched_and_a_new_day_adds_only_its_own(make_stream, params):
    layout = make_stream(days=3)
    late = day_folders(layout.raw)[-1]
    late.rename(layout.workspace / "late")
    accept(layout)
    run(layout.workspace, params)
    before = stamps(layout.windows)
    run(layout.workspace, params)
    assert stamps(layout.windows) == before
    (layout.workspace / "late").rename(late)
    accept(layout)
    run(layout.workspace, params)
    after = stamps(layout.windows)
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before


def test_windows_that_are_no_longer_planned_are_removed(make_stream, params):
    layout = make_stream(days=3)
    accept(layout)
    run(layout.workspace, params)
    (layout.windows / ".leftover.part.growing").mkdir()
    first = read_windows(layout.windows)[0].window_id
    index = read_index(layout.raw / "2026-01-01")
    index.loc[1, "label"] = "a label that arrived later"
    images, _ = open_folder(layout.raw / "2026-01-01")
    write_folder(layout.raw / "2026-01-01", np.array(images), index)
    accept(layout)
    run(layout.workspace, params)
    assert {p.name for p in layout.windows.iterdir()} == {w.window_id for w in read_windows(layout.windows)}
    assert first not in {w.window_id for w in read_windows(layout.windows)}


@pytest.mark.parametrize("damage", ["pixels", "cut", "index", "description"])
def test_a_damaged_window_is_written_again(make_stream, params, damage):
    layout = make_stream(days=2)
    accept(layout)
    run(layout.workspace, params)
    whole = tree(layout.windows)
    folder = layout.windows / read_windows(layout.windows)[1].window_id
    file = folder / {"index": "index.parquet", "description": "window.json"}.get(damage, "images.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content if damage == "pixels" else content[: len(content) // 2])
    run(layout.workspace, params)
    assert tree(layout.windows) == whole


def test_killed_at_any_rename_a_rerun_gives_the_same_bytes(make_stream, params, monkeypatch):
    reference = make_stream("reference", days=2)
    accept(reference)
    run(reference.workspace, params)
    expected = everything(reference)
    rename, calls = os.replace, 0

    class Killed(BaseException):
        pass

    kills = 0
    while True:
        layout = make_stream(f"killed-{kills}", days=2)
        accept(layout)
        calls = 0

        def replace_or_die(source, target, die_at=kills):
            nonlocal calls
            calls += 1
            if calls > die_at:
                raise Killed
            rename(source, target)

        monkeypatch.setattr(os, "replace", replace_or_die)
        try:
            run(layout.workspace, params)
            break
        except Killed:
            monkeypatch.setattr(os, "replace", rename)
            names = [p.name for p in layout.windows.glob("images-*")]
            assert all((layout.windows / name / "window.json").is_file() for name in names)
            run(layout.workspace, params)
            assert everything(layout) == expected
        kills += 1
    assert kills > 5


KILL_ITSELF = """
import json, os, signal, sys
from pathlib import Path
from evergreen.images import windows
append, calls = windows.FolderWriter.append, 0

def die(self, images, index):
    global calls
    append(self, images, index)
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

windows.FolderWriter.append = die
windows.run(Path(sys.argv[1]), json.loads(sys.argv[3]))
"""


@pytest.mark.parametrize("appends", [1, 2])
def test_after_sigkill_with_half_a_window_written_a_rerun_gives_the_same_bytes(make_stream, params, appends):
    params["windows"] |= {"hours": 48}  # each window is written from two days
    reference, layout = make_stream("reference", days=4), make_stream("killed", days=4)
    accept(reference)
    run(reference.workspace, params)
    accept(layout)
    command = [sys.executable, "-c", KILL_ITSELF, str(layout.workspace), str(appends), json.dumps(params)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert list(layout.windows.glob(".*"))
    assert not list(layout.windows.glob("images-*"))
    run(layout.workspace, params)
    assert everything(layout) == everything(reference)


def test_training_windows_are_the_first_ones_and_stay_when_days_are_added(make_stream, params):
    layout = make_stream(days=4)
    params["windows"] |= {"training_windows": 2}
    frame = accept(layout)
    write_accepted(layout.validation / ACCEPTED_FILE, frame[frame["day"] < "2026-01-04"])
    run(layout.workspace, params)
    before = layout.training_windows.read_bytes()
    assert read_json(layout.training_windows)["windows"] == [
        {"window_id": w.window_id, "rows": w.rows, "content_hash": w.content_hash}
        for w in read_windows(layout.windows)[:2]
    ]
    accept(layout)
    run(layout.workspace, params)
    assert layout.training_windows.read_bytes() == before


def test_the_identifier_names_time_and_content(make_stream, params):
    one, other = make_stream("one", days=1), make_stream("other", days=1)
    for layout, refused in ((one, []), (other, [7])):
        accept(layout, refused)
        run(layout.workspace, params)
    first, second = (read_windows(layout.windows)[0] for layout in (one, other))
    assert first.window_id == f"images-20260101T000000Z-20260102T000000Z-{first.content_hash[:12]}"
    assert first.window_id[:-12] == second.window_id[:-12]
    assert first.content_hash != second.content_hash


def test_windows_without_images_are_refused(make_stream, params):
    layout = make_stream(days=1)
    accept(layout, refused=range(40))
    with pytest.raises(BadInputError, match="No image was accepted"):
        run(layout.workspace, params)


def test_arrivals_that_changed_after_validation_are_refused(make_stream, params):
    layout = make_stream(days=2)
    accept(layout)
    images, index = open_folder(layout.raw / "2026-01-02")
    write_folder(layout.raw / "2026-01-02", np.array(images)[::-1], index[::-1])
    with pytest.raises(BadInputError, match="2026-01-02 changed since it was validated"):
        run(layout.workspace, params)
    shutil.rmtree(layout.raw / "2026-01-02")
    with pytest.raises(BadInputError, match="2026-01-02, which is gone"):
        run(layout.workspace, params)


def test_without_a_passed_validation_there_are_no_windows(make_stream, params):
    layout = make_stream(days=1)
    with pytest.raises(BadInputError, match=r"accepted\.parquet is missing"):
        run(layout.workspace, params)


def test_accepted_rows_survive_the_file(make_stream):
    layout = make_stream(days=2, rows=5)
    frame = accept(layout, refused=[2])
    found = read_accepted(layout.validation / ACCEPTED_FILE)
    assert found.to_dict("list") == frame.to_dict("list")
