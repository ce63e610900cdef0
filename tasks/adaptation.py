"""The adaptation flow's own Prefect tasks; what it shares with other flows is in :mod:`tasks.stage_tasks`."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from prefect import task
from prefect.artifacts import create_table_artifact

from evergreen.files import read_json
from evergreen.images.layout import ImageLayout
from evergreen.stream.predictions import PredictionLedger
from tasks import registry
from tasks.mlflow_store import connect
from tasks.stage_tasks import OPTIONS, open_folder
from tasks.stages import ADAPTED_STAGES, run_key, stale_stages
from tasks.versions import CHAMPION, WEIGHTS, get_alias, list_versions

STAGES = ("ingest", "validate", "windows", "adapt")


@task(name="look for new windows", **OPTIONS)
def look_for_windows(folder: str) -> list[str]:
    """Names of the stages that have something to do."""
    settings, workspace = open_folder(folder)
    return stale_stages(settings, workspace, STAGES)


@task(name="publish adaptation", persist_result=False)
def publish_adaptation(folder: str, run_id: str) -> dict[str, Any]:
    """Show what was done with each window as a Prefect artifact, and the last decision as tags of the MLflow run.

    Returns:
        The record without the windows, and ``last_action``.
    """
    settings, _ = open_folder(folder)
    record: dict[str, Any] = read_json(ImageLayout(Path(folder)).metrics / "adapt.json")
    rows = [
        {
            "start": row["start"],
            "rows": row["rows"],
            "drift": row["drift"],
            "expected fall": row["harm"]["expected_fall"] if row["harm"] else None,
            "action": row["action"],
            "why": row["decision"]["reason"] if row["decision"] else None,
        }
        for row in record["windows"]
    ]
    create_table_artifact(rows, key="images-adaptation")
    last = rows[-1]["action"] if rows else None
    client = connect(settings)
    client.set_tag(run_id, registry.DECISION, str(last))
    if decided := [row["why"] for row in rows if row["why"]]:
        client.set_tag(run_id, "decision_reason", decided[-1][:5000])
    return {name: value for name, value in record.items() if name != "windows"} | {"last_action": last}


@task(name="keep predictions", **OPTIONS)
def keep_predictions(folder: str) -> int:
    """Put the stream's predictions, and the labels that came meanwhile, into the ledger; how many rows it was given.

    Predictions of a challenger that never became a version are none of a model in service: they are left out.
    """
    settings, workspace = open_folder(folder)
    name = workspace.model_name
    versions = {info.tags.get(WEIGHTS): info.version for info in list_versions(connect(settings), name)}
    table = pq.read_table(ImageLayout(workspace.root).adaptation / "predictions.parquet").to_pandas()
    table = table[table["model_version"].isin(versions)]
    table = table.assign(model=name, model_version=table["model_version"].map(versions))
    with contextlib.closing(PredictionLedger(settings.ledger_url, name)) as ledger:
        labels = new_labels(table, ledger, pd.Timestamp(datetime.now(UTC)))
        ledger.record(table.drop(columns=["label", "label_at"]))
        ledger.add_labels(labels)
    return len(table)


def new_labels(table: pd.DataFrame, ledger: PredictionLedger, now: pd.Timestamp) -> pd.DataFrame:
    """Labels that the ledger does not have: known on arrival, or from now on if the example was there without one.

    The first label of an example stays: which answer was right when it was given is not rewritten.
    """
    labelled = table[table["label"].notna()].drop_duplicates("example_id")
    if labelled.empty:
        return labelled[["example_id", "label", "label_at"]]
    frames = list(ledger.read(start=table["predicted_at"].min()))
    there = pd.concat(frames) if frames else table.iloc[:0]
    known = set(there.loc[there["label"].notna(), "example_id"])
    fresh = labelled[~labelled["example_id"].isin(known)]
    seen = fresh["example_id"].isin(there["example_id"])
    return fresh.assign(label_at=fresh["label_at"].mask(seen, now.as_unit("us")))[["example_id", "label", "label_at"]]


@task(name="register adapted", **OPTIONS)
def register_adapted(folder: str, run_id: str) -> str:
    """Make a model version of the proven challenger, or find the one that the same inputs made; its number."""
    settings, workspace = open_folder(folder)
    key = run_key(workspace, ADAPTED_STAGES)
    assert key is not None, "the stages ran before"
    bundle = ImageLayout(workspace.root).adaptation / "model"
    return registry.register(settings, workspace, run_id, key, bundle).version


@task(name="promote adapted", **OPTIONS)
def promote_adapted(folder: str, version: str) -> dict[str, Any]:
    """Move the champion alias to the version as the record of the adaptation says."""
    settings, workspace = open_folder(folder)
    record = read_json(ImageLayout(workspace.root).metrics / "adapt.json")
    followed = workspace.section["champion"]
    champion = get_alias(connect(settings), workspace.model_name, CHAMPION)
    evaluation = {
        "challenger": {"weights_sha256": record["weights_sha256"]},
        "champion": {"weights_sha256": followed} if champion else None,
        "decision": record["decision"],
    }
    return registry.promote(settings, workspace, version, evaluation)
