"""Two tests of binned counts: χ² of homogeneity, and the population stability index with a p-value."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from evergreen.stream.two_sample import Comparison

MINIMUM_EXPECTED = 5  # counts; below it the χ² distribution is none (Cochran 1954)


def chi_square(reference: NDArray[np.int64], sample: NDArray[np.int64]) -> Comparison:
    """Pearson's test that two samples fall into the bins alike; counts (B,) and (B,).

    Bins in which, by the reference, a sample should have fewer than five are put together, smallest first.
    """
    table = _pooled(np.stack([reference, sample]).astype(np.float64))
    if table.shape[1] < 2:
        return Comparison(0.0, 1.0)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return Comparison(statistic, float(chi2.sf(statistic, table.shape[1] - 1)))


def stability_index(reference: NDArray[np.int64], sample: NDArray[np.int64]) -> Comparison:
    """Population stability index Σ (q − p) ln(q / p) of two shares p and q of the bins; counts (B,) and (B,).

    Without drift the index over (1/n + 1/m) is χ² with B − 1 degrees of freedom (Yurdakul & Naranjo 2020), so the
    customary limits of 0.1 and 0.25 are far too small for small windows and too large for large ones: hence a p-value.
    Empty bins would make it infinite; rare ones are put together as for χ², and half an observation is added to each.
    """
    table = _pooled(np.stack([reference, sample]).astype(np.float64))
    if table.shape[1] < 2:
        return Comparison(0.0, 1.0)
    sizes = table.sum(axis=1)
    shares = (table + 0.5) / (sizes[:, None] + 0.5 * table.shape[1])
    index = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    return Comparison(index, float(chi2.sf(index / (1 / sizes[0] + 1 / sizes[1]), table.shape[1] - 1)))


def _pooled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, B) → (2, b): bins that are rare in the reference put together until none is.

    Only the reference decides: putting together what happens to be rare in the sample would make a difference of it.
    """
    needed = MINIMUM_EXPECTED * table[0].sum() / table.sum(axis=1).min()  # in the reference, for 5 in the smaller one
    columns = sorted(table.T, key=lambda column: float(column[0]))
    while len(columns) > 1 and columns[0][0] < needed:
        columns = sorted([columns[0] + columns[1], *columns[2:]], key=lambda column: float(column[0]))
    return np.stack(columns, axis=1)
