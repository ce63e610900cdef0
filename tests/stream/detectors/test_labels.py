"""The betting test of labels, against a plain reading of its definition, and its promise of few false alarms."""

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.detectors.labels import LabelConfig, LabelDetector, Labelled
from evergreen.stream.detectors.outcomes import Outcome, OutcomeConfig, OutcomeDetector

PAIRS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=60)


def naive_fortunes(pairs: list[tuple[str, str]], memory: float, strength: float) -> float:
    """The sum over all games, one started at each observation: the product of its odds since then.

    The forecasters' probabilities are counted anew from the whole past of the key.
    """
    past: dict[str, list[str]] = defaultdict(list)
    odds: dict[str, list[float]] = defaultdict(list)
    known: set[str] = set()
    for key, label in pairs:
        seen = past[key]
        flat = 1 / (len(known) + 1)
        long = (seen.count(label) + flat) / (len(seen) + 1)
        weights = [(1 - 1 / memory) ** age for age in range(len(seen))]  # of the newest first
        recent = sum(weight for weight, name in zip(weights, reversed(seen), strict=True) if name == label)
        short = (recent + strength * long) / (sum(weights) + strength)
        odds[key].append(short / long)
        seen.append(label)
        known.add(label)
    return sum(float(np.prod(run[begin:])) for run in odds.values() for begin in range(len(run)))


@given(PAIRS, st.sampled_from([2.0, 10.0]), st.sampled_from([1.0, 10.0]))
@settings(max_examples=60, deadline=None)
def test_fortune_is_the_sum_over_all_games(pairs: list[tuple[str, str]], memory: float, strength: float) -> None:
    detector = LabelDetector(LabelConfig(memory=memory, strength=strength, run_length=1e12))
    for pair in pairs:
        detector.update(Labelled(*pair))
    assert detector._fortune == pytest.approx(naive_fortunes(pairs, memory, strength), rel=1e-9)


def stream(shares: dict[str, list[float]], count: int, rng: random.Random) -> list[Labelled]:
    keys = sorted(shares)
    chosen = [rng.choice(keys) for _ in range(count)]
    return [Labelled(key, rng.choices("abcd", weights=shares[key])[0]) for key in chosen]


STILL = {"a": [8, 1, 1, 0], "b": [0, 5, 4, 1], "c": [0, 0, 10, 0], "d": [1, 1, 1, 7]}


def test_false_alarms_are_as_far_apart_as_promised() -> None:
    """With a small run length there are enough of them to count; four keys share it."""
    rng = random.Random(2)
    promised, total = 500.0, 60_000
    detector = LabelDetector(LabelConfig(run_length=promised, minimum_evidence=0, cool_down=0))
    found = sum(detector.update(pair) for pair in stream(STILL, total, rng))
    assert found > 10
    assert total / found > 0.6 * promised  # the first forecaster learns: the bound holds up to that


def test_no_alarm_in_a_hundred_thousand_still_labels() -> None:
    detector = LabelDetector()
    assert sum(detector.update(pair) for pair in stream(STILL, 100_000, random.Random(1))) == 0


def test_shares_that_change_with_the_error_rate_the_same_are_found() -> None:
    rng = random.Random(3)
    detector = LabelDetector()
    assert not any(detector.update(pair) for pair in stream(STILL, 4_000, rng))
    moved = {**STILL, "b": [0, 4, 1, 5]}
    found = [n for n, pair in enumerate(stream(moved, 1_000, rng)) if detector.update(pair)]
    assert found
    assert found[0] < 300
    assert detector.alarm_key == "b"


def test_answers_that_become_right_more_often_are_no_drift_upwards() -> None:
    rng = random.Random(4)
    better = {"a": [10, 0, 0, 0], "b": [0, 10, 0, 0], "c": [0, 0, 10, 0], "d": [0, 0, 0, 10]}
    for direction, expected in [("up", False), ("both", True)]:
        detector = LabelDetector(LabelConfig(direction=direction))
        assert not any(detector.update(pair) for pair in stream(STILL, 3_000, rng))
        assert any([detector.update(pair) for pair in stream(better, 3_000, rng)]) == expected


def test_a_fortune_does_not_overflow() -> None:
    detector = LabelDetector(LabelConfig(minimum_evidence=10_000, memory=5, strength=1))
    for number in range(9_000):
        detector.update(Labelled("a", "x" if number < 4_000 else f"new {number % 2}"))
    assert np.isfinite(detector._fortune)
    detector.state()


@pytest.mark.parametrize("wrong", [{"run_length": 1}, {"memory": 1}, {"direction": "down"}, {"strength": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        LabelConfig.read(wrong, "labels")


def test_outcomes_alarm_by_whichever_is_first_and_say_which() -> None:
    rng = random.Random(5)
    still = [Outcome(*pair, rng.gammavariate(2, 0.2)) for pair in stream(STILL, 3_000, rng)]
    moved = [Outcome(*pair, rng.gammavariate(2, 0.2)) for pair in stream({**STILL, "b": [0, 4, 1, 5]}, 1_000, rng)]
    worse = [Outcome(*pair, rng.gammavariate(2, 0.8)) for pair in stream(STILL, 1_000, rng)]
    for changed, cause in [(moved, "labels"), (worse, "loss")]:
        detector = OutcomeDetector(OutcomeConfig())
        assert not any(detector.update(outcome) for outcome in still)
        assert any(detector.update(outcome) for outcome in changed)
        assert detector.cause == cause
        assert (detector.evidence, detector.cooling) == (0, detector.config.cool_down)
