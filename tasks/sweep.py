"""The record of sweeps and studies in MLflow: a run for each, and below a sweep's a child run for every trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.flatten import flatten
from tasks.mlflow_store import connect
from tasks.record import finish_run, start_run
from tasks.settings import Settings
from tasks.versions import RUN_KEY

if TYPE_CHECKING:
    from tasks.workspace import Workspace

PARENT = "mlflow.parentRunId"
TRIAL = "trial"
UNLOGGED = ("trial", "key", "failed")


@contextmanager
def recorded(settings: Settings, workspace: Workspace, kind: str, key: str) -> Iterator[str]:
    """A run of kind ``sweep`` or ``study`` around a block, closed as the block ends; yields its id.

    A run with the same key that was killed is opened again.

    Args:
        settings: where the store is.
        workspace: whose lock the caller holds.
        kind: kept as a tag.
        key: what tells this computation from others.
    """
    run_id = start_run(settings, workspace, key)
    client = connect(settings)
    client.set_tag(run_id, "kind", kind)
    client.set_tag(run_id, RUN_KEY, key)
    try:
        yield run_id
    except BaseException as error:
        # Ctrl-C counts as a kill: the next call goes on in the same run
        finish_run(run_id, "FAILED" if isinstance(error, Exception) else "KILLED", settings)
        raise
    finish_run(run_id, "FINISHED", settings)


def record_trial(settings: Settings, parent: str, row: Mapping[str, Any], parameters: Sequence[str]) -> str:
    """Log a trial as a child run, once; its id.

    Args:
        settings: where the store is.
        parent: the sweep's run.
        row: the trial's settings and measures; ``key`` names it, ``failed`` says why there are no measures.
        parameters: which of the row's names are settings.
    """
    from mlflow.entities import Metric, Param, RunTag

    client = connect(settings)
    experiment_id = client.get_run(parent).info.experiment_id
    query = f"tags.`{PARENT}` = '{parent}' and tags.{TRIAL} = '{row['key']}' and attributes.status != 'RUNNING'"
    found = client.search_runs([experiment_id], query, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {PARENT: parent, TRIAL: row["key"], "kind": "trial"}
    run = client.create_run(experiment_id, run_name=f"{row['trial']}, seed {row['seed']}", tags=tags)
    numbers = {name: row[name] for name in row if name not in (*parameters, *UNLOGGED)}
    metrics = [Metric(n.removeprefix("/"), value, run.info.start_time, 0) for n, value in flatten(numbers, "").items()]
    client.log_batch(
        run.info.run_id,
        metrics=metrics,
        params=[Param(name, str(row[name])) for name in parameters if row[name] is not None],
        tags=[RunTag("failed", row["failed"])] if row["failed"] else [],
    )
    client.set_terminated(run.info.run_id, "FAILED" if row["failed"] else "FINISHED")
    return str(run.info.run_id)


def record_study(settings: Settings, run_id: str, name: str, numbers: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Log a study's numbers and files.

    Args:
        settings: where the store is.
        run_id: of its run.
        name: of the study; begins the numbers' names.
        numbers: JSON; what is no number is left out.
        files: tables and figures.
    """
    client = connect(settings)
    for key, value in flatten(numbers, name).items():
        client.log_metric(run_id, key, value)
    for path in files:
        client.log_artifact(run_id, str(path), "studies")
