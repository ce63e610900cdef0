"""The process flow: an event log in, what each case does next and a registered champion out."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.domain_run import domain_run
from flows.stopped import tells_once
from flows.table_run import TableRun
from tasks.stage_tasks import publish_validation
from tasks.user_source import source_values


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
    place = Path(workdir) if workdir else None
    values = {"source": source_values("process", log)} if log else None
    with domain_run(ProcessRun, workdir=place, model_name=model_name, values=values) as run:
        if (before := run.as_before()) is not None:
            return before

        try:
            run.stage("ingest")
        finally:
            publish_validation(run.folder, run.domain)
        run.stage("online")
        run.stage("discovery")
        return run.judge()
