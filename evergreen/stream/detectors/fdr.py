"""False discovery rate: many tests, and a bound on the share of false ones among the rejected."""

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values (Benjamini & Hochberg 1995): of those ≤ α, a share of at most α is expected to be false.

    If nothing at all moved, that is the probability of any rejection, as with Holm; if much moved, more is found.

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    count = len(p_values)
    adjusted = [0.0] * count
    smallest = 1.0
    for position in reversed(np.argsort(p_values, kind="stable")):
        smallest = min(smallest, count * p_values[position] / _rank(p_values, position))
        adjusted[position] = smallest
    return adjusted


def _rank(p_values: Sequence[float], position: int) -> int:
    """How many p-values are at most this one."""
    return int(np.count_nonzero(np.asarray(p_values) <= p_values[position]))
