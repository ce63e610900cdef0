import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from evergreen.retail.threshold import (
    BINS,
    LIMIT,
    RISK_HALF_LIFE,
    ExpectedThreshold,
    Threshold,
    best_cut,
    bin_of,
    count,
    macro_f,
)

answers = st.lists(st.tuples(st.floats(-8, 8), st.booleans()), min_size=2, max_size=40)


@settings(deadline=None, max_examples=50)
@given(answers)
def test_no_cut_is_better(pairs: list[tuple[float, bool]]) -> None:
    log_odds, labels = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    cut = best_cut(count(log_odds, labels))
    if labels.all() or not labels.any():
        assert cut is None
        return
    bins = bin_of(log_odds)

    def quality(at: int) -> float:
        """Macro-F by counting."""
        answered = bins >= at
        pairs = [(labels, answered), (~labels, ~answered)]
        return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))

    assert cut is not None
    assert np.isclose(quality(cut), max(quality(at) for at in [*np.unique(bins), BINS]))


@settings(deadline=None, max_examples=50)
@given(answers)
def test_macro_f_is_that_of_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    answered, labels = np.array([p[0] for p in pairs]) > 0, np.array([p[1] for p in pairs])
    confusion = np.array([[((labels == a) & (answered == b)).sum() for b in (0, 1)] for a in (0, 1)], float)
    expected = f1_score(labels, answered, average="macro", labels=[False, True], zero_division=0)
    assert np.isclose(macro_f(confusion), expected)


def test_the_cut_follows_the_answers() -> None:
    threshold, rng = Threshold(), np.random.default_rng(0)
    assert threshold.probability == 0.5
    for _ in range(30):
        log_odds = rng.normal(0, 2, 200)
        threshold.learn(log_odds, log_odds > 1.5)
    assert abs(np.log(threshold.probability / (1 - threshold.probability)) - 1.5) < 0.2
    for _ in range(130):
        log_odds = rng.normal(0, 2, 200)
        threshold.learn(log_odds, log_odds > -1.5)
    assert abs(np.log(threshold.probability / (1 - threshold.probability)) + 1.5) < 0.2


def test_days_without_answers_or_with_one_class_do_no_harm() -> None:
    threshold = Threshold()
    threshold.learn(np.empty(0), np.empty(0, bool))
    threshold.learn(np.array([3.0, -30.0]), np.array([True, True]))
    assert threshold.cut == BINS // 2
    assert threshold.churns(np.array([0.1, -0.1, 2 * LIMIT])).tolist() == [True, False, True]


def test_the_expected_cut_is_the_best_one_for_labels_drawn_from_the_risks() -> None:
    rng, threshold = np.random.default_rng(0), ExpectedThreshold()
    log_odds = rng.normal(1, 2, 100_000)
    threshold.answered(log_odds)
    drawn = rng.random(100_000) < 1 / (1 + np.exp(-log_odds))

    def quality(cut: float) -> float:
        return float(f1_score(drawn, log_odds >= cut, average="macro"))

    cut = np.log(threshold.probability / (1 - threshold.probability))
    assert quality(cut) > max(quality(at) for at in np.linspace(-3, 3, 25)) - 0.002
    assert quality(cut) > quality(0.0) + 0.002


def test_the_expected_cut_forgets() -> None:
    rng, threshold = np.random.default_rng(1), ExpectedThreshold()
    days = [rng.normal(2, 1, 50), rng.normal(-1, 1, 30), np.empty(0), rng.normal(-1, 1, 30)]
    for day in days:
        threshold.answered(day)
    counts = np.zeros((2, BINS))
    for age, day in enumerate([day for day in days if len(day)][::-1]):
        for value in day:
            churn = 1 / (1 + np.exp(-value))
            counts[:, bin_of(np.array([value]))[0]] += np.array([1 - churn, churn]) * 0.5 ** (age / RISK_HALF_LIFE)
    assert threshold.cut == best_cut(counts)
    assert threshold.churns(np.array([LIMIT, -LIMIT])).tolist() == [True, False]
