"""Log-odds → class, tuned for macro-F on the model's own answers to earlier days.

Where labels come at once, :class:`Threshold` cuts where it would have been best on them. Where they come a horizon
late, they tell how the answers of a horizon ago should have been cut; :class:`ExpectedThreshold` uses the risks.

Everything is counted in bins of the log-odds, so a day costs the same however long its memory is.
"""

import numpy as np
from numpy.typing import NDArray

BINS = 800
LIMIT = 10.0
"""Log-odds beyond it share a bin."""
WINDOWS = (30, 60, 120, None)
"""Days that candidates look back; None: all."""
HALF_LIFE = 60.0
"""Days after which a candidate's success counts half."""
RISK_HALF_LIFE = 30.0
"""Days after which the risks of a day count half."""

Counts = NDArray[np.int64]
Weights = NDArray[np.float64]


def bin_of(log_odds: NDArray[np.float64]) -> Counts:
    """(n,) → (n,) number of the bin, 0 to BINS − 1."""
    return np.clip((log_odds + LIMIT) * (BINS / (2 * LIMIT)), 0, BINS - 1).astype(np.int64)


def count(log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> Counts:
    """(2, BINS) answers by label and bin."""
    places = bin_of(log_odds) + BINS * labels
    return np.bincount(places, minlength=2 * BINS).reshape(2, BINS)


def best_cut(counts: Counts | Weights) -> int | None:
    """The bin from which on churn is answered, with the best macro-F; None if there is only one class.

    Args:
        counts: (2, BINS) by label and bin.
    """
    if not counts.any(axis=1).all():
        return None
    below = np.concatenate([np.zeros((2, 1), counts.dtype), counts.cumsum(axis=1)], axis=1)  # (2, BINS + 1)
    stay, churn = below[0, -1], below[1, -1]
    true_stay, false_stay = below
    true_churn, false_churn = churn - false_stay, stay - true_stay
    f_churn = 2 * true_churn / (true_churn + churn + false_churn)
    f_stay = 2 * true_stay / (true_stay + stay + false_stay)
    best = f_churn + f_stay
    # the middle of the best plateau: an empty stretch of bins says nothing of where to cut
    plateau = np.flatnonzero(best == best.max())
    run = plateau[: int(np.append(np.diff(plateau) != 1, True).argmax()) + 1]
    return int(run[(len(run) - 1) // 2])


def macro_f(confusion: NDArray[np.float64]) -> float:
    """Mean F of the two classes from (2, 2) counts, label × answer."""
    hits, errors = np.diag(confusion), confusion.sum() - np.trace(confusion)
    return float(np.mean(2 * hits / np.maximum(2 * hits + errors, 1e-12)))


class Cut:
    """Where the answers of the day are cut.

    Attributes:
        cut: the bin from which on churn is answered.
        window: days of labels that it looks back; None: all, or none are looked at.
    """

    cut: int = BINS // 2
    window: int | None = None

    @property
    def probability(self) -> float:
        """The risk at the cut."""
        return float(1 / (1 + np.exp(LIMIT - self.cut * 2 * LIMIT / BINS)))

    def churns(self, log_odds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) → (n,)."""
        return bin_of(log_odds) >= self.cut


class ExpectedThreshold(Cut):
    """The cut that would be best if the risks of the last days were true: a risk p counts as p churners, 1 - p others.

    Ye et al. 2012, Optimizing F-measures: a tale of two approaches. It is as good as the risks are calibrated.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, BINS))

    def answered(self, log_odds: NDArray[np.float64]) -> None:
        """The answers of a day; a day without any changes nothing."""
        if not len(log_odds):
            return
        risk, bins = 1 / (1 + np.exp(-log_odds.clip(-LIMIT, LIMIT))), bin_of(log_odds)
        new = np.stack([np.bincount(bins, weights, BINS) for weights in (1 - risk, risk)])
        self._counts = self._counts * 0.5 ** (1 / RISK_HALF_LIFE) + new
        found = best_cut(self._counts)
        self.cut = self.cut if found is None else found


class Threshold(Cut):
    """The cut of several memories that has served best lately."""

    def __init__(self) -> None:
        self._days: list[Counts] = []
        self._sums = [np.zeros((2, BINS), np.int64) for _ in WINDOWS]
        self._cuts = [BINS // 2] * len(WINDOWS)
        self._served = np.zeros((len(WINDOWS), 2, 2))
        self._chosen = len(WINDOWS) - 1

    def learn(self, log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
        """A day's labels and what was answered; a day without any changes nothing."""
        if not len(labels):
            return
        new = count(log_odds, labels)
        self._served *= 0.5 ** (1 / HALF_LIFE)
        for candidate, cut in enumerate(self._cuts):
            low, high = new[:, :cut].sum(axis=1), new[:, cut:].sum(axis=1)
            self._served[candidate] += np.column_stack([low, high])
        self._days.append(new)
        for candidate, window in enumerate(WINDOWS):
            self._sums[candidate] += new
            if window is not None and len(self._days) > window:
                self._sums[candidate] -= self._days[-1 - window]
            self._cuts[candidate] = best_cut(self._sums[candidate]) or self._cuts[candidate]
        self._chosen = max(range(len(WINDOWS)), key=lambda candidate: macro_f(self._served[candidate]))
        self.cut, self.window = self._cuts[self._chosen], WINDOWS[self._chosen]
