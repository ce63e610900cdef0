"""The promotion gate against row-by-row reference implementations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.config import read_yaml
from evergreen.errors import BadInputError
from evergreen.stream.promotion import Decision, PromotionPolicy, decide, gain_interval, recalls

CLASSES = ["ant", "bee", "cat"]
LENIENT = PromotionPolicy(
    min_rows=1, floor_skill=0.0, minimum_gain=-1.0, interval_floor=-1.0, max_class_drop=1.0, resamples=200
)


def answers(labels: np.ndarray, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    """Answers that are right with the given probability and otherwise the next class."""
    right = rng.random(len(labels)) < accuracy
    return np.where(right, labels, (labels + 1) % len(CLASSES))


def check(decision: Decision, name: str) -> Any:
    return next(c for c in decision.checks if c.name == name)


def naive_interval(outcome: np.ndarray, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """The bootstrap as the book has it: draw the rows again, one resample at a time."""
    rng = np.random.default_rng(seed)
    means = sorted(float(np.mean(rng.choice(outcome, size=len(outcome)))) for _ in range(resamples))
    tail = (1 - confidence) / 2
    return means[int(tail * resamples)], means[int((1 - tail) * resamples) - 1]


def naive_recall(labels: list[int], predictions: list[int], wanted: int) -> float | None:
    rows = [p == y for y, p in zip(labels, predictions, strict=True) if y == wanted]
    return sum(rows) / len(rows) if rows else None


@pytest.mark.parametrize(("wins", "losses", "ties"), [(60, 40, 300), (10, 10, 20), (200, 50, 0), (0, 3, 297)])
def test_interval_agrees_with_drawing_the_rows_again(wins: int, losses: int, ties: int) -> None:
    outcome = np.repeat([1, -1, 0], [wins, losses, ties])
    fast = gain_interval(outcome, 0.9, 20_000, seed=1)
    naive = naive_interval(outcome, 0.9, 3_000, seed=2)
    spread = outcome.std() / np.sqrt(len(outcome))
    assert fast == pytest.approx(naive, abs=0.15 * spread + 1.5 / len(outcome))


def test_interval_has_the_coverage_it_claims() -> None:
    rng = np.random.default_rng(0)
    trials, covered = 400, 0
    for trial in range(trials):
        outcome = rng.choice([1, 0, -1], p=[0.2, 0.7, 0.1], size=500)
        low, high = gain_interval(outcome, 0.9, 1_000, seed=trial)
        covered += low <= 0.1 <= high
    # three standard errors of a share of 0.9 over 400 trials
    assert covered / trials == pytest.approx(0.9, abs=0.045)


outcomes = st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=80).map(np.array)


@given(outcomes, st.floats(0.5, 0.99), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_interval_is_ordered_bounded_and_blind_to_row_order(outcome: np.ndarray, confidence: float, seed: int) -> None:
    low, high = gain_interval(outcome, confidence, 300, seed)
    assert -1 <= low <= high <= 1
    assert outcome.min() <= low
    assert high <= outcome.max()
    assert gain_interval(np.sort(outcome), confidence, 300, seed) == (low, high)
    wider = gain_interval(outcome, (1 + confidence) / 2, 300, seed)
    assert wider[0] <= low
    assert high <= wider[1]


indices = st.integers(0, len(CLASSES) - 1)


@given(st.lists(st.tuples(indices, indices, indices), min_size=1, max_size=60), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_decision_agrees_with_its_definition(rows: list[tuple[int, int, int]], seed: int) -> None:
    labels, challenger, champion = (np.array(column) for column in zip(*rows, strict=True))
    policy = PromotionPolicy(
        min_rows=20, floor_skill=0.2, minimum_gain=0.05, resamples=200, max_class_drop=0.25, min_class_rows=5
    )
    decision = decide(labels, challenger, champion, CLASSES, policy, seed)
    count = len(rows)
    accuracy = sum(y == p for y, p, _ in rows) / count
    gain = accuracy - sum(y == p for y, _, p in rows) / count
    constant = max(sum(y == c for y, _, _ in rows) for c in range(3)) / count
    drops = [
        (naive_recall(list(labels), list(champion), c) or 0) - (naive_recall(list(labels), list(challenger), c) or 0)
        for c in range(3)
        if sum(labels == c) >= 5
    ]
    assert check(decision, "floor").passed == (accuracy >= constant + 0.2 * (1 - constant))
    assert check(decision, "enough_rows").passed == (count >= 20)
    assert decision.gain == pytest.approx(gain)
    assert check(decision, "minimum_gain").passed == (decision.gain >= 0.05)
    assert decision.interval is not None
    assert check(decision, "interval").passed == (decision.interval[0] >= 0)
    assert check(decision, "class_drop").passed == all(drop <= 0.25 + 1e-9 for drop in drops)
    assert decision.promote == all(c.passed for c in decision.checks)
    for failed in (c for c in decision.checks if not c.passed):
        assert failed.name in decision.reason


@given(st.lists(st.tuples(indices, indices, indices), min_size=1, max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_decision_does_not_depend_on_the_order_of_the_examples(rows: list[tuple[int, int, int]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (
        decide(*(np.array(column) for column in zip(*order, strict=True)), CLASSES, LENIENT, 0)
        for order in (rows, shuffled)
    )
    assert first == second


@given(st.lists(st.tuples(indices, indices), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_recalls_agree_with_a_scan(rows: list[tuple[int, int]]) -> None:
    labels, predictions = ([row[i] for row in rows] for i in (0, 1))
    found = recalls(np.array(labels), np.array(predictions), 3)
    for index in range(3):
        expected = naive_recall(labels, predictions, index)
        assert np.isnan(found[index]) if expected is None else found[index] == pytest.approx(expected)


def test_clear_gain_is_promoted() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    decision = decide(labels, answers(labels, 0.9, rng), answers(labels, 0.6, rng), CLASSES, PromotionPolicy(), 0)
    assert decision.promote
    assert "gains +" in decision.reason
    assert decision.to_json()["promote"] is True


def test_equal_models_pass_at_most_one_time_in_twenty() -> None:
    """Without a real difference only luck promotes, and the interval bounds it by (1 - confidence) / 2."""
    rng = np.random.default_rng(5)
    policy = PromotionPolicy(minimum_gain=0.0, max_class_drop=1.0, resamples=1_000)
    trials = 400
    promoted = 0
    for seed in range(trials):
        labels = rng.integers(0, 3, 300)
        promoted += decide(labels, answers(labels, 0.7, rng), answers(labels, 0.7, rng), CLASSES, policy, seed).promote
    assert promoted / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert promoted > 0


def test_gain_that_luck_explains_is_refused() -> None:
    labels = np.zeros(200, dtype=int)
    labels[100:] = 1
    champion = labels.copy()
    champion[:40] = 2
    challenger = labels.copy()
    challenger[[*range(3, 40), 150]] = 2  # three wins, one loss
    decision = decide(labels, challenger, champion, CLASSES, PromotionPolicy(), 0)
    assert check(decision, "minimum_gain").passed
    assert not check(decision, "interval").passed
    assert not decision.promote
    assert "interval" in decision.reason


def test_falling_class_is_refused_and_named() -> None:
    labels = np.repeat([0, 1, 2], 100)
    champion = np.where(labels == 0, 1, labels)
    challenger = labels.copy()
    challenger[100:120] = 0  # bee loses a fifth of its recall, ant gains all of it
    decision = decide(labels, challenger, champion, CLASSES, PromotionPolicy(), 0)
    assert not decision.promote
    assert "bee loses 0.200" in decision.reason
    assert [c.name for c in decision.checks if not c.passed] == ["class_drop"]


def test_falling_class_without_support_is_not_held_against() -> None:
    labels = np.array([0] * 200 + [1] * 200 + [2] * 5)
    champion = np.where((labels == 0) & (np.arange(405) < 60), 1, labels)
    challenger = np.where(labels == 2, 0, labels)
    assert decide(labels, challenger, champion, CLASSES, PromotionPolicy(), 0).promote


def test_first_champion_needs_only_the_floor() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 60)
    good = decide(labels, answers(labels, 0.8, rng), None, CLASSES, PromotionPolicy(), 0)
    assert good.promote
    assert good.gain is None
    assert good.interval is None
    constant = decide(labels, np.full(60, 1), None, CLASSES, PromotionPolicy(), 0)
    assert not constant.promote
    assert "floor" in constant.reason


def test_floor_is_relative_to_the_largest_class() -> None:
    labels = np.array([0] * 95 + [1] * 5)
    always = decide(labels, np.zeros(100, dtype=int), None, CLASSES, PromotionPolicy(), 0)
    assert not always.promote
    floor = check(always, "floor")
    assert (floor.found, floor.needed) == (0.95, pytest.approx(0.955))


def test_floor_accuracy_is_absolute() -> None:
    labels = np.array([0, 1, 2] * 20)
    challenger = labels.copy()
    challenger[:12] = (challenger[:12] + 1) % 3
    assert not decide(labels, challenger, None, CLASSES, PromotionPolicy(floor_accuracy=0.9), 0).promote
    assert decide(labels, challenger, None, CLASSES, PromotionPolicy(floor_accuracy=0.8), 0).promote


def test_few_examples_leave_the_champion() -> None:
    labels = np.array([0, 1, 2] * 10)
    decision = decide(labels, labels, (labels + 1) % 3, CLASSES, PromotionPolicy(), 0)
    assert not decision.promote
    assert decision.reason == "enough_rows found 30, needed 200"


@pytest.mark.parametrize("champion", [None, np.array([], dtype=int)])
def test_no_labels(champion: np.ndarray | None) -> None:
    none = np.array([], dtype=int)
    decision = decide(none, none, champion, CLASSES, PromotionPolicy(), 0)
    assert decision.promote == (champion is None)
    assert "no held-out labels" in decision.reason


def test_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"challenger has shape \(2,\)"):
        decide(np.array([0]), np.array([0, 1]), None, CLASSES, LENIENT, 0)
    with pytest.raises(BadInputError, match="champion holds 0 to 3, expected 0 to 2"):
        decide(np.array([0, 1]), np.array([0, 1]), np.array([0, 3]), CLASSES, LENIENT, 0)


def test_committed_policy_holds_every_name_and_the_defaults() -> None:
    section = read_yaml(Path(__file__).parents[2] / "mlflow" / "promotion.yaml")["images"]
    assert PromotionPolicy.read(section, "images") == PromotionPolicy()
    assert set(section) == set(PromotionPolicy.model_fields)


def test_unknown_name_in_the_policy_is_an_error() -> None:
    with pytest.raises(BadInputError, match="minimun_gain"):
        PromotionPolicy.read({"minimun_gain": 0.1}, "mlflow/promotion.yaml: images")
