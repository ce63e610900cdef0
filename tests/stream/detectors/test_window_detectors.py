"""Tests of windows against naive statistics, their false alarms, and how windows are taken."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import binomtest, chi2_contingency, kstest
from sklearn.metrics import roc_auc_score

from evergreen.errors import BadInputError
from evergreen.stream.detectors import binned_tests
from evergreen.stream.detectors.binned_tests import chi_square, stability_index
from evergreen.stream.detectors.bins import Bins
from evergreen.stream.detectors.embeddings import frechet_distance, separability
from evergreen.stream.detectors.fdr import benjamini_hochberg
from evergreen.stream.detectors.registry import EMBEDDINGS, FEATURES, make_detector, restore_detector

COUNTS = st.lists(st.integers(100, 200), min_size=2, max_size=6)  # enough of each


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_fdr_rejects_what_the_step_up_procedure_rejects(p_values: list[float], alpha: float) -> None:
    order = sorted(p_values)
    passing = [rank for rank, p in enumerate(order, start=1) if p <= rank * alpha / len(order)]
    limit = order[passing[-1] - 1] if passing else -1.0
    found = [p <= alpha for p in benjamini_hochberg(p_values)]
    near = [abs(p * len(order) / rank - alpha) < 1e-12 for rank, p in enumerate(order, start=1)]
    if not any(near):  # a rounding error decides there
        assert found == [p <= limit for p in p_values]


@given(COUNTS, st.integers(0, 100))
def test_chi_square_is_scipys_where_no_bin_is_rare(reference: list[int], seed: int) -> None:
    sample = np.random.default_rng(seed).integers(20, 200, len(reference))
    found = chi_square(np.array(reference), sample)
    expected = chi2_contingency(np.array([reference, sample]), correction=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("statistic", [chi_square, stability_index])
@pytest.mark.parametrize("shares", [[0.25] * 4, [0.9, 0.05, 0.03, 0.01, 0.01], [0.999, 0.001], [0.97, *[0.001] * 30]])
def test_p_values_of_counts_keep_their_promise(
    statistic: object, shares: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binned_tests, "DRAWS", 199)  # enough for alpha, and quick
    rng = np.random.default_rng(0)
    p_values = [statistic(rng.multinomial(900, shares), rng.multinomial(300, shares)).p_value for _ in range(1_500)]
    for alpha in (0.05, 0.01):
        reached = sum(p <= alpha for p in p_values)
        assert binomtest(reached, len(p_values), alpha, alternative="greater").pvalue > 0.001
    if shares == [0.25] * 4:
        assert kstest(p_values, "uniform").pvalue > 0.001


def test_stability_index_is_its_definition_up_to_the_half_observation() -> None:
    reference, sample = np.array([5_000, 3_000, 2_000]), np.array([3_000, 4_000, 3_000])
    p, q = reference / 10_000, sample / 10_000
    expected = sum((b - a) * np.log(b / a) for a, b in zip(p, q, strict=True))
    assert stability_index(reference, sample).statistic == pytest.approx(expected, rel=1e-3)
    assert stability_index(reference, reference).statistic == pytest.approx(0)


def test_counts_without_a_choice_prove_nothing() -> None:
    for statistic in (chi_square, stability_index):
        assert statistic(np.array([50, 0]), np.array([30, 0])).p_value == 1


def test_p_value_of_few_counts_is_that_of_all_relabellings() -> None:
    reference, sample = np.array([4, 1, 0]), np.array([0, 2, 2])
    pooled = np.repeat(np.arange(3), reference + sample)

    def pearson(chosen: tuple[int, ...]) -> float:
        second = np.bincount(pooled[list(chosen)], minlength=3)
        expected = np.outer([5, 4], reference + sample) / 9
        return float(((np.stack([reference + sample - second, second]) - expected) ** 2 / expected).sum())

    splits = [pearson(chosen) for chosen in combinations(range(9), 4)]
    observed = chi_square(reference, sample).statistic
    exact = np.mean([value >= observed - 1e-9 for value in splits])
    assert chi_square(reference, sample).p_value == pytest.approx(exact, abs=0.015)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.lists(st.floats(-5, 40), max_size=50))
def test_every_value_falls_into_one_bin(reference: list[int], values: list[float]) -> None:
    bins = Bins.of(np.array(reference, dtype=float), 10)
    first, second = bins.count(np.array(values, dtype=float))
    assert (first.sum(), second.sum(), len(first)) == (len(reference), len(values), len(second))


@pytest.mark.parametrize("name", ["chi2", "psi"])
@pytest.mark.parametrize("rows", [40, 400])
def test_a_constant_column_that_takes_new_values_is_seen(name: str, rows: int) -> None:
    detector = make_detector(name)
    detector.fit({"kind": np.array(["a"] * 800)})
    assert not detector.test({"kind": np.array(["a"] * rows)}).drift
    assert not detector.test({"kind": np.array(["a"] * (rows - 1) + ["b"])}).drift  # one proves nothing
    assert detector.test({"kind": np.array(["a"] * (rows - 15) + ["b", "c", "d"] * 5)}).drift


def test_every_name_is_a_bin() -> None:
    bins = Bins.of(np.array(["b", "a", "b"]), 10)
    first, second = bins.count(np.array(["a", "c", "0", "b", "b"]))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2, 0], [1, 1, 2, 1])  # 0, a, b, c


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_frechet_distance_is_the_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(30, 3)), rng.normal(1, 2, size=(20, 3))
    means = left.mean(axis=0), right.mean(axis=0)
    spreads = np.cov(left, rowvar=False), np.cov(right, rowvar=False)
    root = np.real(sqrtm(spreads[0] @ spreads[1]))
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(spreads[0] + spreads[1] - 2 * root)
    assert frechet_distance(means[0], spreads[0], means[1], spreads[1]) == pytest.approx(expected, rel=1e-6)


def test_separability_is_an_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(400, 2)), rng.normal(size=(300, 2))
    halves = np.arange(400) % 2, np.arange(300) % 2
    assert separability(left, right, *halves) == pytest.approx(0.5, abs=0.06)
    shifted = right + np.array([1.5, 0])
    ideal = roc_auc_score([0] * 400 + [1] * 300, np.concatenate([left[:, 0], shifted[:, 0]]))
    assert separability(left, shifted, *halves) == pytest.approx(ideal, abs=0.03)
    assert separability(left, 3 * right, *halves) > 0.75  # only the spread differs: a straight cut sees nothing


def test_mmd_is_the_double_sum() -> None:
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=(40, 2)), rng.normal(1, 1, size=(30, 2))
    detector = make_detector("mmd", resamples=99)
    detector.fit(reference)
    scale = reference.std(axis=0)
    x, y = reference / scale, window / scale
    pairs = [((x[i] - x[j]) ** 2).sum() for i in range(40) for j in range(i)]

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * np.median(pairs))))

    expected = (
        sum(kernel(x[i], x[j]) for i in range(40) for j in range(40) if i != j) / (40 * 39)
        + sum(kernel(y[i], y[j]) for i in range(30) for j in range(30) if i != j) / (30 * 29)
        - 2 * sum(kernel(a, b) for a in x for b in y) / (40 * 30)
    )
    assert detector.test(window).tests[0].statistic == pytest.approx(expected)


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("width", [3, 24])
def test_clean_windows_alarm_at_the_stated_rate(name: str, width: int) -> None:
    """New reference and windows each time; 24 columns are reduced to 16 by the reference."""
    rng = np.random.default_rng(7)
    mix = rng.normal(size=(width, width))
    alpha, found, windows = 0.05, 0, 0
    for _ in range(12):
        detector = make_detector(name, alpha=alpha, resamples=99)
        detector.fit(rng.standard_t(5, size=(600, width)) @ mix)
        for _ in range(10):
            found += detector.test(rng.standard_t(5, size=(80, width)) @ mix).drift
            windows += 1
    # windows share a reference, so they err together: hence a wide bound
    assert found / windows <= 2.5 * alpha


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("correction", ["holm", "fdr"])
def test_many_features_do_not_make_many_false_alarms(name: str, correction: str) -> None:
    rng = np.random.default_rng(8)
    found = windows = 0
    for _ in range(12):
        detector = make_detector(name, alpha=0.05, correction=correction)
        detector.fit(rng.normal(size=(800, 6)))
        for _ in range(5):
            found += detector.test(rng.normal(size=(45, 6))).drift
            windows += 1
    assert binomtest(found, windows, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_the_threshold_is_where_the_p_value_reaches_alpha(name: str) -> None:
    rng = np.random.default_rng(9)
    detector = make_detector(name, alpha=0.05, resamples=199)
    detector.fit(rng.normal(size=(300, 4)))
    for shift in np.linspace(0, 0.6, 13):
        finding = detector.test(rng.normal(shift, 1, size=(60, 4)))
        assert finding.drift == (finding.tests[0].statistic > detector.threshold(60))
        assert finding.p_value == finding.tests[0].p_value


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_that_only_turn_are_seen(name: str) -> None:
    """Means and single columns stay as they are; their correlation changes sign."""
    rng = np.random.default_rng(10)
    covariance = np.array([[1, 0.8], [0.8, 1]])
    detector = make_detector(name, resamples=199)
    detector.fit(rng.multivariate_normal([0, 0], covariance, 500))
    turned = rng.multivariate_normal([0, 0], covariance * [[1, -1], [-1, 1]], 300)
    assert detector.test(turned).drift == (name != "classifier")  # squares of single columns do not know it


def test_a_finding_names_what_moved_and_where() -> None:
    rng = np.random.default_rng(11)
    reference = pd.DataFrame(
        {"size": rng.normal(size=900), "age": rng.normal(size=900), "kind": rng.choice(list("ab"), 900)}
    )
    window = pd.DataFrame({"size": rng.normal(-2, 1, 200), "age": rng.normal(size=200), "kind": ["c"] * 200})
    detector = make_detector("chi2")
    detector.fit(reference)
    finding = detector.test(window)
    moved = {test.name: test.moved for test in finding.tests if test.p_adjusted <= 0.01}
    assert moved == {"size": "down", "kind": "changed"}
    assert finding.tests[-1].name == "age"
    with pytest.raises(BadInputError, match="Column kind holds names, expected numbers"):
        make_detector("ks").fit(reference)


@pytest.mark.parametrize("name", [*FEATURES, *EMBEDDINGS])
def test_the_first_windows_become_the_reference(name: str) -> None:
    rng = np.random.default_rng(12)
    detector = make_detector(name, reference_windows=3, minimum_evidence=100)
    other = make_detector(name, minimum_evidence=100)
    parts = [rng.normal(size=(30, 2)) for _ in range(4)]
    with pytest.raises(BadInputError, match="no reference yet"):
        detector.test(parts[0])
    for part in parts:  # three have too few rows: the fourth joins them
        assert not detector.update(part)
        assert "reference" in detector.finding.note
    other.fit(np.concatenate(parts))
    window = rng.normal(0.5, 1, size=(120, 2))
    detector.update(window)
    assert detector.finding == other.test(window)
    detector.restart()
    assert not detector.update(window)
    with pytest.raises(BadInputError, match="expected at least 100"):
        detector.fit(parts[0])


@pytest.mark.parametrize("name", [*FEATURES, *EMBEDDINGS])
def test_what_is_no_alarm_while_it_cools_down_is_still_found(name: str) -> None:
    rng = np.random.default_rng(13)
    detector = make_detector(name, cool_down=2)
    detector.fit(rng.normal(size=(300, 2)))
    found = [(detector.update(rng.normal(3, 1, size=(80, 2))), detector.finding.drift) for _ in range(7)]
    assert [alarm for alarm, _ in found] == [True, False, False, True, False, False, True]
    assert all(drift for _, drift in found)
    assert restore_detector(detector.state()).finding == detector.finding


def test_a_large_reference_is_thinned_and_kept_small() -> None:
    rng = np.random.default_rng(14)
    detector = make_detector("frechet", samples=200, resamples=199)
    detector.fit(rng.normal(size=(5_000, 40)))
    assert detector._given.shape == (400, 40)
    assert detector._sample.shape == (200, 16)
    assert not detector.test(rng.normal(size=(3_000, 40))).drift
    assert detector.test(rng.normal(0.5, 1, size=(3_000, 40))).drift


def test_resamples_must_resolve_alpha() -> None:
    with pytest.raises(BadInputError, match="resamples must be at least 999"):
        make_detector("mmd", alpha=0.001, resamples=500)
