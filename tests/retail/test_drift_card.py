"""What a drift card says of the customers and of the model's reasons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from evergreen.retail.drift_card import (
    COHORTS,
    cohort_shares,
    cohorts,
    customers_card,
    feature_changes,
    importance_card,
)

NAMES = [f"{kind}_{period}" for period in (1, 2, 3) for kind in ("recency", "frequency", "monetary")]


def customers(frequencies: list[tuple[int, int, int]]) -> np.ndarray:
    rows = np.zeros((len(frequencies), 9))
    rows[:, [1, 4, 7]] = np.array(frequencies).reshape(-1, 3)
    return rows


def test_cohorts() -> None:
    rows = customers([(0, 0, 1), (1, 1, 3), (2, 0, 1), (0, 4, 1)])
    assert [COHORTS[i] for i in cohorts(rows, NAMES)] == ["new", "loyal", "returning", "returning"]
    assert cohort_shares(rows, NAMES) == {"new": 0.25, "returning": 0.5, "loyal": 0.25}


def test_with_one_period_everybody_is_new() -> None:
    assert cohort_shares(np.ones((3, 1)), ["frequency_1"])["new"] == 1


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=30))
def test_cohort_shares_add_up(frequencies: list[tuple[int, int, int]]) -> None:
    shares = cohort_shares(customers(frequencies), NAMES)
    assert sum(shares.values()) == pytest.approx(1 if frequencies else 0)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 60))
def test_the_statistic_is_that_of_scipy(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.integers(0, 9, (n, 9)).astype(float), rng.integers(0, 9, (m, 9)).astype(float)
    changes = feature_changes(before, after, NAMES)
    assert sorted(change.feature for change in changes) == sorted(NAMES)
    for change in changes:
        i = NAMES.index(change.feature)
        assert change.ks == pytest.approx(ks_2samp(before[:, i], after[:, i]).statistic)
        assert change.psi >= 0
    assert [change.ks for change in changes] == sorted((change.ks for change in changes), reverse=True)


def test_the_feature_that_changed_comes_first() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random((300, 9)), rng.random((300, 9))
    after[:, 6] += 0.5
    first, second = feature_changes(before, after, NAMES)[:2]
    assert first.feature == "recency_3"
    assert first.p_value < 1e-6 < 0.05 < second.p_value
    assert first.psi > 0.25 > second.psi
    assert first.after - first.before == pytest.approx(0.5, abs=0.15)


def test_cards_do_without_customers() -> None:
    card = customers_card(np.zeros((0, 9)), np.ones((2, 9)), NAMES)
    assert card["features"] is None
    assert card["customers"] == {"before": 0, "after": 2}
    assert importance_card(np.zeros((0, 9)), np.ones((2, 9)), NAMES) is None


def test_importances_move() -> None:
    before, after = np.zeros((4, 9)), np.zeros((5, 9))
    before[:, 6], after[:, 7] = 0.2, -0.5
    card = importance_card(before, after, NAMES)
    assert card is not None
    assert card[0] == {"feature": "frequency_3", "before": 0.0, "after": 0.5}
    assert card[1] == {"feature": "recency_3", "before": pytest.approx(0.2), "after": 0.0}
