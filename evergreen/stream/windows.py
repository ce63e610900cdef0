"""Tumbling windows over a stream: every event is in exactly one, by the time of the event or by counting."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.errors import BadInputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECONDS_AN_HOUR = 3_600_000_000


class Tumbling(Config):
    """How a stream is cut.

    - ``by: time``: a window covers ``hours``, [start, end), aligned to 1970-01-01T00:00Z: 24 hours are days in UTC.
      Hours without an event make no window.
    - ``by: count``: a window holds ``rows`` events, in their order in the stream; the last one may hold fewer.
    """

    by: Literal["time", "count"] = "time"
    hours: int = Field(24, ge=1)
    rows: int = Field(2000, ge=1)

    def numbers(self, times: NDArray[np.int64], seen: int) -> NDArray[np.int64]:
        """The window of each event.

        Args:
            times: (n,) microseconds since 1970 in UTC, non-decreasing.
            seen: events of the stream before these.

        Returns:
            (n,) window numbers, non-decreasing; they order the windows and need not be consecutive.

        Raises:
            BadInputError: an event is earlier than the one before it.
        """
        if len(times) > 1 and bool((np.diff(times) < 0).any()):
            position = int(np.argmax(np.diff(times) < 0)) + 1
            raise BadInputError(
                f"Event {seen + position} of the stream is of {moment(times[position])}, "
                f"earlier than the one before it ({moment(times[position - 1])}). Sort the stream by time."
            )
        if self.by == "time":
            return times // (self.hours * MICROSECONDS_AN_HOUR)
        return (seen + np.arange(len(times), dtype=np.int64)) // self.rows

    def bounds(self, number: int, first: int, last: int) -> tuple[datetime, datetime]:
        """Start and end of a window.

        Args:
            number: of the window, from :meth:`numbers`.
            first: time of its earliest event in microseconds.
            last: time of its latest event.

        Returns:
            By time [start, end) on the grid; by count the times of the first and the last event.
        """
        if self.by == "time":
            width = self.hours * MICROSECONDS_AN_HOUR
            return moment(number * width), moment((number + 1) * width)
        return moment(first), moment(last)


def moment(microseconds: int) -> datetime:
    """A time in UTC, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=int(microseconds))


def runs(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Stretches of equal numbers: (number, first position, position after the last).

    >>> list(runs(np.array([4, 4, 7])))
    [(4, 0, 2), (7, 2, 3)]
    """
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield int(numbers[start]), start, stop
