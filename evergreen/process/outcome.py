"""How long a case still takes and how it ends: what is true, from when on that is known, and how answers are judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.process.contexts import Ints
from evergreen.process.stream import SECOND_US, EventStream

Numbers = NDArray[np.float64]

DAY_US = 86_400 * SECOND_US
NEVER = np.iinfo(np.int64).max
NO_OUTCOME = -1


@dataclass(frozen=True)
class Fates:
    """What becomes of the case of each of N rows, seen from the event before the row.

    Attributes:
        remaining_days: (N,) days from the event before the row until the case's last event; NaN for a case's first row.
        outcome: (N,) the activity that is the case's outcome; -1 where it has none.
        known_from: (N,) the row, that of the closing event, at which both become known; a huge number if they never do.
    """

    remaining_days: Numbers
    outcome: Ints
    known_from: Ints


def fates(stream: EventStream, outcomes: Sequence[int] | None = None) -> Fates:
    """What becomes of every case that is closed.

    Args:
        stream: N rows.
        outcomes: activities of which the one that a case has last is its outcome. None: its last activity of all.
    """
    rows = len(stream)
    closing = np.full(len(stream.cases), NEVER)
    ends = np.flatnonzero(stream.activity == stream.end) if stream.end >= 0 else np.zeros(0, np.int64)
    closing[stream.case[ends]] = ends
    last = np.full(len(stream.cases), -1)
    last[stream.case[ends]] = stream.previous[ends]
    result = np.full(len(stream.cases), NO_OUTCOME)
    mine = np.flatnonzero(np.ones(rows, np.bool_) if outcomes is None else np.isin(stream.activity, list(outcomes)))
    mine = mine[stream.activity[mine] != stream.end]
    result[stream.case[mine]] = stream.activity[mine]  # the later row of a case is written later
    known = closing[stream.case]
    before = stream.previous
    there = (known < NEVER) & (before >= 0)
    remaining = np.full(rows, np.nan)
    remaining[there] = (stream.time_us[last[stream.case[there]]] - stream.time_us[before[there]]) / DAY_US
    return Fates(remaining, np.where(known < NEVER, result[stream.case], NO_OUTCOME), known)


def naive_remaining(stream: EventStream, found: Fates, rows: Ints) -> Numbers:
    """(n,) the mean remaining days after the same last activity, in the cases closed before each of n rows.

    The reference for models of remaining time; 0 before any case is closed.
    """
    taught = np.flatnonzero(~np.isnan(found.remaining_days))
    taught = taught[np.argsort(found.known_from[taught], kind="stable")]
    after, asked_after = stream.activity[stream.previous[taught]], stream.activity[stream.previous[rows]]
    result = _running_mean(taught, found, rows)
    for activity in np.unique(asked_after).tolist():
        mine, asked = taught[after == activity], np.flatnonzero(asked_after == activity)
        own = _running_mean(mine, found, rows[asked])
        some = np.searchsorted(found.known_from[mine], rows[asked]) > 0
        result[asked[some]] = own[some]
    return result


def _running_mean(taught: Ints, found: Fates, rows: Ints) -> Numbers:
    """(n,) mean remaining days of those taught rows, in the order in which they become known, that are known before."""
    sums = np.concatenate([[0.0], np.cumsum(found.remaining_days[taught])])
    count = np.searchsorted(found.known_from[taught], rows)
    return np.asarray(sums[count] / np.maximum(count, 1))


def outcome_auc(outcome: Ints, probabilities: Numbers | NDArray[np.float32], codes: Sequence[int]) -> float | None:
    """Area under the ROC curve: of each outcome against all others, weighted by how often the outcome occurs.

    Args:
        outcome: (n,) activities; rows without an outcome, or with one without a column, are left out.
        probabilities: (n, K).
        codes: the activity of each column.

    Returns:
        None where fewer than two outcomes occur.
    """
    from scipy.stats import rankdata

    judged = np.isin(outcome, list(codes))
    outcome, probabilities = outcome[judged], probabilities[judged]
    areas, weights = [], []
    for column, code in enumerate(codes):
        positive = outcome == code
        count, others = int(positive.sum()), int((~positive).sum())
        if count and others:
            ranks = rankdata(probabilities[:, column])
            areas.append((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))
            weights.append(count)
    return float(np.average(areas, weights=weights)) if len(areas) > 1 else None
