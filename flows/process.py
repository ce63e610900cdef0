"""The process flow: an event log in, what each case does next and a registered champion out."""

from typing import Any

from prefect import flow

from flows.stopped import tells_once
from flows.table_run import TableRun, table_run


class ProcessRun(TableRun):
    """A run on a workspace of event logs."""

    of = "process"


@flow(name="process", persist_result=False)
@tells_once
def process(workdir: str | None = None, log: str | None = None, model_name: str | None = None) -> dict[str, Any]:
    """Bring a workspace's model of a process up to date with its log.

    Args:
        workdir: the workspace; by default one in the home.
        log: a file or the URL of a database to take in instead of the one in params.yaml.
        model_name: name in the model registry.

    Returns:
        outcome (``nothing new``, ``no version`` or ``judged``), workspace, model, version, and for a judged one
        promoted, reason, champion and previous.
    """
    with table_run(ProcessRun, workdir, log, model_name) as run:
        if (before := run.as_before()) is not None:
            return before

        run.checked_stage("ingest")
        run.stage("online")
        run.stage("discovery")
        return run.judge()
