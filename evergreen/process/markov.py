"""The baseline that beats most published systems: a Markov model of variable order that counts every event.

For each event the longest suffix of up to six activities of its case that was seen at least three times; the activity
that followed it most often, after division by the activity's share of all events to the power 0.4, which gives rare
activities a chance.
"""

import time
from collections import Counter, defaultdict, deque

import numpy as np
import pydantic

from evergreen.config import Config
from evergreen.process.protocol import RunInput, RunOutput

Context = tuple[int, ...]


class MarkovConfig(Config):
    """Settings.

    Attributes:
        order: longest suffix.
        observations: that a suffix needs.
        exponent: of the share of all events that a score is divided by; 0 does not divide.
    """

    order: int = pydantic.Field(6, ge=0)
    observations: int = pydantic.Field(3, ge=1)
    exponent: float = pydantic.Field(0.4, ge=0)


class Markov:
    """Counts of what followed each suffix."""

    def __init__(self, config: MarkovConfig | None = None) -> None:
        self.config = config or MarkovConfig()
        self._followed: defaultdict[Context, Counter[int]] = defaultdict(Counter)
        self._all: Counter[int] = Counter()

    def answer(self, before: Context) -> tuple[int, float]:
        """The next activity and its share after the suffix; (-1, NaN) before anything was learned."""
        for length in range(min(self.config.order, len(before)), -1, -1):
            counts = self._followed.get(before[len(before) - length :])
            if counts is not None and (counts.total() >= self.config.observations or not length):
                exponent = self.config.exponent
                best = max(counts, key=lambda activity: counts[activity] / self._all[activity] ** exponent)
                return best, counts[best] / counts.total()
        return -1, float("nan")

    def learn(self, before: Context, activity: int) -> None:
        """Count what followed."""
        for length in range(min(self.config.order, len(before)) + 1):
            self._followed[before[len(before) - length :]][activity] += 1
        self._all[activity] += 1


def markov(run: RunInput) -> RunOutput:
    """The baseline on a stream; its settings are those of :class:`MarkovConfig`."""
    started = time.perf_counter()
    config = MarkovConfig.read(run.settings, "settings of markov")
    stream, model = run.stream, Markov(config)
    scored = stream.asked & (np.arange(len(stream)) >= run.cut)
    cases: dict[int, deque[int]] = {}
    predictions = np.full(len(stream), -1, np.int64)
    scores = np.full(len(stream), np.nan)
    following = stream.next.tolist()
    for row, (case, activity) in enumerate(zip(stream.case.tolist(), stream.activity.tolist(), strict=True)):
        path = cases.setdefault(case, deque(maxlen=max(config.order, 1)))
        if stream.asked[row]:
            before = tuple(path)
            if scored[row] and not run.ahead:
                predictions[row], scores[row] = model.answer(before)
            model.learn(before, activity)
        path.append(activity)
        if run.ahead and (after := following[row]) >= 0 and scored[after]:
            predictions[after], scores[after] = model.answer(tuple(path))
        if activity == stream.end:
            del cases[case]
    run.progress.advance(len(stream))
    at = np.flatnonzero(scored)
    answers = np.where(predictions[at] >= 0, predictions[at], 0)
    seconds = {"answer": time.perf_counter() - started}
    return RunOutput(at, answers, scores[at], np.ones(len(at), np.int64), [], seconds)
