"""What the churn network sees of an example: its own columns, encoded; nothing beside them.

Days are measured in churn horizons and money in typical receipts, so that one configuration serves every shop and
currency. Recencies are given as piecewise-linear codes (Gorishniy et al. 2022, On embeddings for numerical features):
the risk of a silent customer bends, and a network learns a bend sooner from a code than from a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Encoded = NDArray[np.float32]

KNOTS = np.array([0, 0.5, 1, 2, 4, 7, 11, 16, 23, 31, 40, 50, 61, 73, 86, 100, 112, 120]) / 120
"""Of a recency, in horizons: dense where a return is likeliest."""
GAP_KNOTS = np.linspace(0, 1, 13)
"""Of the gap before the last purchase, as a share of all periods."""
COUNTS = 6
"""Receipts of a period that are told apart."""
LIMIT = 6.0
"""Standard deviations at which an input is cut."""
LEAST_SPREAD = 0.05
"""Of an input: one that was constant at first must not explode when it changes."""


@dataclass(frozen=True)
class Encoder:
    """The code of an example.

    Attributes:
        period_days: length of a period.
        churn_days: the horizon.
        unit: a typical receipt: the median over the first examples with money in the youngest period.
        mean: (d,) of the first examples' codes.
        spread: (d,) standard deviation, not below :data:`LEAST_SPREAD`.
        wide: how many codes, the first ones, are ratios and logarithms; the others are piecewise-linear.
    """

    period_days: int
    churn_days: int
    unit: float
    mean: Encoded
    spread: Encoded
    wide: int

    @classmethod
    def fit(cls, features: Floats, period_days: int, churn_days: int) -> Self:
        """Measure the first examples (n, 3k), n at least 1."""
        frequency, money = features[:, -2], features[:, -1]
        paid = (frequency > 0) & (money > 0)
        unit = float(np.median(money[paid] / frequency[paid])) if paid.any() else 1.0
        ratios = np.hstack(_ratios(features, period_days, churn_days, unit))
        codes = np.hstack([ratios, *_pieces(features, period_days, churn_days)])
        spread = np.maximum(codes.std(axis=0), LEAST_SPREAD)
        return cls(
            period_days,
            churn_days,
            unit,
            codes.mean(axis=0).astype(np.float32),
            spread.astype(np.float32),
            ratios.shape[1],
        )

    def __call__(self, features: Floats) -> Encoded:
        """(n, 3k) → (n, d)."""
        days = self.period_days, self.churn_days
        parts = [*_ratios(features, *days, self.unit), *_pieces(features, *days)]
        codes: Encoded = np.hstack(parts, dtype=np.float32, casting="same_kind")
        codes -= self.mean
        codes /= self.spread
        return np.clip(codes, -LIMIT, LIMIT, out=codes)

    @property
    def width(self) -> int:
        return len(self.mean)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        numbers = {"mean": self.mean.tolist(), "spread": self.spread.tolist()}
        days = {"period_days": self.period_days, "churn_days": self.churn_days}
        return {**days, "unit": self.unit, "wide": self.wide, **numbers}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        arrays = {name: np.asarray(values[name], np.float32) for name in ("mean", "spread")}
        return cls(values["period_days"], values["churn_days"], values["unit"], wide=values["wide"], **arrays)


def _ratios(features: Floats, period_days: int, churn_days: int, unit: float) -> list[Floats]:
    """Logarithms and ratios, (n, 4k + 9) side by side."""
    recency, frequency = features[:, 0::3], features[:, 1::3]  # (n, k) each, oldest period first
    money = np.maximum(features[:, 2::3], 0) / unit
    periods = recency.shape[1]
    visits, paid = frequency.sum(axis=1), money.sum(axis=1)
    # how long the customer is known at least: the periods back to the oldest one with a purchase
    oldest = np.where((frequency > 0).any(axis=1), (frequency > 0).argmax(axis=1), periods - 1)
    known = (periods - oldest) * period_days
    since = np.where(recency[:, -1] < 0, period_days, recency[:, -1])
    gap = previous_gap(features, period_days)
    columns = [
        np.log1p(visits),
        np.log1p(paid),
        np.log1p(paid / np.maximum(visits, 1)),
        since * np.maximum(visits, 1) / known,  # the silence in mean gaps
        frequency[:, -1] / np.maximum(visits, 1),
        money[:, -1] / np.maximum(paid, 1e-9),
        gap / churn_days,
        np.log1p(since) - np.log1p(gap),
        np.log1p(since),
    ]
    silent = (recency < 0).astype(np.float64)
    return [recency / churn_days, np.log1p(frequency), np.log1p(money), silent, *(one[:, None] for one in columns)]


def previous_gap(features: Floats, period_days: int) -> Floats:
    """(n,) days from the last purchase before the youngest period to the one in it.

    That is the gap before the last purchase if there is a single one in the youngest period, else an upper bound. A
    customer without an older purchase gets the length of all periods.

    >>> previous_gap(np.array([[30.0, 1, 9.0, 10.0, 1, 9.0]]), period_days=120)
    array([140.])
    """
    recency = features[:, 0::3]
    count, periods = recency.shape
    since = np.where(recency[:, -1] < 0, period_days, recency[:, -1])
    gap = np.full(count, float(periods * period_days))
    for period in range(periods - 1):  # the youngest one with a purchase is written last
        seen = recency[:, period] >= 0
        gap[seen] = ((periods - 1 - period) * period_days + recency[:, period] - since)[seen]
    return np.asarray(np.maximum(gap, 0.0))


def _pieces(features: Floats, period_days: int, churn_days: int) -> list[Floats]:
    """Piecewise-linear codes of recencies, counts and the previous gap, (n, k·(17 + 6) + 12) side by side."""
    recency, frequency = features[:, 0::3], features[:, 1::3]
    seen = (recency >= 0).astype(float)
    parts = [_linear(recency[:, [p]] / churn_days, KNOTS) * seen[:, [p]] for p in range(recency.shape[1])]
    parts += [np.clip(frequency[:, [p]] - np.arange(COUNTS), 0, 1) for p in range(recency.shape[1])]
    single = (frequency[:, -1:] == 1).astype(float)
    share = previous_gap(features, period_days)[:, None] / (recency.shape[1] * period_days)
    return [*parts, _linear(share, GAP_KNOTS) * single]


def _linear(values: Floats, knots: Floats) -> Floats:
    """(n, 1) → (n, knots − 1): how far a value has gone through each interval, 0 to 1."""
    return np.asarray(np.clip((values - knots[:-1]) / np.diff(knots), 0, 1))
