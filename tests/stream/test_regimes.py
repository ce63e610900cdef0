import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.regimes import Answered, RegimePolicy, decide_regimes

CLASSES = np.array(["a", "b", "c"])


def answered(rng, rows, challenger, champion):
    """Examples of three classes; each model is right with its own probability."""
    labels = rng.integers(0, 3, rows)

    def said(accuracy):
        wrong = (labels + rng.integers(1, 3, rows)) % 3
        return CLASSES[np.where(rng.random(rows) < accuracy, labels, wrong)]

    return Answered(CLASSES[labels], said(challenger), said(champion))


def test_clear_gain_and_nothing_lost_is_promoted():
    rng = np.random.default_rng(0)
    decision = decide_regimes(answered(rng, 400, 0.8, 0.5), answered(rng, 800, 0.8, 0.8), RegimePolicy(), 0)
    assert decision.promote
    assert [check.name for check in decision.checks] == [
        "enough_rows", "floor", "minimum_gain", "new_regime", "old_regime"
    ]  # fmt: skip
    assert "the new regime gains +" in decision.reason


@pytest.mark.parametrize(
    ("new", "old", "failed"),
    [
        ((19, 0.9, 0.2), (800, 0.8, 0.8), "enough_rows"),
        ((400, 0.3, 0.1), (800, 0.8, 0.8), "floor"),
        ((400, 0.6, 0.7), (800, 0.8, 0.8), "minimum_gain"),
        ((60, 0.62, 0.6), (800, 0.8, 0.8), "new_regime"),
        ((400, 0.8, 0.5), (800, 0.6, 0.8), "old_regime"),
    ],
)
def test_each_condition_can_refuse(new, old, failed):
    rng = np.random.default_rng(1)
    decision = decide_regimes(answered(rng, *new), answered(rng, *old), RegimePolicy(), 0)
    assert not decision.promote
    assert failed in [check.name for check in decision.checks if not check.passed]
    assert failed in decision.reason


def test_without_an_old_regime_there_is_nothing_to_keep():
    rng = np.random.default_rng(2)
    none = Answered(*(np.empty(0, dtype=str) for _ in range(3)))
    assert decide_regimes(answered(rng, 400, 0.8, 0.5), none, RegimePolicy(), 0).promote
    assert not decide_regimes(none, answered(rng, 400, 0.8, 0.5), RegimePolicy(), 0).promote


def test_arrays_of_different_length_are_named():
    bad = Answered(CLASSES, CLASSES[:2], CLASSES)
    with pytest.raises(BadInputError, match="3 labels, 2 answers of the challenger and 3"):
        decide_regimes(bad, bad, RegimePolicy(), 0)


def test_equal_models_are_promoted_as_rarely_as_stated():
    """The lower end of a 90 % interval is above zero for one equal challenger in twenty."""
    promoted = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        new, old = answered(rng, 200, 0.7, 0.7), answered(rng, 200, 0.7, 0.7)
        promoted += decide_regimes(new, old, RegimePolicy(old_margin=1.0, resamples=500), seed).promote
    assert promoted / 400 < 0.09


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 80))
def test_order_of_examples_does_not_matter(seed, rows):
    rng = np.random.default_rng(seed)
    new, old = answered(rng, rows, 0.8, 0.6), answered(rng, 60, 0.7, 0.7)
    order = rng.permutation(rows)
    mixed = Answered(new.labels[order], new.challenger[order], new.champion[order])
    assert decide_regimes(new, old, RegimePolicy(), 0) == decide_regimes(mixed, old, RegimePolicy(), 0)
