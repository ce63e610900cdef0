"""A process model as MLflow's generic Python model. MLflow imports this module by name; it imports no MLflow."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evergreen.logged_model import named_sha256
from evergreen.process.bundle import Champion, load
from evergreen.process.score import Identity, score_open_cases

OUTPUTS = {
    "case_id": "string",
    "next_activity": "string",
    "probability": "double",
    "remaining_days": "double",
    "outcome": "string",
    "outcome_probability": "double",
}
OPTIONAL = frozenset({"resource"})
"""Input columns that may be missing."""


def inputs(model: Champion) -> dict[str, str]:
    """The columns that the model takes, with MLflow's names of their types."""
    return {"case_id": "string", "activity": "string", "timestamp": "datetime", "resource": "string"}


class ProcessModel:
    """Answers with a table, a row for each open case."""

    def __init__(self, model: Champion) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Foresee open cases.

        Args:
            model_input: events: case_id, activity, timestamp (naive ones are UTC), resource (may be missing or empty).
            params: none are known.

        Returns:
            A row for each case that is not over: case_id, next_activity, probability, remaining_days, outcome,
            outcome_probability.
        """
        times = pd.to_datetime(model_input["timestamp"], utc=True)
        order = np.argsort(times.to_numpy(), kind="stable")
        resources = pa.nulls(len(order), pa.string())
        if "resource" in model_input:
            resources = pa.array(model_input["resource"].iloc[order], pa.string(), from_pandas=True)
        events = pa.table(
            {
                "event_index": np.arange(len(model_input))[order],
                "case_id": pa.array(model_input["case_id"].astype(str).to_numpy()[order], pa.string()),
                "activity": pa.array(model_input["activity"].astype(str).to_numpy()[order], pa.string()),
                "timestamp": pa.array(times.iloc[order], pa.timestamp("us", tz="UTC")),
                "resource": resources,
            }
        )
        scored = score_open_cases(events, self.model, Identity("", "", datetime.fromtimestamp(0, UTC)))
        answers: pd.DataFrame = scored.select(list(OUTPUTS)).to_pandas()
        return answers


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> ProcessModel:
    """Load a logged bundle; MLflow's hook.

    Raises:
        BadInputError: the model was logged without its weights' hash, or the weights have another one.
    """
    return ProcessModel(load(Path(data_path), expected_sha256=named_sha256(model_config)))
