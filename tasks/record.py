"""The record of a run in MLflow, written from the files that the stages left behind, cached or not."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.files import read_json
from tasks import stage_files
from tasks.flatten import flatten, series
from tasks.identity import code_state, identity_tags, stage_outputs
from tasks.mlflow_store import connect, experiment
from tasks.settings import Settings
from tasks.versions import RUN_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.workspace import Workspace

WORKSPACE = "workspace"
BATCH = 1000  # metrics that MLflow takes at once
DATA_STAGES = ("ingest", "windows", "examples")  # whose folders and tables are data sets of the run
TABLE = ".parquet"
UNRECORDED = ("expectations", "failed", "history")  # of a validation result: the artifact has them
DIGEST = 36  # characters that MLflow keeps; an md5 with ".dir" fits


def start_run(settings: Settings, workspace: Workspace, run_key: str | None = None) -> str:
    """Open a run for a workspace, whose lock the caller holds.

    Runs of the workspace that a kill left RUNNING are closed as KILLED first. One of those with this run key, if it is
    known already, is opened again instead of a new one.

    Returns:
        The run's id.
    """
    from mlflow.entities import Param, RunTag

    client = connect(settings)
    params = workspace.section
    name = params["model_name"]
    experiment_id = experiment(client, settings, name)
    close_killed(settings, workspace)
    if (run_id := _cut_off(client, experiment_id, run_key)) is not None:
        client.update_run(run_id, status="RUNNING")
        return run_id
    code = code_state(settings.checkout)
    tags = identity_tags(settings.checkout, workspace, code) | {WORKSPACE: str(workspace.root)}
    started = datetime.now(UTC)
    run_id = client.create_run(
        experiment_id, run_name=f"{name} {started:%Y-%m-%d %H:%M:%S}", start_time=int(started.timestamp() * 1000)
    ).info.run_id
    values = {key: value for key, value in _leaves(params).items() if key != "champion"}
    client.log_batch(
        run_id,
        params=[Param(key, str(value)) for key, value in values.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    client.log_artifact(run_id, str(workspace.root / "params.yaml"))
    if code.patch:
        _log_bytes(client, run_id, "uncommitted.patch", code.patch)
    return str(run_id)


def record_stage(run_id: str, workspace: Workspace, stage: str, settings: Settings | None = None) -> None:
    """Log what a stage wrote: numbers, curves, data sets, files. Logging it twice changes nothing.

    Args:
        run_id: as from :func:`start_run`.
        workspace: where the stage ran.
        stage: its name in dvc.yaml.
        settings: where the store is; by default as the environment says.
    """
    client = connect(settings or Settings.load())
    run = client.get_run(run_id)
    _log_metrics(client, run, _stage_points(workspace, stage))
    if stage in DATA_STAGES:
        _log_data_sets(client, run_id, workspace, stage)
    for path, folder in stage_files.artifacts(workspace, stage):
        if path.is_dir():
            client.log_artifacts(run_id, str(path), folder)
        elif path.is_file():
            client.log_artifact(run_id, str(path), folder)


def record_backtest(settings: Settings, workspace: Workspace) -> str:
    """Log a backtest as a run of its own: the numbers of each contender, the result and the figure; the run's id."""
    run_id = start_run(settings, workspace)
    client = connect(settings)
    folder = workspace.data / "backtest"
    result = read_json(folder / "backtest.json")
    for contender in result["contenders"]:
        numbers = {name: value for name, value in contender.items() if name != "windows"}
        prefix = f"backtest/{contender['name'].replace(',', '')}"
        _log_metrics(client, client.get_run(run_id), _points(numbers, prefix))
    client.log_artifacts(run_id, str(folder), "backtest")
    client.set_tag(run_id, "kind", "backtest")
    finish_run(run_id, "FINISHED", settings)
    return run_id


def finish_run(run_id: str, status: str, settings: Settings | None = None) -> None:
    """Close a run.

    Args:
        run_id: as from :func:`start_run`.
        status: FINISHED, FAILED or KILLED.
        settings: where the store is; by default as the environment says.
    """
    connect(settings or Settings.load()).set_terminated(run_id, status)


def close_killed(settings: Settings, workspace: Workspace) -> None:
    """Mark the RUNNING runs of a workspace as KILLED: whoever holds its lock knows that they are dead."""
    client = connect(settings)
    experiment_id = experiment(client, settings, workspace.model_name)
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if run.data.tags.get(WORKSPACE) == str(workspace.root):
            client.set_terminated(run.info.run_id, "KILLED")


def _cut_off(client: MlflowClient, experiment_id: str, run_key: str | None) -> str | None:
    """The newest run with this run key that was killed."""
    if run_key is None:
        return None
    query = f"attributes.status = 'KILLED' and tags.{RUN_KEY} = '{run_key}'"
    found = client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"], max_results=1)
    return str(found[0].info.run_id) if found else None


def _stage_points(workspace: Workspace, stage: str) -> list[tuple[str, float, int]]:
    """(name, number, step) of everything numeric that a stage wrote."""
    sources = stage_files.numbers(workspace, stage)
    return [point for path, prefix in sources if path.is_file() for point in _points(read_json(path), prefix)]


def _points(value: Any, prefix: str) -> list[tuple[str, float, int]]:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value) and _is_curve(value):
        return series(value, prefix)
    if isinstance(value, dict):
        value = {name: inner for name, inner in value.items() if name not in UNRECORDED}
    return [(name, number, 0) for name, number in flatten(value, prefix).items()]


def _is_curve(rows: list[dict[str, Any]]) -> bool:
    return all("epoch" in row or "window_id" in row for row in rows)


def _log_metrics(client: MlflowClient, run: Run, points: list[tuple[str, float, int]]) -> None:
    from mlflow.entities import Metric

    # the run's own start, not now: the same number logged again is then the same row
    metrics = [Metric(name, number, run.info.start_time, step) for name, number, step in points]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + BATCH])


def _log_data_sets(client: MlflowClient, run_id: str, workspace: Workspace, stage: str) -> None:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    logged = {(entry.dataset.name, entry.dataset.digest) for entry in client.get_run(run_id).inputs.dataset_inputs}
    inputs = []
    for path, md5 in stage_outputs(workspace.root, stage).items():
        if not (md5.endswith(".dir") or path.endswith(TABLE)) or (path, md5[:DIGEST]) in logged:
            continue
        source = LocalArtifactDatasetSource(str(workspace.root / path))
        data = MetaDataset(source, name=path, digest=md5[:DIGEST])
        inputs.append(
            DatasetInput(Dataset.from_dictionary(data.to_dict()), [InputTag("dvc.md5", md5), InputTag("stage", stage)])
        )
    if inputs:
        client.log_inputs(run_id, datasets=inputs)


def _log_bytes(client: MlflowClient, run_id: str, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        client.log_artifact(run_id, str(path))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
