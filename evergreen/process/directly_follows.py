"""Directly-follows graphs: which activity comes right after which, how often, and how long after.

Van der Aalst (2016), *Process Mining: Data Science in Action*, chapter 6. Every event stands for one transition, that
from the event before it in its case (or from the start) to it; it belongs to the moment of that event, so that a cut
through the stream puts every transition on one side. The last event of an ended case has one more, to the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Transitions:
    """All transitions of a log, or of a stretch of it, in the order of the stream.

    Attributes:
        activities: the names; code ``i`` is ``activities[i]``, then come the codes of the start and of the end.
        source: (N,) code of the activity before, or the start.
        target: (N,) code of the activity after, or the end.
        case: (N,) code of the case.
        position: (N,) place in the stream of the event that the transition belongs to, ascending.
        seconds: (N,) time between the two events; NaN from the start and to the end.
    """

    activities: tuple[str, ...]
    source: Codes
    target: Codes
    case: Codes
    position: Codes
    seconds: Numbers

    @property
    def start(self) -> int:
        return len(self.activities)

    @property
    def end(self) -> int:
        return len(self.activities) + 1

    def between(self, first: int, last: int) -> "Transitions":
        """The transitions of the events at ``first`` ≤ position < ``last``."""
        low, high = np.searchsorted(self.position, [first, last])
        part = slice(int(low), int(high))
        codes = (self.source[part], self.target[part], self.case[part], self.position[part])
        return Transitions(self.activities, *codes, self.seconds[part])


@dataclass(frozen=True)
class Graph:
    """A directly-follows graph; one entry an edge, ordered by source and target.

    Attributes:
        activities: as in :class:`Transitions`, whose codes ``source`` and ``target`` hold.
        visits: (A,) events of each activity.
        source: (E,).
        target: (E,).
        count: (E,) transitions.
        cases: (E,) different cases among them.
        mean_seconds: (E,) NaN from the start and to the end.
        median_seconds: (E,) likewise.
        dependency: (E,) in (−1, 1): how much more often the edge is taken than its opposite
            (Weijters, van der Aalst & Alves de Medeiros 2006, the heuristics miner); near 1: a true successor.
    """

    activities: tuple[str, ...]
    visits: Codes
    source: Codes
    target: Codes
    count: Codes
    cases: Codes
    mean_seconds: Numbers
    median_seconds: Numbers
    dependency: Numbers


def transitions(case: Codes, activity: Codes, seconds: Numbers, activities: Sequence[str]) -> Transitions:
    """List the transitions of a log.

    Args:
        case: (N,) codes of the cases, in the order of the stream.
        activity: (N,) codes of the activities.
        seconds: (N,) moments, ascending.
        activities: names of the activities.
    """
    order = np.argsort(case, kind="stable")
    same = case[order][1:] == case[order][:-1]
    source = np.full(len(case), len(activities), np.int64)
    gap = np.full(len(case), np.nan)
    later, earlier = order[1:][same], order[:-1][same]
    source[later] = activity[earlier]
    gap[later] = seconds[later] - seconds[earlier]
    last = np.sort(order[np.append(~same, True)]) if len(case) else order
    ends = last[_ended(activity[last], seconds[last], source, gap, seconds)]
    position = np.concatenate([np.arange(len(case)), ends])
    by_position = np.argsort(position, kind="stable")
    return Transitions(
        tuple(activities),
        np.concatenate([source, activity[ends]])[by_position],
        np.concatenate([activity, np.full(len(ends), len(activities) + 1)])[by_position],
        np.concatenate([case, case[ends]])[by_position],
        position[by_position],
        np.concatenate([gap, np.full(len(ends), np.nan)])[by_position],
    )


def _ended(activity: Codes, moment: Numbers, source: Codes, gap: Numbers, seconds: Numbers) -> NDArray[np.bool_]:
    """Which cases have ended, and are not merely open when the log stops.

    A case has, if at least as many cases are last seen at its last activity as ever went on from there after so long
    a silence. That needs no list of final activities and no time-out.

    Args:
        activity: (C,) last activity of each case.
        moment: (C,) when.
        source: (N,) the activity before each event.
        gap: (N,) seconds since then.
        seconds: (N,) moments of all events.
    """
    ended = np.ones(len(activity), bool)
    known = ~np.isnan(gap)
    by_source = np.lexsort((gap[known], source[known]))
    sources, gaps = source[known][by_source], gap[known][by_source]
    for code in np.unique(activity):
        here = np.flatnonzero(activity == code)
        low, high = np.searchsorted(sources, [code, code + 1])
        silence = seconds[-1] - moment[here]
        longer = (high - low) - np.searchsorted(gaps[low:high], silence, side="right")
        ended[here] = len(here) >= longer
    return ended


def graph(found: Transitions) -> Graph:
    """Count the transitions by source and target."""
    size = len(found.activities) + 2
    key = found.source * size + found.target
    keys, edge = np.unique(key, return_inverse=True)
    count = np.bincount(edge, minlength=len(keys)).astype(np.int64)
    case_codes = np.unique(found.case, return_inverse=True)[1]
    pairs = np.unique(edge * (len(found.case) + 1) + case_codes)
    source, target = keys // size, keys % size
    opposite = target * size + source
    place = np.minimum(np.searchsorted(keys, opposite), max(len(keys) - 1, 0))
    back = np.where(keys[place] == opposite, count[place], 0) if len(keys) else count
    alone = source == target
    events = found.target[found.target < len(found.activities)]
    with np.errstate(invalid="ignore"):
        mean = np.bincount(edge, found.seconds, minlength=len(keys)) / count
    return Graph(
        found.activities,
        np.bincount(events, minlength=len(found.activities)).astype(np.int64),
        source,
        target,
        count,
        np.bincount(pairs // (len(found.case) + 1), minlength=len(keys)).astype(np.int64),
        mean,
        _medians(edge, found.seconds, count),
        np.where(alone, count / (count + 1), (count - back) / (count + back + 1)),
    )


def _medians(edge: Codes, seconds: Numbers, count: Codes) -> Numbers:
    """The median of each edge's seconds."""
    ordered = seconds[np.lexsort((seconds, edge))]
    first = np.cumsum(count) - count
    medians: Numbers = (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) / 2
    return medians
