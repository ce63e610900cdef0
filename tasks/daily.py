"""The daily churn flow's own Prefect tasks; what it shares with other flows is in :mod:`tasks.stage_tasks`."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from prefect import task

from evergreen.stream.predictions import PredictionLedger
from tasks import registry
from tasks.mlflow_store import connect
from tasks.stage_tasks import OPTIONS, open_folder
from tasks.versions import CHAMPION, get_alias

DOMAIN = "retail"


@task(name="follow new days", **OPTIONS)
def follow_days(folder: str) -> dict[str, Any]:
    """Answer the customers of the new days with the champion, and join the outcomes that became known.

    Returns:
        champion (its version, None if there is none), day, customers, at_risk, labels, drift and loss.
    """
    from evergreen.retail.daily import FOLDER, DailyState, follow, keep

    settings, workspace = open_folder(folder, DOMAIN)
    info = get_alias(connect(settings), workspace.model_name, CHAMPION)
    if info is None:
        return {"champion": None}
    model = registry.load(settings, info, DOMAIN)
    state = DailyState.read(workspace.root / FOLDER, model.weights_sha256)
    found = follow(workspace.root, model, state)
    answers = found.answers.to_pandas()
    now = pd.Timestamp(datetime.now(UTC)).as_unit("us")
    entries = pd.DataFrame(
        {
            "example_id": answers["example_id"],
            "model": info.name,
            "model_version": info.version,
            "predicted_at": now,
            "prediction": answers["churn"].map({True: "1", False: "0"}),
            "score": answers["risk"],
        }
    )
    with contextlib.closing(PredictionLedger(settings.ledger_url, info.name)) as ledger:
        if len(entries):
            ledger.record(entries)
        if found.labels.num_rows:
            ledger.add_labels(found.labels.to_pandas())
    keep(workspace.root, found)
    return {
        "champion": info.version,
        "day": found.state.scored_until,
        "customers": len(answers),
        "at_risk": int(answers["churn"].sum()),
        "labels": found.labels.num_rows,
        "drift": found.drift,
        "loss": found.loss,
    }
