import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evergreen.config import read_yaml
from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.images import ingest
from evergreen.images.arrays import open_folder, pixel_sha256
from evergreen.images.corruption import gaussian_noise
from evergreen.images.days import day_folders
from evergreen.images.folder import folder_params
from evergreen.images.labels import read_labels
from evergreen.images.layout import ImageLayout

CHECKOUT = Path(__file__).parents[2]
DIGITS = {
    "source": "digits",
    "days": 4,
    "images_per_day": 40,
    "known_fraction": 0.1,
    "noise_from_day": 3,
    "image_size": 8,
}


def params(seed=0, **changes):
    images = read_yaml(CHECKOUT / "params.yaml")["images"]
    return {**images, "seed": seed, "ingest": {**images["ingest"], **changes}}


def tree(workspace):
    """Every file's bytes, but for the timings."""
    files = sorted(path for path in (workspace / "data").rglob("*") if path.is_file())
    return {str(p.relative_to(workspace)): p.read_bytes() for p in files if not p.name.endswith(".timing.json")}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("digits")
    ingest.run(workspace, params(**DIGITS))
    return workspace


@pytest.fixture
def own_images(tmp_path):
    folder = tmp_path / "own"
    for number in range(30):
        place = folder / ("ant", "bee", "unlabelled")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), (number * 8, 100, number)).save(place / f"{number}.png")
        os.utime(place / f"{number}.png", (1_767_268_800 + number * 9000,) * 2)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_everything_the_later_steps_read_is_there(digits):
    layout = ImageLayout(digits)
    assert [path.name for path in day_folders(layout.raw)] == [f"2026-01-0{n}" for n in (1, 2, 3, 4)]
    index = pd.concat([open_folder(path)[1] for path in day_folders(layout.raw)])
    hidden, gate = read_labels(layout.hidden_labels), read_labels(layout.gate_labels)
    assert set(hidden["image_id"]) == set(index["image_id"][index["label"].isna() & (index["split"] != "gate")])
    assert set(gate["image_id"]) == set(index["image_id"][index["split"] == "gate"])
    assert len(pd.read_parquet(layout.quarantine / "ingest" / "reasons.parquet")) == 0


def test_metrics_count_what_is_on_disk(digits):
    layout = ImageLayout(digits)
    metrics = read_json(layout.metrics / "ingest.json")
    assert list(metrics) == [
        *("source", "read", "days", "images", "known_labels", "hidden_labels", "gate_labels", "test_images"),
        *("quarantined", "classes", "per_day"),
    ]
    assert (metrics["source"], metrics["days"], metrics["images"], metrics["test_images"]) == ("digits", 4, 160, 397)
    assert metrics["known_labels"] == 16
    assert metrics["known_labels"] + metrics["hidden_labels"] + metrics["gate_labels"] == 160
    assert [day["rows"] for day in metrics["per_day"]] == [40] * 4
    assert [day["known"] for day in metrics["per_day"]] == [4] * 4
    assert len({day["sha256"] for day in metrics["per_day"]}) == 4
    assert metrics["classes"] == sorted(set(metrics["classes"]))
    assert read_json(layout.metrics / "ingest.timing.json")["seconds"] > 0


def test_the_noisy_test_set_is_the_clean_one_with_noise(digits):
    clean, index = open_folder(ImageLayout(digits).test / "clean")
    noisy, copy = open_folder(ImageLayout(digits).test / "noisy")
    assert copy.drop(columns="sha256").equals(index.drop(columns="sha256"))
    assert set(index["split"]) == {"test"}
    assert index["label"].notna().all()
    for row in (0, 200, 396):
        np.testing.assert_array_equal(noisy[row], gaussian_noise(clean[row], 3, 0, index["image_id"][row]))
    assert [pixel_sha256(image) for image in noisy] == copy["sha256"].tolist()


def test_the_same_parameters_give_the_same_bytes(digits, tmp_path):
    ingest.run(tmp_path, params(**DIGITS))
    assert tree(tmp_path) == tree(digits)


