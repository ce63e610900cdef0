"""From probabilities to answers that macro-F rewards: rare activities are worth an answer sooner than frequent ones.

Macro-F is the mean of F_a = 2 tp_a / (n_a + m_a) over the activities: tp right answers, n occurrences, m answers. One
more answer a, right with probability p, changes F_a by about (2 p − F_a) / (n_a + m_a). So the best answer is the
activity for which that is largest, and an activity's threshold is half the F that it reaches (Lipton et al. 2014,
Optimal thresholding of classifiers to maximize F1 measure), weighed by how rare it is.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evergreen.process.contexts import Ints
from evergreen.process.mixture import STEP, Probabilities

PRIOR, PRIOR_F = 5.0, 0.1
"""Pseudo-occurrences of an activity, and the F that is expected of them."""
SOFT = 0.5
"""Share of an event that is counted by its probabilities, which vary less than what happened."""
SURE = 0.5
"""An activity that has not occurred since counting began is answered only if it is that probable.

A single wrong answer would add a class with F = 0 to the mean.
"""


class MacroF:
    """The counts behind F, which change every :data:`~evergreen.process.mixture.STEP` events."""

    def __init__(self) -> None:
        self.events = 0
        self._sums = np.zeros((4, 0))
        self._pending = np.zeros((4, 0))

    def decide(self, probabilities: Probabilities) -> Ints:
        """(n,) answers to (n, C) probabilities."""
        self._grow(probabilities.shape[1])
        right, occurred, answered, seen = self._sums
        size = occurred + answered + PRIOR
        reached = (2 * right + PRIOR_F * PRIOR) / size
        gain = (2 * probabilities - reached) / size
        gain[(probabilities <= 0) | ((seen == 0) & (probabilities < SURE))] = -np.inf
        best: Ints = gain.argmax(1)
        nothing = np.isneginf(gain[np.arange(len(best)), best])
        return np.where(nothing, probabilities.argmax(1), best)

    def follow(self, probabilities: Probabilities, labels: Ints, counts: NDArray[np.bool_]) -> Ints:
        """(n,) answers to events in their order, the counts learning from each before their next step.

        Args:
            probabilities: (n, C).
            labels: (n,) what happened.
            counts: (n,) whether an event is one of those by which the answers are judged.
        """
        result = np.empty(len(labels), np.int64)
        start = 0
        while start < len(labels):
            stop = min(len(labels), start + STEP - self.events % STEP)
            result[start:stop] = self.decide(probabilities[start:stop])
            self._learn(probabilities[start:stop], labels[start:stop], result[start:stop], counts[start:stop])
            start = stop
        return result

    def _learn(self, probabilities: Probabilities, labels: Ints, answers: Ints, counts: NDArray[np.bool_]) -> None:
        self.events += len(labels)
        probabilities, labels, answers = probabilities[counts], labels[counts], answers[counts]
        classes = probabilities.shape[1]
        right, occurred, answered, seen = self._pending
        hit = answers == labels
        of_answer = probabilities[np.arange(len(answers)), answers]
        happened = np.bincount(labels[labels < classes], minlength=classes)
        right[:classes] += np.bincount(answers, (1 - SOFT) * hit + SOFT * of_answer, classes)
        occurred[:classes] += (1 - SOFT) * happened + SOFT * probabilities.sum(0)
        answered[:classes] += np.bincount(answers, minlength=classes)
        seen[:classes] += happened
        if self.events % STEP == 0:
            self._sums += self._pending
            self._pending[:] = 0

    def _grow(self, classes: int) -> None:
        missing = classes - self._sums.shape[1]
        if missing > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, missing)))
            self._pending = np.pad(self._pending, ((0, 0), (0, missing)))

    def copy(self) -> Self:
        """One that may be changed without changing this one."""
        other = type(self)()
        other.restore(self.arrays())
        return other

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All it knows, as arrays."""
        return {"sums": self._sums.copy(), "pending": self._pending.copy(), "events": np.array([self.events])}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Know what another one knew."""
        self._sums, self._pending = arrays["sums"].copy(), arrays["pending"].copy()
        self.events = int(arrays["events"][0])
