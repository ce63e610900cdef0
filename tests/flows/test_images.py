"""The whole image flow on scikit-learn's digits, with real Prefect, DVC and MLflow."""

import json
import re
import shutil
import sqlite3

import pytest
import yaml

from tasks.workspace import Workspace

STAGES = ["ingest", "validate", "windows", "drift", "pretrain", "probe", "finetune", "evaluate", "report"]


def outputs(place):
    """Path → md5 of everything that dvc.lock names."""
    stages = yaml.safe_load((place.root / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def ran_and_kept(text):
    """The stages whose step ran, and those that were up to date, as the run printed them before its summary."""
    told = {}
    for line in text.partition("\n\n")[0].splitlines():
        stage, _, rest = line.partition(" ")
        told[stage] = rest.strip()
    ran = [stage for stage in STAGES if re.fullmatch(r"[\d.]+ s|\d+ min \d\d s", told.get(stage, ""))]
    return ran, [stage for stage in STAGES if told.get(stage) == "up to date"]


def test_kill_leaves_no_process_behind(smoke):
    assert smoke.survivors == []


def test_run_after_a_kill_goes_on_where_the_other_was(smoke):
    ran, kept = ran_and_kept(smoke.ran.out)
    assert kept == ["ingest", "validate", "windows", "drift"]
    assert ran == ["pretrain", "probe", "finetune", "evaluate", "report"]


def test_run_ends_with_a_champion_a_report_and_a_summary(smoke):
    assert "model" in smoke.ran.out
    assert "version 1 is the champion" in smoke.ran.out
    assert "orchestration" in smoke.ran.out
    root = smoke.place.root
    assert (root / "data/images/report.html").stat().st_size > 10_000
    assert json.loads((root / "data/images/validation/result.json").read_text())["passed"]
    assert smoke.ran.err.count("Traceback") == 0


def test_run_does_not_touch_the_checkout(smoke):
    assert smoke.untouched


def test_timing_adds_up(smoke):
    timing = json.loads((smoke.place.root / "data/images/metrics/run.timing.json").read_text())
    inside = sum(timing["step_seconds"].values())
    assert abs(timing["seconds"] - inside - timing["orchestration_seconds"]) < 1e-6
    assert all(timing["step_seconds"][name] <= timing["phase_seconds"][name] for name in timing["step_seconds"])
    assert sum(timing["phase_seconds"].values()) < timing["seconds"]


def test_prefect_knows_how_each_run_ended(smoke):
    with sqlite3.connect(smoke.place.home / "prefect" / "prefect.db") as database:
        flows = [state for (state,) in database.execute("select state_name from flow_run order by created")]
        tasks = {state for (state,) in database.execute("select state_name from task_run")}
        artifacts = {key for (key,) in database.execute("select key from artifact")}
        logs = [message for (message,) in database.execute("select message from log")]
    assert flows[:2] == ["Crashed", "Completed"]
    # a kill between the announcement of a task and its start leaves that one pending
    assert "Running" not in tasks
    assert artifacts == {"images-validation", "images-drift"}
    assert any(message.startswith("drift") for message in logs)


def test_nothing_is_pickled_into_prefects_home(smoke):
    assert not (smoke.place.home / "prefect" / "storage").exists()


def test_second_run_does_nothing_and_says_so(smoke):
    before = outputs(smoke.place)
    again = smoke.place.images()
    assert again.code == 0
    assert "Nothing new: version 1" in again.out
    assert ran_and_kept(again.out) == ([], [])
    assert outputs(smoke.place) == before


@pytest.mark.slow
def test_changed_parameter_reruns_what_depends_on_it(smoke, copied):
    Workspace(copied.root).update("images", {"finetune": {"recipe": {"steps": 5}}})
    result = copied.images()
    assert result.code == 0, result
    ran, kept = ran_and_kept(result.out)
    # the first run made a champion, which drift and evaluate take into account from now on
    assert ran == ["drift", "finetune", "evaluate", "report"]
    assert kept == ["ingest", "validate", "windows", "pretrain", "probe"]
    before, after = outputs(smoke.place), outputs(copied)
    assert before["data/images/models/encoder"] == after["data/images/models/encoder"]
    assert before["data/images/models/classifier"] != after["data/images/models/classifier"]
    assert "version 2 is not promoted, version 1 stays champion" in result.out


def test_bad_data_stop_the_flow_with_one_message(copied):
    Workspace(copied.root).update("images", {"validate": {"mean_range": [240.0, 253.0]}})
    result = copied.images()
    assert result.code == 2
    assert result.err.count("Error: ") == 1
    assert "Traceback" not in result.err + result.out
    assert "ERROR" not in result.err
    assert ran_and_kept(result.out) == ([], ["ingest"])


@pytest.mark.slow
def test_dvc_alone_gives_the_same_bytes_goes_back_and_travels(smoke, new_place):
    """DVC by hand, in a workspace whose stream first had a day less, with a cache of its own."""
    place, workspace = new_place, Workspace(new_place.root)
    all_days = workspace.params["images"]["ingest"]["days"]
    workspace.update("images", {"ingest": {"days": all_days - 1}})
    assert place.dvc("repro", "ingest").code == 0
    assert place.dvc("push").code == 0
    older = (place.root / "dvc.lock").read_text()
    first_day = place.root / "data/images/raw" / days(place)[0] / "images.npy"
    written = first_day.stat().st_mtime_ns

    workspace.update("images", {"ingest": {"days": all_days}})
    result = place.dvc("repro")
    assert result.code == 0, result
    found, wanted = outputs(place), outputs(smoke.place)
    assert {path: found[path] for path in wanted} == wanted
    assert set(found) - set(wanted) == {"data/images/adaptation", "data/images/metrics/adapt.json"}
    assert len(days(place)) == all_days
    assert first_day.stat().st_mtime_ns == written, "a new day rewrote an old one"
    assert "up to date" in place.dvc("repro").out

    pushed = place.dvc("push")
    assert pushed.code == 0, pushed
    shutil.rmtree(place.root / "data")
    shutil.rmtree(place.home / "cache")
    assert place.dvc("pull").code == 0
    assert json.loads(place.dvc("status", "--json").out) == {}

    (place.root / "dvc.lock").write_text(older)
    assert place.dvc("fetch", "ingest").code == 0
    assert place.dvc("checkout", "ingest").code == 0
    assert len(days(place)) == all_days - 1
    workspace.update("images", {"ingest": {"days": all_days - 1}})
    assert json.loads(place.dvc("status", "ingest", "--json").out) == {}


def days(place):
    return sorted(path.name for path in (place.root / "data/images/raw").iterdir() if path.is_dir())
