"""Sweeps and studies in MLflow: one run each, a child for each trial, and no second one after a kill."""

from pathlib import Path
from typing import Any

import pytest

from tasks.mlflow_store import connect, experiment
from tasks.settings import Settings
from tasks.sweep import PARENT, record_study, record_trial, recorded
from tasks.workspace import Workspace

PARAMETERS = ("temperature", "head", "seed")


def row(number: int, **values: Any) -> dict[str, Any]:
    measured = {"f1": 0.5 + number / 10, "accuracy": 0.6, "failed": None}
    given = {"trial": f"temperature {number}", "key": f"k{number}", "temperature": number, "head": None, "seed": 0}
    return given | measured | values


def children(settings: Settings, workspace: Workspace, parent: str) -> dict[str, Any]:
    client = connect(settings)
    found = client.search_runs([experiment(client, settings, workspace.model_name)], f"tags.`{PARENT}` = '{parent}'")
    return {run.data.tags["trial"]: run for run in found}


def test_killed_sweep_goes_on_in_the_same_run(settings: Settings, workspace: Workspace, tmp_path: Path) -> None:
    first = ""

    def cut_off() -> None:
        nonlocal first
        with recorded(settings, workspace, "sweep", "key") as first:
            record_trial(settings, first, row(1), PARAMETERS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    client = connect(settings)
    assert client.get_run(first).info.status == "KILLED"
    table = tmp_path / "table.csv"
    table.write_text("a,b\n")
    with recorded(settings, workspace, "sweep", "key") as parent:
        once = record_trial(settings, parent, row(1), PARAMETERS)
        assert record_trial(settings, parent, row(1), PARAMETERS) == once
        record_trial(settings, parent, row(2, f1=None, accuracy=None, failed="too small"), PARAMETERS)
        record_study(settings, parent, "temperature", {"best": "x", "n": 3}, [table])
    assert parent == first
    run = client.get_run(parent)
    assert (run.info.status, run.data.tags["kind"]) == ("FINISHED", "sweep")
    assert run.data.metrics["temperature/n"] == 3
    assert [entry.path for entry in client.list_artifacts(parent, "studies")] == ["studies/table.csv"]
    found = children(settings, workspace, parent)
    assert set(found) == {"k1", "k2"}
    assert found["k1"].data.params == {"temperature": "1", "seed": "0"}
    assert found["k1"].data.metrics == {"f1": 0.6, "accuracy": 0.6}
    assert found["k2"].info.status == "FAILED"
    assert found["k2"].data.tags["failed"] == "too small"


def test_error_closes_the_run(settings: Settings, workspace: Workspace) -> None:
    run_ids = []

    def fail() -> None:
        with recorded(settings, workspace, "study", "key") as run_id:
            run_ids.append(run_id)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert connect(settings).get_run(run_ids[0]).info.status == "FAILED"
