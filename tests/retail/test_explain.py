"""Shapley values of decisions, against the definition and against shap's own."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evergreen.retail.explain import _answer_once, attribute, describe, importance, ranks, top_reasons

NAMES = [f"{kind}_{period}" for period in (1, 2, 3) for kind in ("recency", "frequency", "monetary")]
WEIGHTS = np.random.default_rng(5).normal(size=(9, 6)) / 3


def answer(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """A model in which features act together."""
    width = features.shape[1]
    return 1 / (1 + np.exp(-np.tanh(features @ WEIGHTS[:width]).sum(axis=1)))


def by_definition(features: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean contribution over all orders and all background rows, one by one."""
    values = np.zeros(features.shape)
    orders = list(permutations(range(features.shape[1])))
    for number, row in enumerate(features):
        for other in background:
            for order in orders:
                mixed = other.copy()
                for feature in order:
                    before = answer(mixed[None])[0]
                    mixed[feature] = row[feature]
                    values[number, feature] += answer(mixed[None])[0] - before
    return values / (len(orders) * len(background))


@pytest.mark.parametrize("ties", [False, True])
def test_is_the_shapley_value(ties: bool) -> None:
    rng = np.random.default_rng(0)
    features, background = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    if ties:  # where a customer's value is the background's, the model is not asked
        features, background = np.sign(features), np.sign(background)
    expected = by_definition(features, background)
    found = attribute(answer, features, background, np.random.default_rng(1), orders=2000)
    np.testing.assert_allclose(found.values, expected, atol=0.006)
    assert found.base == pytest.approx(answer(background).mean(), abs=1e-3)


@pytest.mark.slow  # shap compiles for a quarter of a minute
def test_agrees_with_shap() -> None:
    import shap

    rng = np.random.default_rng(2)
    features, background = rng.normal(size=(4, 9)), rng.normal(size=(20, 9))
    explainer = shap.ExactExplainer(answer, shap.maskers.Independent(background, max_samples=20))
    found = attribute(answer, features, background, np.random.default_rng(3), orders=2000)
    np.testing.assert_allclose(found.values, explainer(features).values, atol=0.012)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 30), st.integers(0, 12), st.integers(1, 9))
def test_values_add_up_to_the_score_whatever_was_drawn(
    seed: int, orders: int, background: int, rows: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    features, others = rng.normal(size=(rows, width)), rng.normal(size=(background, width))
    found = attribute(answer, features, others, rng, orders=orders)
    assert found.additivity_error() < 1e-9
    np.testing.assert_array_equal(found.scores, answer(features))


def test_a_decision_is_explained_by_itself() -> None:
    rng = np.random.default_rng(4)
    features, background = rng.normal(size=(20, 9)), rng.normal(size=(30, 9))
    together = attribute(answer, features, background, np.random.default_rng(0)).values
    shuffled = rng.permutation(20)
    apart = attribute(answer, features[shuffled], background, np.random.default_rng(0)).values
    np.testing.assert_allclose(apart, together[shuffled], atol=1e-12)


def test_many_rows_are_explained_in_pieces_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    features, background = rng.normal(size=(50, 9)), rng.normal(size=(30, 9))
    whole = attribute(answer, features, background, np.random.default_rng(0)).values
    asked: list[int] = []

    def watched(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append(len(rows))
        return answer(rows)

    monkeypatch.setattr("evergreen.retail.explain.AT_ONCE", 90)
    pieces = attribute(watched, features, background, np.random.default_rng(0)).values
    np.testing.assert_allclose(pieces, whole, atol=1e-12)
    assert max(asked) <= 90


def test_equal_rows_are_asked_once_and_different_ones_never_together() -> None:
    asked: list[int] = []

    def count(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append(len(rows))
        return rows[:, 0]

    rows = np.random.default_rng(1).integers(0, 2, (100, 3)).astype(float)
    np.testing.assert_array_equal(_answer_once(count, rows), rows[:, 0])
    assert asked == [8]
    one_key = np.diag(np.random.default_rng(0).random(2)[::-1])  # two rows that the key cannot tell apart
    np.testing.assert_array_equal(_answer_once(count, one_key), one_key[:, 0])


def test_a_feature_that_the_model_ignores_gets_nothing() -> None:
    rng = np.random.default_rng(6)
    features, background = rng.normal(size=(10, 9)), rng.normal(size=(30, 9))
    values = attribute(lambda rows: answer(rows[:, :4]), features, background, rng).values
    np.testing.assert_allclose(values[:, 4:], 0, atol=1e-15)


def test_importance_and_ranks() -> None:
    values = np.array([[0.1, -0.4, 0.0], [-0.3, 0.2, 0.0]])
    np.testing.assert_allclose(importance(values), [0.2, 0.3, 0.0])
    np.testing.assert_array_equal(ranks(importance(values)[None]), [[2, 1, 3]])
    np.testing.assert_array_equal(importance(np.zeros((0, 3))), np.zeros(3))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_ranks_are_a_permutation_in_order_of_importance(row: list[float]) -> None:
    found = ranks(np.array([row]))[0]
    assert sorted(found) == list(range(1, len(row) + 1))
    assert (np.diff(np.array(row)[np.argsort(found)]) <= 0).all()


CUSTOMER = np.array([[-1, 0, 0, 5, 2, 1250.5, 97, 1, 20]])


def test_reasons_are_in_words_the_strongest_first() -> None:
    shapley = np.array([[0.01, 0, 0, -0.05, 0, 0, 0.3, 0.001, 0]])
    assert top_reasons(CUSTOMER, shapley, NAMES) == [
        "last purchase 97 days ago raises the risk; a purchase 125 days ago lowers the risk; "
        "no purchase 240 to 359 days ago raises the risk"
    ]
    assert top_reasons(CUSTOMER, shapley, NAMES, most=1) == ["last purchase 97 days ago raises the risk"]
    assert top_reasons(CUSTOMER, shapley * 0, NAMES) == [""]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("recency_3", 0, "last purchase today"),
        ("recency_3", 1, "last purchase yesterday"),
        ("recency_3", -1, "no purchase in the last 120 days"),
        ("frequency_3", 1, "1 receipt in the last 120 days"),
        ("frequency_2", 4, "4 receipts 120 to 239 days ago"),
        ("frequency_1", 0, "no receipts 240 to 359 days ago"),
        ("monetary_2", 1250.5, "1,250.50 spent 120 to 239 days ago"),
        ("monetary_1", 0, "nothing spent 240 to 359 days ago"),
    ],
)
def test_words_for_a_feature(name: str, value: float, words: str) -> None:
    assert describe(name, value, 3, 120) == words
