"""The churn flow: a stream of receipts in, the daily risk of every active customer and a registered champion out."""

from typing import Any

from prefect import flow

from flows.stopped import tells_once
from flows.table_run import TableRun, table_run


class RetailRun(TableRun):
    """A run on a workspace of receipts."""

    of = "retail"


@flow(name="retail", persist_result=False)
@tells_once
def retail(workdir: str | None = None, receipts: str | None = None, model_name: str | None = None) -> dict[str, Any]:
    """Bring a workspace's churn model up to date with its receipts.

    Args:
        workdir: the workspace; by default one in the home.
        receipts: a file, a folder or the URL of a database to take in instead of the one in params.yaml.
        model_name: name in the model registry.

    Returns:
        outcome (``nothing new``, ``no version`` or ``judged``), workspace, model, version, and for a judged one
        promoted, reason, champion and previous.
    """
    with table_run(RetailRun, workdir, receipts, model_name) as run:
        if (before := run.as_before()) is not None:
            return before

        run.checked_stage("ingest")
        run.stage("examples")
        return learn(run)


def learn(run: RetailRun) -> dict[str, Any]:
    """From examples to a judged version."""
    run.stage("online")
    run.stage("explanations")
    return run.judge()
