from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest

from evergreen.stream.two_sample import (
    gaussian_kernel,
    holm,
    kolmogorov_smirnov,
    maximum_mean_discrepancy,
    standardise,
    unbiased_mmd,
)

SAMPLE = st.lists(st.integers(-5, 5), min_size=2, max_size=12)


def naive_ks(left, right):
    """The largest distance of two empirical distribution functions, looked for at every point there is."""
    return max(
        abs(sum(x <= point for x in left) / len(left) - sum(y <= point for y in right) / len(right))
        for point in [*left, *right]
    )


def naive_mmd(left, right, kernel):
    """Gretton et al. 2012, equation 3, with the sums written out."""
    n, m = len(left), len(right)
    within_left = sum(kernel(left[i], left[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_right = sum(kernel(right[i], right[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(kernel(x, y) for x in left for y in right) / (n * m)
    return within_left + within_right - 2 * between


def naive_kernel(points):
    distances = [np.sqrt(np.sum((x - y) ** 2)) for x, y in combinations(points, 2)]
    width = np.median(distances)
    return lambda x, y: np.exp(-np.sum((x - y) ** 2) / (2 * width**2))


@given(left=SAMPLE, right=SAMPLE)
def test_ks_statistic_is_the_largest_distance_of_the_distribution_functions(left, right):
    result = kolmogorov_smirnov(np.array(left, dtype=float), np.array(right, dtype=float))
    assert result.statistic == pytest.approx(naive_ks(left, right))
    assert 0 <= result.p_value <= 1


@pytest.mark.parametrize("seed", range(3))
def test_ks_p_value_of_few_observations_is_that_of_all_relabellings(seed):
    pooled = np.random.default_rng(seed).normal(size=9)
    observed = naive_ks(pooled[:4], pooled[4:])
    splits = [set(chosen) for chosen in combinations(range(9), 4)]
    reached = [
        naive_ks([pooled[i] for i in chosen], [pooled[i] for i in range(9) if i not in chosen]) >= observed - 1e-12
        for chosen in splits
    ]
    assert kolmogorov_smirnov(pooled[:4], pooled[4:]).p_value == pytest.approx(np.mean(reached))


def test_ks_p_values_are_uniform_without_a_difference():
    rng = np.random.default_rng(1)
    p_values = [kolmogorov_smirnov(rng.normal(size=700), rng.normal(size=300)).p_value for _ in range(600)]
    assert kstest(p_values, "uniform").pvalue > 0.01


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    rejected = set()
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - rank) * p_values[position] > alpha:
            break
        rejected.add(position)
    assert {position for position, p in enumerate(holm(p_values)) if p <= alpha} == rejected


@pytest.mark.parametrize(("n", "m", "seed"), [(5, 5, 0), (7, 4, 1), (2, 9, 2)])
def test_mmd_statistic_is_the_definition(n, m, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(n, 3)), rng.normal(0.5, 2, size=(m, 3))
    pooled = np.concatenate([left, right])
    scaled = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    expected = naive_mmd(scaled[:n], scaled[n:], naive_kernel(scaled))
    assert maximum_mean_discrepancy(left, right, 9, rng).statistic == pytest.approx(expected, abs=1e-6)


def test_mmd_of_many_splits_at_once_is_that_of_each():
    rng = np.random.default_rng(0)
    points = standardise(rng.normal(size=(11, 2)))
    kernel = gaussian_kernel(points)
    splits = [rng.permutation(11) for _ in range(6)]
    members = np.zeros((11, 6), dtype=np.float32)
    for column, split in enumerate(splits):
        members[split[:4], column] = 1
    naive = naive_kernel(points)
    expected = [naive_mmd(points[np.sort(s[:4])], points[np.sort(s[4:])], naive) for s in splits]
    np.testing.assert_allclose(unbiased_mmd(kernel, members), expected, atol=1e-6)


def test_mmd_p_value_is_the_share_of_all_relabellings_that_reach_the_statistic():
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=(4, 2)), rng.normal(1.5, 1, size=(5, 2))
    points = standardise(np.concatenate([left, right]))
    naive = naive_kernel(points)
    everyone = set(range(9))
    statistics = [
        naive_mmd(points[list(chosen)], points[sorted(everyone - set(chosen))], naive)
        for chosen in combinations(range(9), 4)
    ]
    expected = np.mean([statistic >= statistics[0] - 1e-9 for statistic in statistics])
    permutations = 20_000
    found = maximum_mean_discrepancy(left, right, permutations, rng).p_value
    assert binomtest(round(found * (permutations + 1)) - 1, permutations, expected).pvalue > 0.001


def test_mmd_p_values_are_uniform_without_a_difference():
    rng = np.random.default_rng(5)
    shape = np.exp(rng.normal(size=3))  # heavy tails, scales of their own
    p_values = [
        maximum_mean_discrepancy(
            shape * np.exp(rng.normal(size=(25, 3))), shape * np.exp(rng.normal(size=(15, 3))), 199, rng
        ).p_value
        for _ in range(500)
    ]
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert min(p_values) >= 1 / 200


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mmd_does_not_depend_on_the_order_of_the_observations_nor_on_units(seed):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(8, 2)), rng.normal(1, 1, size=(6, 2))
    first = maximum_mean_discrepancy(left, right, 1, rng).statistic
    again = maximum_mean_discrepancy(5 + 100 * left[::-1], 5 + 100 * rng.permutation(right), 1, rng).statistic
    assert first == pytest.approx(again, abs=1e-6)


def test_mmd_sees_a_difference_that_no_single_column_shows():
    rng = np.random.default_rng(0)
    left = rng.multivariate_normal([0, 0], [[1, 0.95], [0.95, 1]], size=150)
    right = rng.multivariate_normal([0, 0], [[1, -0.95], [-0.95, 1]], size=150)
    assert min(kolmogorov_smirnov(left[:, k], right[:, k]).p_value for k in range(2)) > 0.01
    assert maximum_mean_discrepancy(left, right, 999, rng).p_value == 1 / 1000


@pytest.mark.parametrize("copies", [1.0, 0.8])
def test_mmd_of_mostly_equal_points_is_no_difference_and_no_error(copies):
    rng = np.random.default_rng(0)
    points = np.where(rng.random((40, 1)) < copies, 0.0, rng.normal(size=(40, 1)))
    result = maximum_mean_discrepancy(points[:20], points[20:], 199, rng)
    assert result.p_value > 0.05
    assert result.p_value == 1.0 or copies < 1
