"""Made-up customers for the tests of the churn model: who buys often comes back, who is silent does not."""

import numpy as np

from evergreen.retail.example_frames import NEVER
from evergreen.retail.protocol import RunInput, Stream, View
from evergreen.retail.stream import plan

HORIZON = 12
NAMES = ("recency_1", "frequency_1", "monetary_1", "recency_2", "frequency_2", "monetary_2")


def customers(seed: int = 0, count: int = 40, days: int = 80) -> list[np.ndarray]:
    """Days of purchase of each customer."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        gap, left = rng.choice([3.0, 8.0]), rng.random() < 0.5
        bought = np.cumsum(np.maximum(1, rng.exponential(gap, 60).astype(int))) + rng.integers(0, 20)
        found.append(bought[bought < (days // 2 if left else days)])
    return found


def row(bought: np.ndarray, day: int) -> list[float]:
    """Recency, frequency and money of two periods of one horizon each, oldest first."""
    values: list[float] = []
    for back in (1, 0):
        end = day - back * HORIZON
        inside = bought[(bought > end - HORIZON) & (bought <= end)]
        values += [float(end - inside[-1]) if len(inside) else -1.0, float(len(inside)), 10.0 * len(inside)]
    return values


def stream(view: View, seed: int = 0, count: int = 40, days: int = 80) -> Stream:
    """All examples of made-up customers, in the order of their labels; customer by customer, day by day."""
    rows: list[tuple[int, int, int, bool, list[float]]] = []
    for number, bought in enumerate(customers(seed, count, days)):
        for place, day in enumerate(bought):
            following = bought[place + 1] if place + 1 < len(bought) else NEVER
            back = following - day <= HORIZON
            told = following if back else day + HORIZON
            told = told if told < days else NEVER
            for asked in range(day, min(following if back else day + HORIZON, days)):
                rows.append((int(told), asked, number, not back and told < NEVER, row(bought, asked)))
    rows = [entry for entry in rows if view == "default" or entry[0] < NEVER]
    rows.sort(key=lambda entry: entry[:3])
    told, asked, number, labels, features = zip(*rows, strict=True)
    at = np.array(told if view == "published" else asked, np.int64)
    groups = np.array(number) * 1000 + np.minimum(told, 999)
    return Stream(np.array(features), NAMES, np.array(labels), at, np.array(told, np.int64), groups)


def planned(view: View, seed: int = 0, initial: int = 40, **options: int) -> RunInput:
    """The made-up stream after so many initial days."""
    return plan(stream(view, **options), view, None, initial, HORIZON, HORIZON, seed, 1)
