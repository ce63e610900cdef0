"""The ledger of a churn run in counts: by model and day, and by model and score. All its rows are never in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.retail.drift_card import CHURN

BINS = 20
"""Of the score, for calibration."""
ROWS_AT_ONCE = 262_144
COLUMNS = ["model", "predicted_at", "prediction", "score", "label", "label_at"]
DAY_US = 86_400_000_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class Tally:
    """What a model answered, counted. Days are counted from 1970-01-01.

    Attributes:
        decided: by day of the answer, counts (label, prediction) of answers with a label, (2, 2) each; 1 is churn.
        waiting: by day of the answer, how many have no label yet.
        told: by day of the label, examples that stayed and that churned.
        bins: (BINS, 3) by score: answers with a label, sum of their scores, how many churned.
    """

    decided: dict[int, Ints] = field(default_factory=dict)
    waiting: dict[int, int] = field(default_factory=dict)
    told: dict[int, Ints] = field(default_factory=dict)
    bins: Floats = field(default_factory=lambda: np.zeros((BINS, 3)))

    def days(self) -> Ints:
        """The days with labelled answers, in order."""
        return np.array(sorted(self.decided), np.int64)

    def confusions(self) -> Ints:
        """(D, 2, 2) label × prediction of each of those days."""
        return np.array([self.decided[day] for day in sorted(self.decided)], np.int64).reshape(-1, 2, 2)


def read_tallies(path: Path) -> dict[str, Tally]:
    """Count a ledger; empty where there is none."""
    tallies: dict[str, Tally] = {}
    for batch in _batches(path) if path.is_file() else ():
        for model in pc.unique(batch["model"]).to_pylist():
            rows = batch.filter(pc.equal(batch["model"], model))
            _count(tallies.setdefault(str(model), Tally()), rows)
    return dict(sorted(tallies.items()))


def _batches(path: Path) -> Iterator[pa.Table]:
    for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE, columns=COLUMNS):
        yield pa.Table.from_batches([batch])


def _count(tally: Tally, rows: pa.Table) -> None:
    known = pc.is_valid(rows["label"]).to_numpy(zero_copy_only=False)
    predicted, day = _is_churn(rows["prediction"]), _days(rows["predicted_at"])
    label = _is_churn(rows["label"])
    for value in np.unique(day).tolist():
        here = (day == value) & known
        if here.any():
            counts = np.bincount(2 * label[here] + predicted[here], minlength=4).reshape(2, 2)
            tally.decided[value] = tally.decided.get(value, np.zeros((2, 2), np.int64)) + counts
        if waiting := int(((day == value) & ~known).sum()):
            tally.waiting[value] = tally.waiting.get(value, 0) + waiting
    told = _days(rows["label_at"].filter(pa.array(known)))
    for value in np.unique(told).tolist():
        counts = np.bincount(label[known][told == value], minlength=2)
        tally.told[value] = tally.told.get(value, np.zeros(2, np.int64)) + counts
    score = pc.fill_null(rows["score"], float("nan")).to_numpy(zero_copy_only=False)
    scored = known & np.isfinite(score)
    place = np.clip((score[scored] * BINS).astype(np.int64), 0, BINS - 1)
    for column, weights in enumerate((None, score[scored], label[scored])):
        tally.bins[:, column] += np.bincount(place, weights=weights, minlength=BINS)


def _is_churn(column: Any) -> Ints:
    churn: NDArray[np.bool_] = pc.fill_null(pc.equal(column, CHURN), False).to_numpy(zero_copy_only=False)
    return churn.astype(np.int64)


def _days(column: Any) -> Ints:
    micros: Ints = pc.cast(pc.cast(column, pa.timestamp("us", tz="UTC")), pa.int64()).to_numpy(zero_copy_only=False)
    return micros // DAY_US
