"""Two-sample tests: do two sets of observations come from the same distribution?"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

EXACT_BELOW = 50  # smaller samples get the exact Kolmogorov-Smirnov distribution
PERMUTATIONS_AT_ONCE = 1000


@dataclass(frozen=True)
class Comparison:
    """A test statistic and its p-value, unadjusted."""

    statistic: float
    p_value: float


def kolmogorov_smirnov(reference: NDArray[np.floating], sample: NDArray[np.floating]) -> Comparison:
    """Two-sided Kolmogorov-Smirnov test of two samples of numbers, (n,) and (m,).

    The statistic is the largest distance of the two empirical distribution functions. Ties make the test conservative.
    """
    method = "exact" if min(len(reference), len(sample)) < EXACT_BELOW else "asymp"
    with warnings.catch_warnings():
        # said where the exact p-value is 1 and rounds above it; the asymptotic one, 1 as well, takes its place
        warnings.filterwarnings("ignore", message="ks_2samp: Exact calculation unsuccessful")
        result = ks_2samp(reference, sample, method=method)
    return Comparison(float(result.statistic), float(result.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being many (Holm 1979): rejecting those ≤ α errs in the whole family with probability ≤ α.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, (len(p_values) - rank) * p_values[position])
        adjusted[position] = min(1.0, largest)
    return adjusted


def maximum_mean_discrepancy(
    reference: NDArray[np.floating], sample: NDArray[np.floating], permutations: int, rng: np.random.Generator
) -> Comparison:
    """Kernel two-sample test of vectors, with a permutation p-value (Gretton et al. 2012, A kernel two-sample test).

    The statistic is the unbiased estimate of MMD² (lemma 6) with a Gaussian kernel whose width is the median distance.
    Columns are brought to unit spread first. Both steps see only the pooled sample, not who belongs where, so the
    permutation test is exact: P(p ≤ α) ≤ α for every α if the two distributions are the same.

    Args:
        reference: (n, d), n at least 2.
        sample: (m, d), m at least 2.
        permutations: how often the two sets are mixed anew; the smallest possible p-value is 1 / (permutations + 1).
        rng: source of the permutations.
    """
    n, m = len(reference), len(sample)
    kernel = gaussian_kernel(standardise(np.concatenate([reference, sample])))
    observed_members = np.zeros((n + m, 1), dtype=np.float32)
    observed_members[:n] = 1
    observed = float(unbiased_mmd(kernel, observed_members)[0])
    # float32 sums of the same numbers in another order differ in the seventh digit: that is no smaller statistic
    tolerance = 1e-6
    reached = sum(
        int(np.count_nonzero(unbiased_mmd(kernel, members) >= observed - tolerance))
        for members in _permuted_members(n, m, permutations, rng)
    )
    return Comparison(observed, (1 + reached) / (1 + permutations))


def standardise(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Shift and scale each column of (N, d) to mean 0 and standard deviation 1; constant columns become 0."""
    centred = points - points.mean(axis=0)
    spread = centred.std(axis=0)
    return np.asarray(centred / np.where(spread > 0, spread, 1), dtype=np.float64)


def gaussian_kernel(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """exp(−‖x − y‖² / 2σ²) for all pairs of rows, (N, d) → (N, N), σ the median distance of two different rows."""
    square = np.einsum("nd,nd->n", points, points)
    distances = np.maximum(square[:, None] + square[None, :] - 2 * points @ points.T, 0)
    pairs = distances[np.triu_indices(len(points), k=1)]
    # more than half of the pairs may be the same point: then the mean distance; all of them: any width will do
    width = np.median(pairs) or pairs.mean() or 1.0
    return np.asarray(np.exp(distances / (-2 * width)), dtype=np.float32)


def unbiased_mmd(kernel: NDArray[np.float32], members: NDArray[np.float32]) -> NDArray[np.float64]:
    """Unbiased MMD² of many splits of one pooled sample, from one matrix product.

    With s the 0/1 vector of a split, sᵀKs sums the kernel within the first set, sᵀK1 − sᵀKs between the sets, and the
    rest of 1ᵀK1 is within the second; the diagonal (ones) is left out.

    Args:
        kernel: (N, N), ones on the diagonal.
        members: (N, B), 1 where a point is in the first set; each column has the same number of ones.

    Returns:
        (B,).
    """
    total = len(kernel)
    n = int(members[:, 0].sum())
    m = total - n
    within_first = np.einsum("nb,nb->b", members, kernel @ members, dtype=np.float64)
    row_sums = kernel.sum(axis=1, dtype=np.float64)
    first_to_all = row_sums @ members
    between = first_to_all - within_first
    within_second = row_sums.sum() - first_to_all - between
    return np.asarray((within_first - n) / (n * (n - 1)) + (within_second - m) / (m * (m - 1)) - 2 * between / (n * m))


def _permuted_members(n: int, m: int, permutations: int, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Random splits of n + m points into n and m, as columns of 0/1 matrices of bounded width."""
    split = np.zeros(n + m, dtype=np.uint8)
    split[:n] = 1
    for start in range(0, permutations, PERMUTATIONS_AT_ONCE):
        count = min(PERMUTATIONS_AT_ONCE, permutations - start)
        rows = rng.permuted(np.broadcast_to(split, (count, n + m)), axis=1)
        yield np.ascontiguousarray(rows.T, dtype=np.float32)
