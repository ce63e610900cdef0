"""The published loop around a churn model: one bit a day, ADWIN, a new fit on the days since the change.

Pasquadibisceglie et al. 2023, section 4.4. Each day's bit says whether the macro-F of that day's examples is at least
that of the first model on its own training examples. Kept as published: the threshold is a training score and stays,
the scaler stays, a day of 5 examples weighs as much as one of 9,000, a day of one class is nearly always a 0, and
ADWIN looks for a change every 32nd day alone (river's default clock).

Left out, as an accident of the published code that changes no idea of it: a day's examples are predicted by the model
that is in service when they are *asked*. In the published view that is the day of their label; at decision time it is
the day on which they arise.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.progress import track
from evergreen.retail.protocol import DayBlock, RunInput, RunOutput

Features = NDArray[np.float32]
Labels = NDArray[np.bool_]
EPOCH = date(1970, 1, 1)


class DailySettings(Config):
    """The detector of the loop.

    Attributes:
        delta: ADWIN's confidence, as published.
        clock: ADWIN looks for a change every so many days; 32 is river's default and so the published system's.
    """

    delta: float = pydantic.Field(0.2, gt=0, lt=1)
    clock: int = pydantic.Field(32, ge=1)


class DailyModel(Protocol):
    """A model that is fitted once, answers, and is fitted anew after a drift. Features come scaled."""

    def answer(self, features: Features) -> NDArray[np.float64]:
        """(n, d) → (n,) probabilities of churn."""

    def adapt(self, features: Features, labels: Labels) -> float | None:
        """Learn the rows of the days since the change, of both classes; returns the FLOPs if they can be counted."""


@dataclass(frozen=True)
class Scaler:
    """Each column to 0..1 over the initial examples; never fitted again. Later rows may fall outside."""

    lowest: NDArray[np.float64]
    width: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> "Scaler":
        lowest, width = features.min(axis=0), np.ptp(features, axis=0)
        return cls(lowest, np.where(width > 0, width, 1.0))

    def __call__(self, features: NDArray[np.float64]) -> Features:
        return ((features - self.lowest) / self.width).astype(np.float32)


def run_daily(data: RunInput, fit: Callable[[Features, Labels], DailyModel], settings: DailySettings) -> RunOutput:
    """Fit a model on the initial days, then answer, watch and adapt day by day.

    Args:
        data: the stream and its days.
        fit: builds the first model from the initial examples, scaled.
        settings: of the detector.

    Returns:
        Answers, drifts, and the last model with its scaler as ``bundle``.
    """
    stream, output = data.stream, RunOutput.empty(len(data.stream))
    started = time.perf_counter()
    scaler = Scaler.of(stream.features[data.initial])
    features = scaler(stream.features)
    model = fit(features[data.initial], stream.labels[data.initial])
    output.seconds = {"train": time.perf_counter() - started, "answer": 0.0, "adapt": 0.0}
    watch = _Watch(data, model.answer(features[data.initial]), settings)
    version = 1
    with track("days", total=len(data.blocks), unit="days") as progress:
        for block in data:
            started = time.perf_counter()
            if len(block.ask):
                output.scores[block.ask] = model.answer(features[block.ask])
                output.versions[block.ask] = version
            answered = time.perf_counter()
            rows = watch.alarm(block, output.scores)
            if rows is not None:
                whole = len(np.unique(stream.labels[rows])) == 2
                flops = model.adapt(features[rows], stream.labels[rows]) if whole else None
                version += whole
                output.drifts.append(watch.record(block, len(rows), flops, whole))
            output.seconds["answer"] += answered - started
            output.seconds["adapt"] += time.perf_counter() - answered
            progress.advance()
    asked = output.versions > 0
    output.predictions[asked] = output.scores[asked] >= 0.5
    output.notes = {"threshold": watch.threshold, "drifts": len(output.drifts)}
    output.bundle = (model, scaler)
    return output


class _Watch:
    """The bits of the days, the detector that reads them, and the rows of the days in its window."""

    def __init__(self, data: RunInput, scores: NDArray[np.float64], settings: DailySettings) -> None:
        from river.drift import ADWIN

        self.labels = data.stream.labels
        self.frames: list[NDArray[np.int64]] = []
        self.detector = ADWIN(delta=settings.delta, clock=settings.clock)  # type: ignore[no-untyped-call]
        self.threshold = macro_f(self.labels[data.initial], scores >= 0.5)
        told = data.stream.told[data.initial]
        for day in np.unique(told):
            rows, answers = data.initial[told == day], scores[told == day]
            self._see(rows, answers)

    def _see(self, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> bool:
        self.frames.append(rows)
        known = np.isfinite(scores)  # at decision time the first days tell rows that were never asked
        if known.any():
            good = macro_f(self.labels[rows[known]], scores[known] >= 0.5) >= self.threshold
            self.detector._drift_detected = False  # else river starts anew after an alarm; the published system did not
            self.detector.update(int(good))  # type: ignore[no-untyped-call]
            return bool(self.detector.drift_detected)
        return False

    def alarm(self, block: DayBlock, scores: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """Take a day's labels; the rows of the last days, as many as ADWIN keeps, if it sees a change."""
        if not len(block.tell) or not self._see(block.tell, scores[block.tell]):
            return None
        return np.concatenate(self.frames[-max(1, int(self.detector.width)) :])

    def record(self, block: DayBlock, rows: int, flops: float | None, adapted: bool) -> dict[str, object]:
        """The entry of drifts.json."""
        return {
            "day": (EPOCH + timedelta(days=int(block.day))).isoformat(),
            "detector": "adwin",
            "state": {"width": int(self.detector.width), "mean": float(self.detector.estimation)},
            "adaptation": "finetune" if adapted else None,
            "rows": rows,
            "flops": flops,
            "gain": None,
            "decision": "promoted" if adapted else "kept: the window holds one class",
        }


def macro_f(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> float:
    """Mean F of the classes that occur in the labels or in the predictions, as scikit-learn's ``f1_score`` has it.

    >>> macro_f(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    scores = []
    for value in (False, True):
        true, predicted = labels == value, predictions == value
        if either := int(true.sum()) + int(predicted.sum()):
            scores.append(2 * int((true & predicted).sum()) / either)
    return float(np.mean(scores)) if scores else 0.0
