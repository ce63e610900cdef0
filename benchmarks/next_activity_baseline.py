"""A simple online model of the next activity of a case: counts by the last activities, backing off to shorter ones."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

Activities = Sequence[str]


@dataclass(frozen=True)
class Answer:
    """What the model said of one event before it learned from it.

    Attributes:
        loss: −log of the probability that the activity had, in nats.
        wrong: whether another activity was more probable; the first event of a stream is always wrong.
    """

    loss: float
    wrong: bool


@dataclass
class _Counts:
    total: int = 0
    of: dict[str, int] = field(default_factory=dict)


class NextActivityModel:
    """Interpolated counts (Witten & Bell 1991): the more different activities followed, the more is left to others.

    P(a | last k) = (count of a + d · P(a | last k − 1)) / (count of all + d), with d the number of different
    activities seen after the last k; before any, all activities known and one unknown one are equally probable.
    """

    def __init__(self, order: int = 3) -> None:
        self.order = order
        self.forget()

    def forget(self) -> None:
        """Start again from nothing: what is done after an alarm."""
        self._counts: dict[Hashable, _Counts] = {}
        self._known: set[str] = set()

    def answer(self, before: Activities, activity: str) -> Answer:
        """How well the model foresees the activity after those of the case before it, oldest first."""
        probability = 1 / (len(self._known) + 1)
        likeliest = None
        for context in self._contexts(before):
            counts = self._counts.get(context)
            if counts is None:
                break
            different = len(counts.of)
            probability = (counts.of.get(activity, 0) + different * probability) / (counts.total + different)
            likeliest = max(counts.of, key=counts.of.__getitem__)
        return Answer(-math.log(probability), likeliest != activity)

    def learn(self, before: Activities, activity: str) -> None:
        """Count the activity after those before it."""
        self._known.add(activity)
        for context in self._contexts(before):
            counts = self._counts.setdefault(context, _Counts())
            counts.total += 1
            counts.of[activity] = counts.of.get(activity, 0) + 1

    def _contexts(self, before: Activities) -> list[Hashable]:
        last = tuple(before[-self.order :]) if self.order else ()
        return [last[len(last) - length :] for length in range(len(last) + 1)]
