"""What a model of churn learns from on a day: which examples, with which label, and for how much they count."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evergreen.retail.censoring import ReturnCurve
from evergreen.retail.protocol import Rows, Stream

Floats = NDArray[np.float64]
Risk = Callable[[Rows], Floats]
"""Rows (n,) → their risk of churn (n,), as the model sees it now."""


class Lessons:
    """Labels that come at once: every one counts, from its day on."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._told: list[Rows] = []

    def tell(self, day: int, rows: Rows) -> None:
        """All labels of a day; days come in order."""
        self._told.append(rows)

    def recent(self, days: int | None = None) -> Rows:
        """The rows of the last days, or of all, in order of :meth:`day`."""
        return np.concatenate([np.empty(0, np.int64), *self._told[-days if days else None :]])

    def fair(self, rows: Rows) -> Rows:
        """Of some told rows, oldest first, those that are no biased choice among all."""
        return rows

    def day(self, rows: Rows) -> NDArray[np.int64]:
        """(n,) by which memory fades."""
        return self.stream.told[rows]

    def weights(self, rows: Rows) -> Floats:
        """(n,) for how much the rows count."""
        return np.ones(len(rows))

    def labels(self, rows: Rows, risk: Risk) -> Floats:
        """(n,) 1 churns, 0 does not, between them where it is not known yet."""
        return self.stream.labels[rows].astype(np.float64)


class CensoredLessons(Lessons):
    """Labels that come late: an example counts from the day after it was asked, see :mod:`evergreen.retail.censoring`.

    Args:
        stream: of which examples are looked at from the day on which they are asked, labels from that on which they
            are told.
        first: day of the first labels to use.
        horizon: in days.
    """

    def __init__(self, stream: Stream, first: int, horizon: int) -> None:
        super().__init__(stream)
        self.curve, self.today = ReturnCurve(horizon, half_life=horizon), first - 1
        self._recency = stream.features[:, -3].astype(np.int64)
        # where earlier labels are left out, what was asked earlier is a choice of late ones
        begin = first if (stream.told < first).any() else int(stream.asked.min())
        rows = np.flatnonzero(stream.asked >= begin)
        self._rows = rows[np.argsort(stream.asked[rows], kind="stable")]
        self._asked = stream.asked[self._rows]

    def tell(self, day: int, rows: Rows) -> None:
        """All labels of a day; days come in order."""
        stream = self.stream
        before = self._between(self.today, day)
        before = before[stream.told[before] > stream.asked[before]]
        back = rows[(stream.told[rows] - stream.asked[rows] == 1) & ~stream.labels[rows]]
        self.curve.learn(self._count(before), self._count(back), day - self.today)
        self.today = day

    def recent(self, days: int | None = None) -> Rows:
        """The rows asked in the last days up to today, or in all."""
        return self._between(self.today + 1 - days if days else 0, self.today + 1)

    def fair(self, rows: Rows) -> Rows:
        """Those whose horizon is over; all where a class is missing."""
        over = rows[self.stream.asked[rows] + self.curve.horizon - self._recency[rows] <= self.today]
        chosen = over if len(np.unique(self.stream.labels[over])) == 2 else rows
        return chosen[np.argsort(self.day(chosen), kind="stable")]

    def day(self, rows: Rows) -> NDArray[np.int64]:
        """(n,) by which memory fades."""
        return self.stream.asked[rows]

    def weights(self, rows: Rows) -> Floats:
        """(n,) the share of the horizon that is over, whatever has become of the customer."""
        return self.curve.over(self._recency[rows], self.today - self.stream.asked[rows])

    def labels(self, rows: Rows, risk: Risk) -> Floats:
        """(n,) as told, or what is to be expected after the silence up to today."""
        found = self.stream.labels[rows].astype(np.float64)
        silent = self.stream.told[rows] > self.today
        asked = rows[silent]
        elapsed = self.today - self.stream.asked[asked]
        found[silent] = self.curve.expected(risk(asked), self._recency[asked], elapsed)
        return found

    def prior(self, rows: Rows) -> Floats:
        """(n,) the risk by recency alone."""
        return np.exp(-self.curve.left(self._recency[rows]))

    def _between(self, first: int, end: int) -> Rows:
        """The rows asked on the days from ``first`` on, before ``end``."""
        low, high = np.searchsorted(self._asked, [first, end])
        return self._rows[low:high]

    def _count(self, rows: Rows) -> Floats:
        return np.bincount(self._recency[rows], minlength=self.curve.horizon)[: self.curve.horizon].astype(np.float64)
