"""How well next activities were foreseen: over time, by activity, and what was taken for what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.report.process_inputs import ModelAnswers

WINDOW = 1000
"""Scored events in the sliding window, fewer where the stream is short."""
POINTS = 240
"""Places at which the curve is computed."""


@dataclass(frozen=True)
class Curve:
    """Macro-F in a sliding window.

    Attributes:
        scored: (P,) events scored up to the end of the window.
        moment: (P,) when that was, microseconds since 1970 (UTC).
        macro_f1: (P,).
        window: events in it.
    """

    scored: NDArray[np.int64]
    moment: NDArray[np.int64]
    macro_f1: NDArray[np.float64]
    window: int


@dataclass(frozen=True)
class ActivityScore:
    """How well one activity was foreseen. Fractions of 1; ``best_other`` is the best F of another model, if any."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    best_other: float | None = None
    other: str | None = None


@dataclass(frozen=True)
class Mixups:
    """Counts by true activity (rows) and predicted activity (columns); the last column holds all others."""

    rows: list[str]
    columns: list[str]
    counts: list[list[int]]
    shares: list[list[float]]


def window_of(scored: int) -> int:
    """The sliding window for so many scored events: :data:`WINDOW`, or a fifth of a short stream."""
    return max(1, min(WINDOW, scored // 5))


def sliding(answers: ModelAnswers) -> Curve:
    """Macro-F over the last events, at even distances along the stream."""
    scored = len(answers.label)
    window = window_of(scored)
    step = max(1, (scored - window) // POINTS)
    ends = np.arange(scored, window - 1, -step)[::-1] if scored else np.zeros(0, np.int64)
    values = [macro_f1(answers.prediction[end - window : end], answers.label[end - window : end]) for end in ends]
    return Curve(ends.astype(np.int64), answers.moment[ends - 1], np.array(values, float), window)


def macro_f1(prediction: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """Mean F over the classes that are predicted or true; 0 if there are none."""
    size = int(max(prediction.max(initial=-1), label.max(initial=-1))) + 1
    right = np.bincount(label[prediction == label], minlength=size)
    either = np.bincount(label, minlength=size) + np.bincount(prediction, minlength=size)
    seen = either > 0
    return float((2 * right[seen] / either[seen]).mean()) if seen.any() else 0.0


def by_activity(answers: ModelAnswers, others: dict[str, ModelAnswers]) -> list[ActivityScore]:
    """Every activity that was predicted or true, the most frequent first."""
    mine = _counts(answers)
    rivals = {name: _f1(_counts(other)) for name, other in others.items()}
    right, said, true = mine
    scores = _f1(mine)
    rows = []
    for code in np.argsort(-true, kind="stable").tolist():
        if not said[code] + true[code]:
            continue
        best = max(rivals, key=lambda name: rivals[name][code], default=None)
        rows.append(
            ActivityScore(
                answers.classes[code],
                float(right[code] / said[code]) if said[code] else 0.0,
                float(right[code] / true[code]) if true[code] else 0.0,
                float(scores[code]),
                int(true[code]),
                float(rivals[best][code]) if best else None,
                best,
            )
        )
    return rows


def _counts(answers: ModelAnswers) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    size = len(answers.classes)
    right = np.bincount(answers.label[answers.prediction == answers.label], minlength=size)
    return right, np.bincount(answers.prediction, minlength=size), np.bincount(answers.label, minlength=size)


def _f1(counts: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    right, said, true = counts
    return np.asarray(2 * right / np.maximum(said + true, 1), np.float64)


def mixups(answers: ModelAnswers, most: int) -> Mixups:
    """The confusion matrix of the most frequent activities."""
    size = len(answers.classes)
    table = np.bincount(answers.label * size + answers.prediction, minlength=size * size).reshape(size, size)
    shown = [code for code in np.argsort(-table.sum(axis=1), kind="stable")[:most].tolist() if table[code].sum()]
    part = table[np.ix_(shown, shown)]
    rest = table[shown].sum(axis=1) - part.sum(axis=1)
    full = np.concatenate([part, rest[:, None]], axis=1) if rest.any() else part
    shares = full / np.maximum(full.sum(axis=1, keepdims=True), 1)
    names = [answers.classes[code] for code in shown]
    return Mixups(names, [*names, "others"] if rest.any() else names, full.tolist(), shares.tolist())
