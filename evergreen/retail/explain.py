"""Why a customer is at risk: Shapley values of single decisions, fast enough for a whole day's customers.

The Shapley value of a feature is its average contribution to the score over all orders in which the features could be
made known, the unknown ones being those of a background customer (Lundberg & Lee 2017; the interventional kind). Here
each background row comes with one random order and its reverse. Every order adds up exactly from the background's
score to the customer's, so the sum of the values is the score minus the mean score of the background, however few
orders there are; only the division among the features is an estimate.

The functions are pure: they know a model as a function from features (n, d) to probabilities (n,).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Answer = Callable[[Floats], Floats]
"""Features (n, d) → probabilities of churn (n,)."""

AT_ONCE = 200_000
"""Rows that the model answers in one call: bounds the memory."""
ORDERS = 32
"""Background rows of an explanation, each with an order and its reverse."""


@dataclass(frozen=True)
class Attribution:
    """Explained decisions.

    Attributes:
        values: (n, d) contribution of each feature to the score.
        base: mean score of the background; ``base + values.sum(axis=1)`` is ``scores``.
        scores: (n,).
    """

    values: Floats
    base: float
    scores: Floats

    def additivity_error(self) -> float:
        """The largest distance between a score and what its explanation adds up to."""
        return float(np.abs(self.base + self.values.sum(axis=1) - self.scores).max(initial=0.0))


def attribute(
    answer: Answer, features: Floats, background: Floats, rng: np.random.Generator, *, orders: int = ORDERS
) -> Attribution:
    """Explain decisions against customers drawn from a background.

    Args:
        answer: the model.
        features: (n, d) of the decisions.
        background: (b, d), b at least 1: what a feature may be if it is not known.
        rng: draws background rows and orders.
        orders: background rows drawn; the model answers 2·d·orders rows a decision.
    """
    count, width = features.shape
    drawn = background[_stratified(answer(background), orders, rng)]
    sequences = rng.permuted(np.tile(np.arange(width), (orders, 1)), axis=1)  # (orders, d)
    values = np.zeros((count, width))
    scores, bases = answer(features), answer(drawn)
    step = max(1, AT_ONCE // (2 * width))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        for row, base, sequence in zip(drawn, bases, sequences, strict=True):
            values[rows] += _walk(answer, features[rows], row, sequence, scores[rows], base)
            values[rows] += _walk(answer, features[rows], row, sequence[::-1], scores[rows], base)
    return Attribution(values / (2 * orders), float(bases.mean()), scores)


def _stratified(scores: Floats, wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """One row at random of each of ``wanted`` equal slices of the rows in order of their score.

    Half as much noise as plain drawing: which customers a decision is held against matters more than the orders.
    """
    edges = np.linspace(0, len(scores), wanted + 1)
    places = edges[:-1] + rng.random(wanted) * np.diff(edges)
    return np.argsort(scores, kind="stable")[np.minimum(places.astype(np.int64), len(scores) - 1)]


def _walk(
    answer: Answer, features: Floats, row: Floats, sequence: NDArray[np.int64], end: Floats, base: float
) -> Floats:
    """What each feature adds when they become known one after the other, (n, d); the ends of the walk are known.

    A feature that has the background's value adds nothing, and the model is not asked: of customers who bought in one
    period only, that are most.
    """
    count, width = features.shape
    new = (features != row)[:, sequence]  # (n, d) in the order of the walk
    last = np.where(new.any(axis=1), width - 1 - np.argmax(new[:, ::-1], axis=1), -1)  # where the customer is whole
    whole = np.arange(width) >= last[:, None]
    asked, place = np.nonzero(new & ~whole)
    known = np.zeros((width, width), bool)
    for position in range(width):
        known[position:, sequence[position]] = True
    path = np.full((count, width + 1), base)
    if len(asked):
        path[asked, place + 1] = _answer_once(answer, np.where(known[place], features[asked], row))
    latest = np.maximum.accumulate(np.where(new, np.arange(1, width + 1), 0), axis=1)
    path[:, 1:] = np.where(whole, end[:, None], np.take_along_axis(path, latest, axis=1))
    added = np.empty((count, width))
    added[:, sequence] = np.diff(path, axis=1)
    return added


def _answer_once(answer: Answer, rows: Floats) -> Floats:
    """The answers for (n, d) rows, equal rows asked once: customers differ less while little of them is known."""
    keys = rows @ np.random.default_rng(0).random(rows.shape[1])  # tells rows apart, almost surely
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    if not np.array_equal(rows[first][group], rows):  # different rows with one key
        return answer(rows)
    return answer(rows[first])[group]


def feature_names(columns: Sequence[str]) -> list[str]:
    """Those of an examples file, in its order.

    >>> feature_names(["example_id", "recency_1", "frequency_1", "monetary_1", "label"])
    ['recency_1', 'frequency_1', 'monetary_1']
    """
    return [name for name in columns if name.rsplit("_", 1)[0] in ("recency", "frequency", "monetary")]


def importance(values: Floats) -> Floats:
    """Global importance of each feature: its mean absolute Shapley value, (n, d) → (d,); zeros without decisions."""
    return np.abs(values).mean(axis=0) if len(values) else np.zeros(values.shape[1])


def ranks(importances: Floats) -> NDArray[np.int64]:
    """Rank of each feature in each row, 1 the most important; equal ones in column order. (n, d) → (n, d).

    >>> ranks(np.array([[0.1, 0.5, 0.2]])).tolist()
    [[3, 1, 2]]
    """
    order = np.argsort(-importances, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable") + 1


def top_reasons(
    features: Floats, shapley: Floats, names: Sequence[str], *, period_days: int = 120, most: int = 3
) -> list[str]:
    """The features that moved each score most, in words, the strongest first.

    Args:
        features: (n, d), unscaled.
        shapley: (n, d).
        names: ``recency_1``, ``frequency_1``, ``monetary_1``, …, the oldest period first.
        period_days: length of a period.
        most: reasons a customer; features that moved nothing are no reason.

    >>> names = ["recency_1", "frequency_1", "monetary_1"]
    >>> top_reasons(np.array([[97.0, 1.0, 20.0]]), np.array([[0.2, -0.1, 0.0]]), names)
    ['last purchase 97 days ago raises the risk; 1 receipt in the last 120 days lowers the risk']
    """
    periods = max(int(name.rsplit("_", 1)[1]) for name in names)
    order = np.argsort(-np.abs(shapley), axis=1, kind="stable")[:, :most]
    sentences = []
    for row, moved, chosen in zip(features.tolist(), shapley.tolist(), order.tolist(), strict=True):
        reasons = [
            f"{describe(names[i], row[i], periods, period_days)} {'raises' if moved[i] > 0 else 'lowers'} the risk"
            for i in chosen
            if moved[i] != 0
        ]
        sentences.append("; ".join(reasons))
    return sentences


def describe(name: str, value: float, periods: int, period_days: int) -> str:
    """One feature of a customer in words.

    >>> describe("recency_2", 5.0, 3, 120), describe("recency_1", -1.0, 3, 120), describe("monetary_3", 45.2, 3, 120)
    ('a purchase 125 days ago', 'no purchase 240 to 359 days ago', '45.20 spent in the last 120 days')
    """
    kind, number = name.rsplit("_", 1)
    older = periods - int(number)
    when = f"in the last {period_days} days"
    if older:
        when = f"{older * period_days} to {(older + 1) * period_days - 1} days ago"
    if kind == "recency":
        if value < 0:
            return f"no purchase {when}"
        age = round(value) + older * period_days
        past = "today" if age == 0 else "yesterday" if age == 1 else f"{age} days ago"
        return f"a purchase {past}" if older else f"last purchase {past}"
    if kind == "frequency":
        return f"{round(value) or 'no'} {'receipt' if round(value) == 1 else 'receipts'} {when}"
    return f"{value:,.2f} spent {when}" if value else f"nothing spent {when}"
