"""The record of a run, from files only."""

from pathlib import Path

import pytest

from evergreen.files import write_json
from evergreen.images.layout import ImageLayout
from tasks import record
from tasks.identity import CodeState
from tasks.mlflow_store import connect
from tasks.settings import Settings
from tasks.workspace import Workspace


@pytest.fixture
def finished(workspace: Workspace) -> Workspace:
    """A workspace in which every kind of file lies that is recorded."""
    layout = ImageLayout(workspace.root)
    write_json(layout.metrics / "pretrain.json", {"profile": "laptop", "encoder": "resnet9", "epochs": 40, "loss": 4.5})
    write_json(layout.metrics / "pretrain.timing.json", {"seconds": 12.5, "pairs_per_second": 600})
    curve = [{"epoch": epoch, "loss": 5 - epoch / 10, "learning_rate": 0.1} for epoch in range(1, 41)]
    write_json(layout.plots / "pretrain.json", curve)
    windows = [
        {"window_id": f"w{i}", "rows": 10, "drift": i == 2, "tests": [{"name": "mmd", "p_value": 0.5}]}
        for i in (0, 1, 2)
    ]
    write_json(layout.metrics / "drift.json", windows)
    write_json(
        layout.metrics / "finetune.json", [{"label_fraction": 0.01, "accuracy": 0.5, "confusion": [[1, 0], [0, 1]]}]
    )
    result = {
        "passed": True,
        "rows_read": 10,
        "reasons": {"duplicate": 1},
        "expectations": [{"observed": 3}],
        "hash": "f",
    }
    write_json(layout.validation / "result.json", result)
    (layout.validation / "docs").mkdir()
    (layout.validation / "docs" / "index.html").write_text("<html></html>")
    write_json(layout.training_windows, {"windows": []})
    layout.report.write_text("<html></html>")
    (workspace.root / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n"
        f"  ingest:\n    outs:\n    - {{path: data/images/raw, md5: {'a' * 32}.dir}}\n"
        f"    - {{path: data/images/metrics/ingest.json, md5: {'b' * 32}}}\n"
        f"  windows:\n    outs:\n    - {{path: data/images/windows, md5: {'c' * 32}.dir}}\n"
    )
    return workspace


STAGES = ("ingest", "validate", "windows", "drift", "pretrain", "finetune", "report")


