"""The daily churn flow: new receipts and the new day alone; the whole flow only where there is reason to learn."""

from typing import Any

from prefect import flow

from flows.console import say
from flows.retail import RetailRun, learn
from flows.stopped import tells_once
from flows.table_run import table_run
from tasks.daily import follow_days


@flow(name="daily", persist_result=False)
@tells_once
def daily(workdir: str | None = None, model_name: str | None = None) -> dict[str, Any]:
    """Take in new receipts, answer the customers of the new days, join outcomes, and learn anew after a drift.

    Args:
        workdir: the workspace; by default one in the home.
        model_name: name in the model registry.

    Returns:
        outcome (``nothing new``, ``followed`` or ``judged``), workspace, model, and what the day brought.
    """
    with table_run(RetailRun, workdir, None, model_name) as run:
        if (before := run.as_before()) is not None:
            return before

        run.checked_stage("ingest")
        run.stage("examples")
        with run.timed("follow"):
            found = follow_days(run.folder)
        if found["champion"] is not None and not found["drift"]:
            say(f"{found['day']}: {found['customers']:,} customers answered, {found['at_risk']:,} of them at risk.")
            return run.result("followed", version=found["champion"], **{k: found[k] for k in ("day", "labels", "loss")})
        say("There is no champion yet." if found["champion"] is None else "The champion's answers became worse.")
        return learn(run)