def test_more_days_and_again_fewer_touch_no_other_day(digits, tmp_path):
    shutil.copytree(digits / "data", tmp_path / "data")
    layout = ImageLayout(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in layout.raw.rglob("*.npy")}
    ingest.run(tmp_path, params(**DIGITS | {"days": 6}))
    assert len(day_folders(layout.raw)) == 6
    ingest.run(tmp_path, params(**DIGITS))
    assert {path: path.stat().st_mtime_ns for path in layout.raw.rglob("*.npy")} == stamps
    assert tree(tmp_path) == tree(digits)


@pytest.mark.parametrize("damage", ["images.npy", "index.parquet"])
def test_a_damaged_day_is_written_anew(digits, tmp_path, damage):
    shutil.copytree(digits / "data", tmp_path / "data")
    file = ImageLayout(tmp_path).raw / "2026-01-02" / damage
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content))
    ingest.run(tmp_path, params(**DIGITS))
    assert tree(tmp_path) == tree(digits)


def test_other_parameters_give_another_stream_without_traces_of_the_first(tmp_path, digits):
    shutil.copytree(digits / "data", tmp_path / "data")
    ingest.run(tmp_path, params(seed=1, **DIGITS | {"first_day": "2025-01-01"}))
    fresh = tmp_path / "fresh"
    ingest.run(fresh, params(seed=1, **DIGITS | {"first_day": "2025-01-01"}))
    assert tree(tmp_path) == tree(fresh)


def test_own_images_through_the_same_door(tmp_path, own_images):
    given = folder_params(own_images)
    ingest.run(tmp_path / "w", params(**given, gate_fraction=0.2))
    metrics = read_json(tmp_path / "w" / "data/images/metrics/ingest.json")
    assert metrics["read"] == 31 == metrics["images"] + metrics["test_images"] + metrics["quarantined"]
    assert metrics["classes"] == ["ant", "bee"]
    assert metrics["hidden_labels"] == 0
    assert len(read_labels(tmp_path / "w" / "data/images/labels/gate.parquet")) == metrics["gate_labels"] > 0
    noisy, _ = open_folder(tmp_path / "w" / "data/images/test/noisy")
    assert len(noisy) == metrics["test_images"] > 0


def test_a_parameter_that_does_not_fit_stops_before_anything_is_written(tmp_path):
    with pytest.raises(BadInputError, match=r"params\.yaml: images\.ingest"):
        ingest.run(tmp_path, params(**DIGITS | {"days": 400}))
    assert list(tmp_path.iterdir()) == []


def test_downloads_live_in_the_home_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    assert ingest.downloads_folder(tmp_path) == tmp_path / "home" / "downloads"
    monkeypatch.delenv("EVERGREEN_HOME")
    assert ingest.downloads_folder(tmp_path) == tmp_path / ".evergreen" / "downloads"


KILL_AT_EVERY_RENAME = """
import json, os, signal, sys
from pathlib import Path
from evergreen.images import ingest
import sklearn.datasets

base, params = Path(sys.argv[1]), json.loads(sys.argv[2])
for number in range(1, 100):
    child = os.fork()
    if child == 0:
        left = [number]
        def kill_before(rename):
            def renamed(*arguments):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return rename(*arguments)
            return renamed
        os.replace, os.rename = kill_before(os.replace), kill_before(os.rename)
        ingest.run(base / str(number), params)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number)
"""


@pytest.mark.parametrize("source", ["digits", "folder"])
def test_a_kill_at_any_moment_leaves_whole_days_and_a_rerun_finishes_alike(tmp_path, own_images, source):
    changes = DIGITS if source == "digits" else {**folder_params(own_images), "gate_fraction": 0.2}
    asked = params(**changes)
    ingest.run(tmp_path / "whole", asked)
    expected = tree(tmp_path / "whole")
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILL_AT_EVERY_RENAME, str(killed), json.dumps(asked)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    last = int(done.stdout.split()[-1])
    assert last > 8
    whole_days = set()
    for number in range(1, last + 1):
        workspace = killed / str(number)
        workspace.mkdir(parents=True, exist_ok=True)
        raw = ImageLayout(workspace).raw
        whole_days.add(len(day_folders(raw)))
        for path in day_folders(raw):
            images, index = open_folder(path)
            assert [pixel_sha256(image) for image in images] == index["sha256"].tolist()
        ingest.run(workspace, asked)
        assert tree(workspace) == expected
    assert len(whole_days) > 3