def artifacts(settings: Settings, run_id: str, folder: str | None = None) -> set[str]:
    found = set()
    for entry in connect(settings).list_artifacts(run_id, folder):
        found |= artifacts(settings, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def test_complete_record_from_files_alone(settings: Settings, finished: Workspace) -> None:
    run_id = record.start_run(settings, finished)
    for stage in STAGES:
        record.record_stage(run_id, finished, stage)
    record.finish_run(run_id, "FINISHED")
    client = connect(settings)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["pretrain.epochs"] == str(finished.params["images"]["pretrain"]["epochs"])
    assert run.data.params["seed"] == "0"
    assert "champion" not in run.data.params
    assert run.data.tags["profile"] == "laptop"
    assert run.data.tags["dvc_md5"] == "a" * 32 + ".dir"
    metrics = run.data.metrics
    assert metrics["pretrain/loss"] == 4.5
    assert metrics["pretrain/timing/seconds"] == 12.5
    assert metrics["finetune/0.01/accuracy"] == 0.5
    assert metrics["validate/reasons/duplicate"] == 1
    assert not any("expectations" in name or "confusion" in name for name in metrics)
    curve = client.get_metric_history(run_id, "pretrain/curve/loss")
    assert [(point.step, point.value) for point in curve] == [(epoch, 5 - epoch / 10) for epoch in range(1, 41)]
    drift = client.get_metric_history(run_id, "drift/drift")
    assert [(point.step, point.value) for point in drift] == [(0, 0.0), (1, 0.0), (2, 1.0)]
    assert len(client.get_metric_history(run_id, "drift/tests/mmd/p_value")) == 3
    assert {"params.yaml", "dvc.lock", "report.html", "training_windows.json", "metrics/pretrain.json"} <= artifacts(
        settings, run_id
    )
    assert {"validation/result.json", "validation/docs/index.html", "plots/pretrain.json"} <= artifacts(
        settings, run_id
    )


def test_data_sets_carry_their_dvc_version(settings: Settings, finished: Workspace) -> None:
    run_id = record.start_run(settings, finished)
    for stage in STAGES:
        record.record_stage(run_id, finished, stage)
    inputs = connect(settings).get_run(run_id).inputs.dataset_inputs
    found = {entry.dataset.name: (entry.dataset.digest, {tag.key: tag.value for tag in entry.tags}) for entry in inputs}
    assert found == {
        "data/images/raw": ("a" * 32 + ".dir", {"dvc.md5": "a" * 32 + ".dir", "stage": "ingest"}),
        "data/images/windows": ("c" * 32 + ".dir", {"dvc.md5": "c" * 32 + ".dir", "stage": "windows"}),
    }
    experiment = connect(settings).get_run(run_id).info.experiment_id
    query = f"dataset.digest = '{'a' * 32}.dir'"
    assert [run.info.run_id for run in connect(settings).search_runs([experiment], query)] == [run_id]


def test_stage_recorded_twice_is_recorded_once(settings: Settings, finished: Workspace) -> None:
    run_id = record.start_run(settings, finished)
    for stage in STAGES * 2:
        record.record_stage(run_id, finished, stage)
    client = connect(settings)
    assert len(client.get_metric_history(run_id, "pretrain/curve/loss")) == 40
    assert len(client.get_metric_history(run_id, "pretrain/loss")) == 1
    assert len(client.get_run(run_id).inputs.dataset_inputs) == 2


def test_stage_without_files_is_no_error(settings: Settings, workspace: Workspace) -> None:
    run_id = record.start_run(settings, workspace)
    for stage in STAGES:
        record.record_stage(run_id, workspace, stage)
    assert connect(settings).get_run(run_id).data.metrics == {}


def test_more_points_than_one_batch(settings: Settings, workspace: Workspace) -> None:
    curve = [{"epoch": epoch, "loss": float(epoch)} for epoch in range(1200)]
    write_json(ImageLayout(workspace.root).plots / "pretrain.json", curve)
    run_id = record.start_run(settings, workspace)
    record.record_stage(run_id, workspace, "pretrain")
    assert len(connect(settings).get_metric_history(run_id, "pretrain/curve/loss")) == 1200


def test_uncommitted_changes_are_kept(
    settings: Settings, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(record, "code_state", lambda checkout: CodeState("abc", b"the patch\n"))
    run_id = record.start_run(settings, workspace)
    run = connect(settings).get_run(run_id)
    assert run.data.tags["git_commit"] == "abc"
    assert len(run.data.tags["git_patch_sha256"]) == 64
    path = connect(settings).download_artifacts(run_id, "uncommitted.patch", str(tmp_path))
    assert Path(path).read_bytes() == b"the patch\n"


def test_runs_that_a_kill_left_open_are_closed(settings: Settings, workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other's place")
    other.root.mkdir()
    other.params_file.write_text(workspace.params_file.read_text())
    client = connect(settings)
    elsewhere = record.start_run(settings, other)
    done = record.start_run(settings, workspace)
    record.finish_run(done, "FINISHED")
    dead = record.start_run(settings, workspace)
    fresh = record.start_run(settings, workspace)
    status = {run_id: client.get_run(run_id).info.status for run_id in (elsewhere, done, dead, fresh)}
    assert status == {elsewhere: "RUNNING", done: "FINISHED", dead: "KILLED", fresh: "RUNNING"}
    assert record.start_run(settings, other) != elsewhere
    assert client.get_run(elsewhere).info.status == "KILLED"


def test_killed_run_is_taken_up_again_by_its_run_key(settings: Settings, workspace: Workspace) -> None:
    client = connect(settings)
    first = record.start_run(settings, workspace)
    client.set_tag(first, "run_key", "k")
    second = record.start_run(settings, workspace, run_key="other")
    assert second != first
    record.finish_run(second, "FINISHED")
    assert record.start_run(settings, workspace, run_key="k") == first
    assert client.get_run(first).info.status == "RUNNING"
