"""What changed between two stretches of a process: its directly-follows graphs compared, edge by edge.

For each edge the share of the visits of its source that take it, for each activity its share of the events, and for
each edge the time between its two activities, before and after. Shares are tested with Fisher's exact test on counts
that are corrected for the likeness of visits within a case, times with Mann and Whitney's. The p-values of each of
these three families are adjusted together (Benjamini & Hochberg 1995).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field
from scipy.stats import mannwhitneyu

from evergreen.config import Config
from evergreen.process.directly_follows import Codes, Graph, Numbers, Transitions, graph
from evergreen.process.share_tests import Draws, ShareTests, compare_shares
from evergreen.stream.detectors.fdr import benjamini_hochberg

APPEARED, VANISHED, MORE, LESS, UNCHANGED = "appeared", "vanished", "more", "less", "unchanged"
SLOWER, FASTER = "slower", "faster"

Record = dict[str, Any]


class CompareConfig(Config):
    """When a difference counts."""

    alpha: float = Field(default=0.01, gt=0, lt=1)
    """Bound on the expected share of false ones among the changes that are named."""
    trace: float = Field(default=0.02, ge=0, lt=1)
    """A share that was (or is) at most this part of what it is (or was) has appeared (or vanished): cases that were
    running at the change, and the uncertainty about its moment, leave a few on the wrong side."""
    min_durations: int = Field(default=10, ge=2)
    """Transitions of an edge on each side, for its times to be compared."""


def compare(before: Transitions, after: Transitions, config: CompareConfig) -> dict[str, list[Record]]:
    """Compare the graphs of two stretches of one log.

    Returns:
        Plain values, shares as fractions of 1, times in seconds, None where there is nothing to tell.
        ``activities``: a record for each one seen: activity, before, after (events), share_before, share_after (of all
        events), p, q, direction. ``edges``: a record for each edge of either graph: source (None: the start), target
        (None: the end), the same for counts and shares of the source's visits, flow_before, flow_after (shares of all
        transitions), dependency_before, dependency_after, seconds_before, seconds_after (medians), seconds_p,
        seconds_q, pace; the largest difference in flow first.
    """
    size = before.end + 1
    sides = [graph(before), graph(after)]
    seen = np.flatnonzero(sides[0].visits + sides[1].visits)
    keys = np.union1d(*(side.source * size + side.target for side in sides))
    events = compare_shares(_events(before), _events(after), seen, np.zeros_like(seen))
    steps = compare_shares(_steps(before), _steps(after), keys, keys // size)
    steps = _with_newcomers(steps, keys // size, dict(zip(seen.tolist(), events.p_value.tolist(), strict=True)))
    names = [*before.activities, None, None]
    activities = [
        {"activity": names[code], **record} for code, record in zip(seen, _records(events, config), strict=True)
    ]
    edges = [
        {"source": names[key // size], "target": names[key % size], **record, **flow, **pace}
        for key, record, flow, pace in zip(
            keys, _records(steps, config), _flows(sides, keys), _paces(before, after, keys, config), strict=True
        )
    ]
    edges.sort(key=lambda record: -abs(record["flow_after"] - record["flow_before"]))  # stable
    return {"activities": activities, "edges": edges}


def changed(record: Record) -> bool:
    """Whether a record of :func:`compare` tells of a change in frequency."""
    return bool(record["direction"] != UNCHANGED)


def _events(side: Transitions) -> Draws:
    """Every event is drawn from all activities."""
    real = side.target < side.start
    return Draws(np.zeros(int(real.sum()), np.int64), side.target[real], side.case[real])


def _steps(side: Transitions) -> Draws:
    """Every transition is drawn from those that leave its source."""
    return Draws(side.source, side.source * (side.end + 1) + side.target, side.case)


def _with_newcomers(steps: ShareTests, source: Codes, p_of_activity: dict[int, float]) -> ShareTests:
    """An exit of an activity that was not there on one side takes that activity's p-value."""
    p_value = steps.p_value.copy()
    for row in np.flatnonzero(np.isnan(p_value)):
        p_value[row] = p_of_activity.get(int(source[row]), 1.0)  # no p-value for the start: no case began on one side
    return ShareTests(steps.before, steps.after, steps.draws_before, steps.draws_after, p_value)


