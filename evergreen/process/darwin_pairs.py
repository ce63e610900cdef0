"""What DARWIN learns from: each event that is not the first of its case, with the path of its case before it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evergreen.process.prefixes import PublishedPrefixes
from evergreen.process.stream import EventStream
from evergreen.process.word2vec import Bags, prefix_bags

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """P pairs in the order of the stream.

    Attributes:
        row: (P,) rows of the stream that are to be predicted.
        asked_at: (P,) rows of the events before them in their cases: when the prediction is made.
        label: (P,) their activities.
        window: (P,) number of the window that is seen, in ``windows``.
        windows: (W, 4) distinct windows in order of appearance, -1 for padding.
        tokens: (T,) the paths of all cases one after the other, in which no activity follows itself more than once.
        start: (P,) where the path of the pair's case begins in ``tokens``.
        length: (P,) of the path before the event.
    """

    row: Rows
    asked_at: Rows
    label: Rows
    window: Rows
    windows: Rows
    tokens: Rows
    start: Rows
    length: Rows

    @classmethod
    def of(cls, stream: EventStream, row: Rows) -> Self:
        """The pairs of the rows of a stream that are to be predicted, none of them the first of its case."""
        windows, window = distinct_rows(PublishedPrefixes(stream).before(row).astype(np.int64))
        order = np.argsort(stream.case, kind="stable")
        kept = ~_third_of_a_run(stream)[order]
        taken = np.cumsum(kept)  # tokens up to and with each event
        length = np.empty(len(stream), np.int64)
        head = np.concatenate([[0], taken])[np.flatnonzero(stream.previous[order] < 0)]
        which = np.cumsum(stream.previous[order] < 0) - 1
        start = np.empty(len(stream), np.int64)
        start[order] = head[which]
        length[order] = taken - head[which]
        asked_at = stream.previous[row]
        return cls(
            row=row,
            asked_at=asked_at,
            label=stream.activity[row].astype(np.int64),
            window=window,
            windows=windows,
            tokens=stream.activity[order][kept].astype(np.int64),
            start=start[row],
            length=length[asked_at],
        )

    def bags(self, first: int, last: int) -> Bags:
        """The corpus of pairs ``first`` to ``last`` - 1: a sentence is the whole path before the event."""
        return prefix_bags(self.tokens, self.start[first:last], self.length[first:last])


def distinct_rows(rows: Rows) -> tuple[Rows, Rows]:
    """The distinct rows in order of appearance, and for each row which one it is."""
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return rows[first[order]], number[which.ravel()]


def _third_of_a_run(stream: EventStream) -> NDArray[np.bool_]:
    """(N,) whether the two events before in the case have the same activity: such events add nothing to the path."""
    previous, activity = stream.previous, stream.activity
    repeats: NDArray[np.bool_] = (previous >= 0) & (activity[previous] == activity)
    return np.logical_and(repeats, repeats[previous])
