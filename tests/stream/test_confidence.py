import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from evergreen.errors import BadInputError
from evergreen.stream.confidence import Confidence, calibrate, check_probabilities, fit_temperature, prediction_drift


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def answers(rows, sharpness=1.0, classes=4, seed=0):
    """True probabilities, those of a model too sure of itself (sharpness > 1), and labels drawn from the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, classes))
    true = softmax(logits)
    labels = (true.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=classes - 1)
    return true, softmax(sharpness * logits), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_model_that_is_too_sure_or_too_shy(sharpness):
    true, stated, labels = answers(6000, sharpness)
    temperature = fit_temperature(stated, labels)
    assert temperature == pytest.approx(sharpness, rel=0.06)
    np.testing.assert_allclose(calibrate(stated, sharpness), true, atol=1e-4)


def test_the_temperature_is_the_best_of_a_fine_grid():
    _, stated, labels = answers(300, 2.0, seed=3)

    def likelihood(temperature):
        powers = stated ** (1 / temperature)
        return np.mean([np.log(powers[row, labels[row]] / powers[row].sum()) for row in range(300)])

    grid = np.geomspace(1, 4, 100)
    best = grid[np.argmax([likelihood(t) for t in grid])]
    assert fit_temperature(stated, labels) == pytest.approx(best, rel=0.015)


@given(st.integers(0, 10_000), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_a_temperature_changes_no_answer(seed, temperature):
    _, stated, _ = answers(20, seed=seed)
    changed = calibrate(stated, temperature)
    np.testing.assert_array_equal(changed.argmax(axis=1), stated.argmax(axis=1))
    np.testing.assert_allclose(changed.sum(axis=1), 1)


def test_the_expected_accuracy_is_the_accuracy_of_a_model_that_was_too_sure():
    _, stated, labels = answers(4000, 3.0)
    estimator = Confidence.fit(stated[:2000], labels[:2000])
    found = estimator.estimate(stated[2000:])
    assert found.accuracy == pytest.approx((stated[2000:].argmax(axis=1) == labels[2000:]).mean(), abs=0.025)
    assert found.low < found.fall < found.high


def test_a_window_of_harder_examples_is_expected_to_be_answered_as_badly_as_it_is():
    true, stated, labels = answers(20_000, 2.0)
    estimator = Confidence.fit(stated[:10_000], labels[:10_000])
    hard = np.flatnonzero(true[10_000:].max(axis=1) < 0.6) + 10_000
    found = estimator.estimate(stated[hard])
    accuracy = (stated[hard].argmax(axis=1) == labels[hard]).mean()
    assert found.accuracy == pytest.approx(accuracy, abs=0.02)
    reference = (stated[:10_000].argmax(axis=1) == labels[:10_000]).mean()
    assert found.fall == pytest.approx(reference - accuracy, abs=0.03)
    assert found.p_value < 1e-6


def test_the_fall_is_the_difference_of_the_means_and_the_interval_holds_it_as_often_as_stated():
    covered, alarms = 0, 0
    for seed in range(200):
        _, stated, _ = answers(160, seed=1000 + seed)
        estimator = Confidence.fit(stated[:100], None)
        found = estimator.estimate(stated[100:])
        assert found.fall == pytest.approx(stated[:100].max(axis=1).mean() - stated[100:].max(axis=1).mean(), abs=1e-6)
        covered += found.low <= 0 <= found.high
        alarms += found.p_value <= 0.05
    assert binomtest(covered, 200, 0.95).pvalue > 0.001
    assert binomtest(alarms, 200, 0.05).pvalue > 0.001


def test_more_confidence_is_no_fall():
    _, stated, _ = answers(1000)
    found = Confidence.fit(stated[:500], None).estimate(calibrate(stated[500:], 0.3))
    assert found.fall < 0
    assert found.p_value > 0.99


def test_unknown_labels_are_left_out():
    _, stated, labels = answers(500, 2.0)
    hidden = labels.copy()
    hidden[::2] = -1
    assert Confidence.fit(stated, hidden).temperature == fit_temperature(stated[1::2], labels[1::2])
    assert Confidence.fit(stated, np.full(500, -1)).temperature == 1


def test_a_model_that_is_always_equally_sure_has_a_decision_too():
    certain = np.tile([1.0, 0.0], (10, 1))
    estimator = Confidence.fit(certain, None)
    assert estimator.estimate(certain).p_value == 1
    assert estimator.estimate(np.full((10, 2), 0.5)).p_value == 0


def test_json_restores_exactly():
    _, stated, labels = answers(200, 2.0)
    estimator = Confidence.fit(stated, labels)
    restored = Confidence.from_json(json.loads(json.dumps(estimator.to_json())))
    assert restored == estimator
    assert restored.estimate(stated[:50]) == estimator.estimate(stated[:50])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3,), 0.5), "shape"),
        (np.full((3, 1), 1.0), "shape"),
        (np.array([[0.5, np.nan]]), "outside 0 to 1"),
        (np.array([[1.5, -0.5]]), "outside 0 to 1"),
        (np.array([[0.5, 0.2]]), "sum to 0.7"),
    ],
)
def test_what_is_no_table_of_probabilities_is_refused(values, message):
    with pytest.raises(BadInputError, match=message):
        check_probabilities(values)


def test_too_few_rows_and_labels_that_do_not_fit_are_refused():
    _, stated, labels = answers(10)
    with pytest.raises(BadInputError, match="at least 2 as a reference"):
        Confidence.fit(stated[:1], None)
    with pytest.raises(BadInputError, match="3 labels for 10 answers"):
        Confidence.fit(stated, labels[:3])
    with pytest.raises(BadInputError, match="at least 2"):
        Confidence.fit(stated, labels).estimate(stated[:1])


def test_prediction_drift_is_pearsons_statistic():
    rng = np.random.default_rng(0)
    reference, window = rng.integers(0, 3, 900), rng.choice(3, 300, p=[0.5, 0.3, 0.2])
    found = prediction_drift(reference, window, 3)
    expected = 0.0
    for code in range(3):
        share = (np.sum(reference == code) + np.sum(window == code)) / 1200
        for answered in (reference, window):
            count = share * len(answered)
            expected += (np.sum(answered == code) - count) ** 2 / count
    assert found.statistic == pytest.approx(expected)
    assert found.p_value < 1e-4


def test_prediction_drift_alarms_as_often_as_stated_where_nothing_drifts():
    rng = np.random.default_rng(1)
    shares = [0.4, 0.3, 0.2, 0.08, 0.018, 0.002]
    p_values = [
        prediction_drift(rng.choice(6, 1000, p=shares), rng.choice(6, 250, p=shares), 6).p_value for _ in range(300)
    ]
    assert binomtest(int(np.sum(np.array(p_values) <= 0.05)), 300, 0.05).pvalue > 0.001
    assert chisquare(np.histogram(p_values, bins=5, range=(0, 1))[0]).pvalue > 1e-4


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.lists(st.integers(0, 4), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_prediction_drift_is_a_p_value_whatever_the_answers_and_forgets_their_order(reference, window):
    found = prediction_drift(np.array(reference), np.array(window), 5)
    assert 0 <= found.p_value <= 1
    assert found == prediction_drift(np.array(reference[::-1]), np.array(window[::-1]), 5)


def test_answers_that_are_no_class_are_refused():
    with pytest.raises(BadInputError, match="window"):
        prediction_drift(np.array([0, 1]), np.array([2]), 2)
    with pytest.raises(BadInputError, match="reference"):
        prediction_drift(np.array([], dtype=int), np.array([1]), 2)