def _records(tests: ShareTests, config: CompareConfig) -> list[Record]:
    p_value = np.nan_to_num(tests.p_value, nan=1.0)
    q_value = benjamini_hochberg(p_value.tolist())
    share = [
        [count / total if total else None for count, total in zip(counts.tolist(), totals.tolist(), strict=True)]
        for counts, totals in ((tests.before, tests.draws_before), (tests.after, tests.draws_after))
    ]
    return [
        {
            "before": int(tests.before[row]),
            "after": int(tests.after[row]),
            "share_before": share[0][row],
            "share_after": share[1][row],
            "p": float(p_value[row]),
            "q": float(q_value[row]),
            "direction": _direction(share[0][row] or 0.0, share[1][row] or 0.0, q_value[row], config),
        }
        for row in range(len(p_value))
    ]


def _direction(before: float, after: float, q_value: float, config: CompareConfig) -> str:
    if q_value > config.alpha or before == after:
        return UNCHANGED
    if before <= config.trace * after:
        return APPEARED
    if after <= config.trace * before:
        return VANISHED
    return MORE if after > before else LESS


def _flows(sides: Sequence[Graph], keys: Codes) -> list[Record]:
    """Each edge's share of all transitions, and how true a successor its target is."""
    columns: dict[str, list[float | None]] = {}
    for name, side in zip(("before", "after"), sides, strict=True):
        place = _places(side, keys)
        total = max(int(side.count.sum()), 1)
        columns[f"flow_{name}"] = [0.0 if at is None else float(side.count[at] / total) for at in place]
        columns[f"dependency_{name}"] = [None if at is None else float(side.dependency[at]) for at in place]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _places(side: Graph, keys: Codes) -> list[int | None]:
    """Where each edge stands in a graph; None: nowhere."""
    own = (side.source * (len(side.activities) + 2) + side.target).tolist()
    place = {key: number for number, key in enumerate(own)}
    return [place.get(key) for key in keys.tolist()]


def _paces(before: Transitions, after: Transitions, keys: Codes, config: CompareConfig) -> list[Record]:
    """The times of each edge, tested where there are enough of them."""
    times = [_times(side, keys) for side in (before, after)]
    p_value: list[float | None] = [
        float(mannwhitneyu(first, second).pvalue) if min(len(first), len(second)) >= config.min_durations else None
        for first, second in zip(*times, strict=True)
    ]
    tested = [value for value in p_value if value is not None]
    adjusted = iter(benjamini_hochberg(tested) if tested else [])
    records = []
    for first, second, p in zip(*times, p_value, strict=True):
        medians = [float(np.median(side)) if len(side) else None for side in (first, second)]
        q = None if p is None else next(adjusted)
        pace = None
        if q is not None and q <= config.alpha and medians[0] != medians[1]:
            pace = SLOWER if (medians[1] or 0.0) > (medians[0] or 0.0) else FASTER
        records.append(
            {"seconds_before": medians[0], "seconds_after": medians[1], "seconds_p": p, "seconds_q": q, "pace": pace}
        )
    return records


def _times(side: Transitions, keys: Codes) -> list[Numbers]:
    """The seconds of each edge's transitions; none from the start and to the end."""
    known = ~np.isnan(side.seconds)
    key = side.source[known] * (side.end + 1) + side.target[known]
    order = np.argsort(key, kind="stable")
    low, high = np.searchsorted(key[order], keys), np.searchsorted(key[order], keys, side="right")
    ordered = side.seconds[known][order]
    return [ordered[first:last] for first, last in zip(low, high, strict=True)]
