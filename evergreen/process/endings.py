"""When a case is over, as a live system can know it: end activities that are declared or learned, and a time-out."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.process.stream import SECOND_US, Encoded, EventStream, Flags, Rows, Times, close, links

GAP_QUANTILE, GAP_FACTOR = 0.99, 2
LEARNED_SHARE, LEARNED_COUNT = 0.99, 30


class Endings(Config):
    """What ends a case in default mode.

    Attributes:
        activities: each of these ends its case at once. None: they are learned, if ``learn`` says so.
        learn: an activity ends its case at once while, of its earlier events whose fate is known, at least
            :data:`LEARNED_COUNT` and :data:`LEARNED_SHARE` of them were followed by silence until the time-out.
        timeout_days: a case that is silent for so long is over. None: :func:`learned_timeout` of the warm-up.
    """

    activities: tuple[str, ...] | None = None
    learn: bool = True
    timeout_days: float | None = Field(None, gt=0)


def default_stream(events: pa.Table, endings: Endings | None = None) -> EventStream:
    """The stream as a live system sees it: closing events come when the end of a case becomes known.

    That is at once after an end activity (then nothing is asked, since a rule says it), or when the time-out passed. A
    case that goes on after that begins anew: a system that keeps only open cases has forgotten it. Cases that are
    still open at the end of the log get no closing event. The warm-up is the first tenth of the log's own events and
    what became known by then; the time-out comes from it alone.

    Args:
        events: as :meth:`evergreen.process.stream.Encoded.of`.
        endings: the rules.

    Raises:
        BadInputError: a declared end activity is not in the log.
    """
    endings = endings or Endings()
    log = Encoded.of(events)
    warm = len(log.case) // 100 * 10
    previous, following = links(log.case)
    timeout = learned_timeout(log, previous, warm)
    if endings.timeout_days is not None:
        timeout = round(endings.timeout_days * 86_400 * SECOND_US)
    silent = following < 0
    silent[~silent] = log.time_us[following[~silent]] - log.time_us[~silent] >= timeout
    at_once = _ends_at_once(log, endings, silent, following, timeout)
    over = at_once | silent
    instances = _split(log, previous, over)
    ends = np.flatnonzero(over)
    when = np.where(at_once[ends], log.time_us[ends], log.time_us[ends] + timeout)
    known = when <= log.time_us[-1] if len(ends) else np.zeros(0, np.bool_)
    ends, when = ends[known], when[known]
    first = -1  # of the events of one moment a time-out comes first
    place = np.where(at_once[ends], log.event_index[ends], first)
    stream = close(instances, ends, when, place, ~at_once[ends], 0)
    return replace(stream, cut=_row_after(stream, warm))


def learned_rules(events: pa.Table, endings: Endings | None = None) -> dict[str, Any]:
    """The rules as they are at a log's end, for :class:`evergreen.process.case_memory.CaseMemory`.

    Returns:
        timeout_us, and activities: names of those that end their case at once.
    """
    endings = endings or Endings()
    stream = default_stream(events, endings)
    log = Encoded.of(events)
    timeout = learned_timeout(log, links(log.case)[0], len(log.case) // 100 * 10)
    if endings.timeout_days is not None:
        timeout = round(endings.timeout_days * 86_400 * SECOND_US)
    ends = stream.activity == stream.end if stream.end >= 0 else np.zeros(len(stream), np.bool_)
    at_once = np.unique(stream.activity[stream.previous[ends & ~stream.asked]])
    return {"timeout_us": int(timeout), "activities": [stream.activities[code] for code in at_once]}


def learned_timeout(log: Encoded, previous: Rows, warm: int) -> int:
    """Twice the 99 % quantile of the time between events of a case, in the warm-up, in microseconds.

    At least a second. Where no case has two events yet, the length of the warm-up.

    Args:
        log: N events.
        previous: (N,) as of :func:`evergreen.process.stream.links`.
        warm: events of the warm-up.
    """
    rows = np.flatnonzero(previous[:warm] >= 0)
    if not len(rows):
        times = log.time_us[: max(warm, 1)]
        return max(SECOND_US, int(times[-1] - times[0])) if len(times) else SECOND_US
    gaps = log.time_us[rows] - log.time_us[previous[rows]]
    return max(SECOND_US, round(GAP_FACTOR * float(np.quantile(gaps, GAP_QUANTILE))))


def _ends_at_once(log: Encoded, endings: Endings, silent: Flags, following: Rows, timeout: int) -> Flags:
    if endings.activities is not None:
        if missing := [name for name in endings.activities if name not in log.activities]:
            raise BadInputError(
                f"The log has no activity {missing[0]!r} that could end a case. It has: {shown(log.activities)}."
            )
        return np.isin(log.activity, [log.activities.index(name) for name in endings.activities])
    if not endings.learn:
        return np.zeros(len(log.case), np.bool_)
    known = np.where(silent, log.time_us + timeout, log.time_us[following])
    return _learned(log, silent, known)


def _learned(log: Encoded, silent: Flags, known: Times) -> Flags:
    """(N,) events of activities that have been followed by silence, as far as known before the event.

    Args:
        log: N events.
        silent: (N,) whether the case was silent until the time-out.
        known: (N,) when that was known.
    """
    result = np.zeros(len(log.case), np.bool_)
    order = np.argsort(log.activity, kind="stable")
    bounds = np.searchsorted(log.activity[order], np.arange(len(log.activities) + 1))
    for start, stop in pairwise(bounds):
        rows = order[start:stop]  # of one activity, in time order
        by_fate = rows[np.argsort(known[rows], kind="stable")]
        ended = np.concatenate([[0], np.cumsum(silent[by_fate])])
        count: NDArray[np.int64] = np.searchsorted(known[by_fate], log.time_us[rows], side="left")
        result[rows] = (count >= LEARNED_COUNT) & (ended[count] >= LEARNED_SHARE * count)
    return result


def _split(log: Encoded, previous: Rows, over: Flags) -> Encoded:
    """The log with a case of its own for what comes after an end."""
    begins = previous < 0
    begins[~begins] = over[previous[~begins]]
    order = np.argsort(log.case, kind="stable")
    place = np.maximum.accumulate(np.where(begins[order], np.arange(len(order)), 0))
    number = np.cumsum(begins, dtype=np.int32) - np.int32(1)
    case = np.empty(len(order), np.int32)
    case[order] = number[order[place]]
    return replace(log, case=case, cases=log.cases.take(pa.array(log.case[begins])))


def _row_after(stream: EventStream, events: int) -> int:
    """The row after the stream's first ``events`` events, closing events not counted."""
    return int(np.searchsorted(np.cumsum(stream.event_index >= 0), events)) + 1 if events else 0


def shown(names: tuple[str, ...], most: int = 20) -> str:
    """Names for a message, the first ones of many."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
