"""Two tests of binned counts: χ² of homogeneity, and the population stability index with a p-value."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from evergreen.stream.two_sample import Comparison

ENOUGH = 5  # expected counts; with fewer in any bin the statistic has no χ² distribution (Cochran 1954)
DRAWS = 9_999
MOST_BINS = 200

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def chi_square(reference: Counts, sample: Counts) -> Comparison:
    """Pearson's test that two samples fall into the bins alike; counts (B,) and (B,), no bin chosen for its counts."""
    return _compare(reference, sample, _pearson)


def stability_index(reference: Counts, sample: Counts) -> Comparison:
    """Population stability index Σ (q − p) ln(q / p) of two shares p and q of the bins; counts (B,) and (B,).

    Without drift the index over (1/n + 1/m) is χ² with B − 1 degrees of freedom (Yurdakul & Naranjo 2020), so the
    customary limits of 0.1 and 0.25 are far too small for small windows and too large for large ones: hence a p-value.
    An empty bin would make it infinite: half an observation is added to each.
    """
    result = _compare(reference, sample, _index)
    scale = 1 / max(1, int(reference.sum())) + 1 / max(1, int(sample.sum()))
    return Comparison(result.statistic * scale, result.p_value)


def _compare(reference: Counts, sample: Counts, statistic: Callable[[Floats, Floats], Floats]) -> Comparison:
    """A test by a statistic that is χ² with B − 1 degrees of freedom if all bins hold enough.

    Otherwise its distribution is drawn: without drift, and given how many values both samples together have in each
    bin, which of them are the smaller sample's is a matter of chance. That is exact for names however rare they are.
    """
    first, second = _few_bins(reference, sample)
    if len(first) < 2:
        return Comparison(0.0, 1.0)
    totals = first + second
    smaller = min(int(first.sum()), int(second.sum()))
    observed = float(statistic(first[None, :].astype(np.float64), second[None, :].astype(np.float64))[0])
    if totals.min() * smaller / totals.sum() >= ENOUGH:
        return Comparison(observed, float(chi2.sf(observed, len(totals) - 1)))
    drawn = np.random.default_rng(0).multivariate_hypergeometric(totals, int(second.sum()), DRAWS, method="marginals")
    possible = statistic((totals - drawn).astype(np.float64), drawn.astype(np.float64))
    reached = int(np.count_nonzero(possible >= observed * (1 - 1e-9)))
    return Comparison(observed, (1 + reached) / (1 + DRAWS))


def _few_bins(reference: Counts, sample: Counts) -> tuple[Counts, Counts]:
    """Without empty bins; of very many the rarest are put together, by both samples, which favours neither."""
    totals = reference + sample
    order = np.argsort(-totals, kind="stable")
    order = order[totals[order] > 0]
    if len(order) <= MOST_BINS:
        return reference[order], sample[order]
    head, rest = order[: MOST_BINS - 1], order[MOST_BINS - 1 :]
    return np.append(reference[head], reference[rest].sum()), np.append(sample[head], sample[rest].sum())


def _pearson(reference: Floats, sample: Floats) -> Floats:
    """(R, B), (R, B) → (R,)."""
    totals = reference + sample
    sizes = reference.sum(axis=1, keepdims=True), sample.sum(axis=1, keepdims=True)
    terms = [
        ((counts - expected) ** 2 / expected).sum(axis=1)
        for counts, size in zip((reference, sample), sizes, strict=True)
        for expected in [totals * size / (sizes[0] + sizes[1])]
    ]
    return np.asarray(terms[0] + terms[1])


def _index(reference: Floats, sample: Floats) -> Floats:
    """(R, B), (R, B) → (R,), over (1/n + 1/m)."""
    bins = reference.shape[1]
    sizes = reference.sum(axis=1, keepdims=True), sample.sum(axis=1, keepdims=True)
    p, q = ((counts + 0.5) / (size + 0.5 * bins) for counts, size in zip((reference, sample), sizes, strict=True))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1) / (1 / sizes[0] + 1 / sizes[1])[:, 0])
