"""How good churn models are over time, against each other, and how well their scores are chances."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.report.retail_ledger import Tally

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WINDOW_DAYS = 30
"""Days that a point of a curve looks back on, itself included."""
FEW = 25
"""Answers below which a bin of the score says nothing."""


@dataclass(frozen=True)
class DailyCurve:
    """A value for each day (D,), days counted from 1970-01-01."""

    days: Ints
    values: Floats


@dataclass(frozen=True)
class Calibration:
    """Mean score and share of churn of the answers in each bin of the score, (B,), and how many these are."""

    score: Floats
    churned: Floats
    answers: Ints
    error: float
    """Mean distance of the two, weighted by answers (expected calibration error)."""


def macro_f(confusions: Ints) -> Floats:
    """Macro-F of counts (…, 2, 2) label × prediction: (…,). A class that neither occurs nor is predicted is left out.

    NaN where nothing was counted.
    """
    right = np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)  # (…, 2)
    either = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        f = np.where(either > 0, 2 * right / either, np.nan)
        seen = (either > 0).sum(axis=-1)
        return np.asarray(np.nansum(f, axis=-1) / np.where(seen > 0, seen, np.nan))


def windowed(tally: Tally, window_days: int = WINDOW_DAYS) -> DailyCurve:
    """Macro-F over all answers of the last days, at each day with answers."""
    days, total = tally.days(), _running(tally)
    first = np.searchsorted(days, days - window_days, side="right")
    return DailyCurve(days, macro_f(total[1:] - total[first]))


def cumulative(tally: Tally) -> DailyCurve:
    """Macro-F over all answers up to each day."""
    return DailyCurve(tally.days(), macro_f(_running(tally)[1:]))


def _running(tally: Tally) -> Ints:
    counts = tally.confusions()
    return np.concatenate([np.zeros((1, 2, 2), np.int64), counts.cumsum(axis=0)])


def lead(main: DailyCurve, other: DailyCurve) -> DailyCurve:
    """By how much one model is ahead of another, on the days that both have."""
    days, one, two = np.intersect1d(main.days, other.days, return_indices=True)
    return DailyCurve(days, main.values[one] - other.values[two])


def balance(tallies: Mapping[str, Tally], window_days: int) -> DailyCurve:
    """Share of churn among the labels that became known in the last days, by any model's ledger: they see the same."""
    longest = max(tallies.values(), key=lambda tally: len(tally.told), default=Tally())
    days = np.array(sorted(longest.told), np.int64)
    counts = np.array([longest.told[day] for day in days.tolist()], np.int64).reshape(-1, 2)
    total = np.concatenate([np.zeros((1, 2), np.int64), counts.cumsum(axis=0)])
    recent = total[1:] - total[np.searchsorted(days, days - window_days, side="right")]
    return DailyCurve(days, recent[:, 1] / np.maximum(recent.sum(axis=1), 1))


def calibration(tally: Tally) -> Calibration | None:
    """How well the scores are chances; None if there are too few answers."""
    answers = tally.bins[:, 0]
    enough = answers >= FEW
    if not enough.any():
        return None
    score, churned = tally.bins[enough, 1] / answers[enough], tally.bins[enough, 2] / answers[enough]
    error = float(np.average(np.abs(score - churned), weights=answers[enough]))
    return Calibration(score, churned, answers[enough].astype(np.int64), error)
