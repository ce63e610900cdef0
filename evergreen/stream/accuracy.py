"""Accuracy over time, from the prediction ledger: what could be known then, and what turned out later."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.errors import BadInputError

View = Literal["decision", "label", "hindsight"]
COLUMNS = ["start", "end", "predictions", "labelled", "accuracy"]


def accuracy_over_time(answers: Iterable[pd.DataFrame], every: pd.Timedelta, view: View) -> pd.DataFrame:
    """Accuracy in each period of a length, counted from 1970.

    ========= ============================================ =========================================
    view      a period has                                 and of those are labelled
    ========= ============================================ =========================================
    decision  the answers given in it                      whose label was known when it ended
    label     the answers whose label arrived in it        all
    hindsight the answers given in it                      whose label is known by now
    ========= ============================================ =========================================

    ``decision`` is the honest one: nobody can decide on labels to come. Where labels are late it rests on few, and on
    those that come fast, which need not be like the others; ``label`` rests on all of them, but tells of answers given
    earlier. ``hindsight`` is for looking back.

    Args:
        answers: frames as :meth:`PredictionLedger.read` yields them; each is looked at once.
        every: length of the periods.
        view: which.

    Returns:
        Columns start and end (UTC), predictions, labelled, and accuracy of the labelled, NaN where there are none;
        periods without any answer are left out.

    Raises:
        BadInputError: ``every`` is not positive, or the view is unknown.
    """
    if view not in ("decision", "label", "hindsight"):
        raise BadInputError(f"There is no view {view!r}: expected decision, label or hindsight.")
    if (length := every // pd.Timedelta(microseconds=1)) <= 0:
        raise BadInputError(f"Periods of {every}: expected a positive length.")
    totals: dict[int, NDArray[np.int64]] = {}
    for frame in answers:
        for period, counts in _counted(frame, length, view):
            totals[period] = totals.get(period, np.zeros(3, dtype=np.int64)) + counts
    rows = [(period * length, (period + 1) * length, *totals[period]) for period in sorted(totals)]
    series = pd.DataFrame(rows, columns=[*COLUMNS[:-1], "right"])
    for name in ("start", "end"):
        series[name] = pd.to_datetime(series[name].astype("int64"), unit="us", utc=True)
    series["accuracy"] = series["right"] / series["labelled"].where(series["labelled"] > 0)
    return series[COLUMNS]


def _counted(frame: pd.DataFrame, length: int, view: View) -> Iterable[tuple[int, NDArray[np.int64]]]:
    """For each period of a frame: answers, labelled ones, right ones."""
    if view == "label":
        frame = frame[frame["label_at"].notna()]
    placed = _microseconds(frame["label_at" if view == "label" else "predicted_at"])
    period = placed // length
    labelled = frame["label_at"].notna().to_numpy()
    if view == "decision":
        arrived = _microseconds(frame["label_at"].fillna(pd.Timestamp(0, tz="UTC")))
        labelled = labelled & (arrived < (period + 1) * length)
    right = labelled & (frame["label"] == frame["prediction"]).to_numpy(dtype=bool)
    for number in np.unique(period):
        here = period == number
        yield int(number), np.array([here.sum(), labelled[here].sum(), right[here].sum()], dtype=np.int64)


def _microseconds(times: pd.Series) -> NDArray[np.int64]:
    return np.asarray(times.dt.as_unit("us").to_numpy(dtype=np.int64))
