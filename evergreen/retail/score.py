"""Scores of a day: how likely is each active customer to churn, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import write_atomically
from evergreen.retail.active import ActiveCustomers, active_customers
from evergreen.retail.columns import match_columns
from evergreen.retail.example_frames import feature_names
from evergreen.retail.explain import attribute, top_reasons
from evergreen.retail.ingest_config import LimitsConfig, SourceConfig
from evergreen.retail.lines import understand
from evergreen.retail.quarantine import write_quarantine
from evergreen.retail.receipt_source import read_source
from evergreen.retail.receipts import aggregate
from evergreen.retail.validate import validate

ORDERS = 16
"""Background customers of an explanation: half of what the report takes, so that a day takes seconds."""
SCHEMA = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("risk", pa.float64(), nullable=False),  # probability of churn
        pa.field("churn", pa.bool_(), nullable=False),  # the risk is above the model's threshold
        pa.field("reasons", pa.string(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("scored_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""The columns of a score file, the greatest risk first."""


class ChurnModel(Protocol):
    """What scoring needs of a model."""

    period_days: int
    periods: int
    churn_days: int
    threshold: float
    background: NDArray[np.float64]
    """(b, 3k) examples that explanations compare with."""

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3k) → (n,) probability of churn."""


@dataclass(frozen=True)
class Read:
    """Receipts of a source, and what was refused.

    Attributes:
        receipts: as a table.
        lines: read.
        refused: reason → lines.
    """

    receipts: pa.Table
    lines: int
    refused: dict[str, int]


def read_receipts_of(source: SourceConfig, downloads: Path, quarantine: Path) -> Read:
    """Read receipts to score, with the checks of the step ``ingest``; refused lines go to ``quarantine``.

    Raises:
        BadInputError: the source cannot be read, lacks a column, or has no receipt that can be used.
    """
    raw = read_source(source, downloads)
    columns = match_columns([str(name) for name in raw.frame.columns], {**raw.known, **source.columns})
    lines = understand(raw, columns, source)
    validation = validate(lines, raw, LimitsConfig(), source.repair_dates, "default")
    if validation.reasons.notna().any():
        write_quarantine(quarantine, raw, validation.reasons)
    accepted = lines.frame[validation.reasons.isna()]
    if accepted.empty:
        raise BadInputError(f"{source.receipts} has no receipt that can be used; see {quarantine}.")
    receipts = pa.Table.from_pandas(aggregate(accepted), preserve_index=False)
    refused = {str(reason): int(count) for reason, count in validation.reasons.value_counts().items()}
    return Read(receipts, len(raw.frame), refused)


def score_day(
    receipts: pa.Table, day: date | None, model: ChurnModel, name: str, version: str, scored_at: datetime
) -> pa.Table:
    """Score the active customers of a day.

    Args:
        receipts: customer_id, amount, timestamp; those after the day are not looked at.
        day: None for the day of the last receipt.
        model: the champion.
        name: its registered name.
        version: its number.
        scored_at: now, with a time zone.

    Returns:
        A table of :data:`SCHEMA`.
    """
    active = active_customers(receipts, day, model.period_days, model.periods, model.churn_days)
    risk = model.probabilities(active.features)
    reasons = _reasons(active, model)
    table = pa.table(
        {
            "customer_id": active.customers.cast(pa.string()),
            "risk": risk,
            "churn": risk >= model.threshold,
            "reasons": reasons,
            "day": pa.array([active.day] * len(active), pa.date32()),
            "model": [name] * len(active),
            "model_version": [version] * len(active),
            "scored_at": pa.array([scored_at] * len(active), pa.timestamp("us", tz="UTC")),
        },
        schema=SCHEMA,
    )
    return table.sort_by([("risk", "descending"), ("customer_id", "ascending")])


def _reasons(active: ActiveCustomers, model: ChurnModel) -> list[str]:
    if not len(active):
        return []
    # the same customers get the same reasons, whenever they are asked for
    found = attribute(model.probabilities, active.features, model.background, np.random.default_rng(0), orders=ORDERS)
    names = feature_names(model.periods)
    return top_reasons(active.features, found.values, names, period_days=model.period_days)


def write_scores(path: Path, table: pa.Table) -> None:
    """Write a score file, Parquet or CSV by its ending, whole or not at all."""
    write: Callable[[Any], Any] = (
        (lambda part: pq.write_table(table, part))
        if path.suffix == ".parquet"
        else (lambda part: pa_csv.write_csv(table, part))
    )
    write_atomically(path, write)
