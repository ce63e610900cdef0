"""The clock of a stream: how far event time has come, and which records' clocks jumped."""

from typing import Any

import numpy as np

from evergreen.stream.records import Flags, Times


class Clock:
    """Event time of one split of a stream: a folder, a table, a partition of a topic.

    The mark is the latest event time so far. A record more than ``ahead`` later than the mark does not move it: one
    wrong clock would close every window. Only when ``votes`` records in a row are ahead has the stream itself moved on,
    say after weeks of silence; the mark then follows them, and the records after them are normal again. The stream's
    first ``votes`` records are asked in the same way, because the very first may be the wrong one.

    Attributes:
        mark: microseconds since 1970; None before the first vote.
        suspects: times of the last records in a row that were ahead.
    """

    def __init__(self, ahead: int, votes: int) -> None:
        """Begin without a mark.

        Args:
            ahead: microseconds.
            votes: records.
        """
        self.ahead, self.votes = ahead, votes
        self.mark: int | None = None
        self.suspects: list[int] = []

    def begin(self, times: Times) -> None:
        """Let the first records say where the stream begins."""
        self.mark = first_mark(times, self.ahead)

    def advance(self, times: Times) -> tuple[Times, Flags]:
        """Move on by records in the order of their arrival.

        Args:
            times: (n,) event times.

        Returns:
            (n,) the mark before each record, and (n,) whether the record is ahead of time.
        """
        assert self.mark is not None, "begin() first"
        marks = np.maximum.accumulate(np.concatenate([[self.mark], times]))
        jumped = times - marks[:-1] > self.ahead
        if jumped.any():
            return self._advance_slowly(times)
        if len(times):
            self.suspects = []
            self.mark = int(marks[-1])
        return marks[:-1], jumped

    def _advance_slowly(self, times: Times) -> tuple[Times, Flags]:
        assert self.mark is not None
        before, ahead = np.empty(len(times), dtype=np.int64), np.zeros(len(times), dtype=bool)
        mark, suspects = self.mark, self.suspects
        for row, time in enumerate(times.tolist()):
            before[row] = mark
            if time <= mark + self.ahead:
                suspects.clear()
                mark = max(mark, time)
                continue
            ahead[row] = True
            suspects.append(time)
            if len(suspects) == self.votes:
                mark = max(mark, first_mark(np.array(suspects), self.ahead))
                suspects.clear()
        self.mark = mark
        return before, ahead

    def state(self) -> dict[str, Any]:
        return {"mark": self.mark, "suspects": self.suspects}

    def restore(self, state: dict[str, Any]) -> None:
        self.mark, self.suspects = state["mark"], list(state["suspects"])


def first_mark(times: Times, ahead: int) -> int:
    """Where a stream begins, by its first records: the earliest that is at most ``ahead`` before their median.

    >>> first_mark(np.array([4_000, 12, 10, 11]), ahead=100)
    10
    """
    ordered = np.sort(times)
    middle = ordered[(len(ordered) - 1) // 2]
    return int(ordered[ordered >= middle - ahead][0])
