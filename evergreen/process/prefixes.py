"""What models see of a case: the published window of four activities, and a long one with times and resources.

Windows are right-aligned and padded on the left. They are gathered over the stream's links when they are asked for, so
that memory does not grow with the window's length.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.process.stream import SECOND_US, Codes, EventStream, Rows, Times

Numbers = NDArray[np.float32]

PADDING = -1
"""Stands for no event, and for a name that a model does not know."""

PUBLISHED_LENGTH = 4
LONG_LENGTH = 16

FEATURES = ("since_previous", "since_start", "position", "day_sin", "day_cos", "week_sin", "week_cos")
YEAR_S, DAY_US = 365 * 86_400, 86_400 * SECOND_US
MONDAY_US = 4 * DAY_US  # 1970-01-01 was a Thursday
LONG_CASE = 1_000


@dataclass(frozen=True)
class Window:
    """The last L events of n cases, the latest at the right.

    Attributes:
        activity: (n, L) codes, :data:`PADDING` where the case is shorter.
        resource: (n, L) codes, :data:`PADDING` where there is none.
        numbers: (n, L, len(FEATURES)) 0 where the case is shorter. Times are logarithms, 1 for a year; position is a
            logarithm, 1 for 1,000 events; day and week are points on a circle, in UTC, the week from Monday.
    """

    activity: Codes
    resource: Codes
    numbers: Numbers


class PublishedPrefixes:
    """The published encoding: a run of one activity counts as two at most, and the last four activities are seen.

    As the prefix tree of Pasquadibisceglie et al. 2023 with its capped self-loops.
    """

    def __init__(self, stream: EventStream, length: int = PUBLISHED_LENGTH) -> None:
        self.length, self._activity = length, stream.activity
        self._before = stream.previous
        previous = stream.previous
        same = previous >= 0
        same[same] = stream.activity[previous[same]] == stream.activity[same]
        third = same.copy()
        third[same] = same[previous[same]]
        order = np.argsort(stream.case, kind="stable")
        places = np.arange(len(order))
        kept = np.maximum.accumulate(np.where(third[order], 0, places))
        self._node = np.empty(len(order), np.int64)
        self._node[order] = order[kept]  # the event that stands for this one: the second of its run at most

    def at(self, rows: Rows) -> Codes:
        """(n, L) codes of the path that ends with each of n rows, as it is after them."""
        return self._gather(self._node_of(rows))

    def before(self, rows: Rows) -> Codes:
        """(n, L) codes of the path before each of n rows: what is known when they are predicted."""
        return self._gather(self._node_of(self._before[rows]))

    def _gather(self, nodes: Rows) -> Codes:
        result = np.full((len(nodes), self.length), PADDING, np.int32)
        for column in range(self.length - 1, -1, -1):
            there = nodes >= 0
            result[there, column] = self._activity[nodes[there]]
            nodes = self._node_of(np.where(there, self._before[nodes], -1))
        return result

    def _node_of(self, rows: Rows) -> Rows:
        return np.where(rows >= 0, self._node[rows], -1)


class LongPrefixes:
    """The last events of a case as they are, with times and resources."""

    def __init__(self, stream: EventStream, length: int = LONG_LENGTH) -> None:
        self.stream, self.length = stream, length
        first = np.flatnonzero(stream.previous < 0)
        self._start_us = np.zeros(len(stream.cases), np.int64)
        self._start_us[stream.case[first]] = stream.time_us[first]

    def at(self, rows: Rows) -> Window:
        """The cases' last events up to and with each of n rows."""
        return self._window(rows)

    def before(self, rows: Rows) -> Window:
        """The cases' last events before each of n rows: what is known when they are predicted."""
        return self._window(self.stream.previous[rows])

    def _window(self, last: Rows) -> Window:
        stream = self.stream
        rows = np.full((len(last), self.length), -1)
        for column in range(self.length - 1, -1, -1):
            rows[:, column] = last
            last = np.where(last >= 0, stream.previous[last], -1)
        there = rows >= 0
        own = rows[there]  # (m,) the events there are
        previous = stream.previous[own]
        time_us = stream.time_us[own]
        activity = np.full(rows.shape, PADDING, np.int32)
        resource = np.full(rows.shape, PADDING, np.int32)
        numbers = np.zeros((*rows.shape, len(FEATURES)), np.float32)
        activity[there] = stream.activity[own]
        resource[there] = stream.resource[own]
        numbers[there] = features(
            time_us,
            np.where(previous >= 0, stream.time_us[previous], time_us),
            self._start_us[stream.case[own]],
            stream.position[own],
        )
        return Window(activity, resource, numbers)


def features(time_us: Times, previous_us: Times, start_us: Times, position: Codes) -> Numbers:
    """The numbers that go with m events: (m, len(FEATURES)).

    Args:
        time_us: (m,) of the events.
        previous_us: (m,) of the events before them in their case; of the event itself where it is the first.
        start_us: (m,) of their case's first events.
        position: (m,) events of the case before them.
    """
    day = (time_us % DAY_US) * (2 * np.pi / DAY_US)
    week = ((time_us - MONDAY_US) % (7 * DAY_US)) * (2 * np.pi / (7 * DAY_US))
    columns = (
        _log_time(time_us - previous_us),
        _log_time(time_us - start_us),
        np.log1p(position) / np.log1p(LONG_CASE),
        np.sin(day),
        np.cos(day),
        np.sin(week),
        np.cos(week),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _log_time(span_us: Times) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.log1p(span_us / SECOND_US) / np.log1p(YEAR_S)
    return result
