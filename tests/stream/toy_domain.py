"""A domain small enough to reason about: points on a line, two classes, a threshold as the model.

A model's name is the threshold itself. Its harm is computed, not estimated: the share of a window's points that lie
between the threshold and the true border.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from evergreen.stream.adaptation import Adapted, Answers, Difference, Evidence, Scope, WindowRef
from evergreen.stream.harm import HarmEstimate
from evergreen.stream.loop import LoopConfig
from evergreen.stream.promotion import Decision
from evergreen.stream.regimes import Answered, RegimePolicy, decide_regimes

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 200


@dataclass(frozen=True)
class Day:
    """Points of a day; the border between the classes is at ``border``, and so is the middle of the points."""

    values: np.ndarray
    border: float

    @classmethod
    def draw(cls, border: float, seed: int) -> "Day":
        return cls(np.random.default_rng(seed).normal(border, 1, ROWS), border)

    @property
    def labels(self) -> np.ndarray:
        return np.where(self.values > self.border, "high", "low")


class ToyDomain:
    """A stream of such days. A tenth of the labels is known, another tenth held out for proof."""

    policies = ("none", "refit", "spoil")

    def __init__(self, days: Sequence[Day], *, flops: float = 0.0, min_proof: int = 20, harmless: bool = False) -> None:
        self.days = list(days)
        self.flops = flops
        self.harmless = harmless
        self.regimes = RegimePolicy(min_rows=min_proof, old_margin=1.0)  # the border moved: the old one is gone
        self.calls: list[tuple[str, str]] = []
        self.windows = [
            WindowRef(f"{number:03d}-{hash_of(day)}", BEGIN + number * DAY, BEGIN + (number + 1) * DAY, len(day.values))
            for number, day in enumerate(self.days)
        ]

    def day(self, window: str) -> Day:
        return self.days[int(window[:3])]

    def answer(self, model: str, window: str) -> Answers:
        day, number = self.day(window), int(window[:3])
        count = len(day.values)
        start = int((BEGIN + number * DAY).timestamp()) * 1_000_000
        times = start + np.arange(count) * (86_400_000_000 // count)
        known = np.arange(count) % 10 == 0
        said = np.where(day.values > float(model), "high", "low")
        labels = np.where(known, day.labels, None)
        right = np.where(known, np.where(said == day.labels, 0.9, 0.1), np.nan)
        names = np.array([f"{number}-{row}" for row in range(count)])
        return Answers(names, times, said, np.full(count, 0.9), labels, right)

    def compare(self, model: str, reference: Sequence[str], window: str) -> Difference:
        past = np.concatenate([self.day(name).values for name in reference])
        now = self.day(window).values
        z = abs(now.mean() - past.mean()) / np.sqrt(1 / len(now) + 1 / len(past))
        drift = bool(z > 4)
        began = next(ref.start for ref in self.windows if ref.window_id == window)
        return Difference(drift, float(z), None, ("value",) if drift else (), began if drift else None)

    def harm(self, model: str, reference: Sequence[str], window: str) -> HarmEstimate:
        day = self.day(window)
        fall = float(np.mean((day.values > float(model)) != (day.values > day.border)))
        fall = 0.0 if self.harmless else fall
        return HarmEstimate(fall, fall, fall, fall >= 0.03, ("value",))

    def evidence(self, scope: Scope) -> Evidence:
        days = self._new(scope)
        labels = np.concatenate([day.labels[::10] for day in days])
        return Evidence(sum(len(day.values) for day in days), len(labels), len(set(labels)))

    def adapt(self, policy: str, model: str, scope: Scope) -> Adapted:
        self.calls.append((policy, scope.windows[-1]))
        if policy == "none":
            return Adapted(model, 0.0)
        if policy == "spoil":
            return Adapted(repr(float(model) - 1.0), self.flops)
        days = self._new(scope)
        values = np.concatenate([day.values[::10] for day in days])
        labels = np.concatenate([day.labels[::10] for day in days])
        middle = (values[labels == "low"].max() + values[labels == "high"].min()) / 2
        return Adapted(repr(float(middle)), self.flops)

    def prove(self, challenger: str, champion: str, scope: Scope) -> Decision:
        new, sides = {name for name in scope.windows if self._is_new(name, scope)}, []
        for wanted in (True, False):
            days = [self.day(name) for name in scope.windows if (name in new) == wanted]
            values = np.concatenate([day.values[1::10] for day in days] or [np.empty(0)])
            labels = np.concatenate([day.labels[1::10] for day in days] or [np.empty(0, dtype=str)])
            said = [np.where(values > float(model), "high", "low") for model in (challenger, champion)]
            sides.append(Answered(labels, *said))
        return decide_regimes(sides[0], sides[1], self.regimes, seed=0)

    def _is_new(self, window: str, scope: Scope) -> bool:
        return next(ref.end for ref in self.windows if ref.window_id == window) > scope.change_point

    def _new(self, scope: Scope) -> list[Day]:
        return [self.day(name) for name in scope.windows if self._is_new(name, scope)]


def hash_of(day: Day) -> str:
    return f"{zlib.crc32(day.values.tobytes()):08x}"


QUIET = [Day.draw(0.0, seed) for seed in range(6)]
SHIFTED = [Day.draw(2.0, seed) for seed in range(10, 16)]
REFIT = LoopConfig(policy="refit", min_rows=100, min_labels=5)
