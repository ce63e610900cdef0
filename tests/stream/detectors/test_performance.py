"""River's detectors in our frame, against river itself."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, EDDM, HDDMA, HDDMW

from evergreen.errors import BadInputError
from evergreen.stream.detectors.registry import make_detector, restore_detector
from evergreen.stream.detectors.river_state import read_state, write_state

# with these settings ours adds nothing: no evidence asked for, and methods that only know one direction
SAME = {
    "ddm": ({"minimum_evidence": 0}, lambda: DDM(30)),
    "eddm": ({"minimum_evidence": 0}, lambda: EDDM(30)),
    "hddm_a": ({"minimum_evidence": 0}, lambda: HDDMA(0.001, 0.001)),
    "hddm_w": ({"minimum_evidence": 0}, lambda: HDDMW(0.001, 0.001)),
    "adwin": ({"minimum_evidence": 0, "direction": "both"}, lambda: ADWIN(clock=1, grace_period=0)),
    "page_hinkley": ({"minimum_evidence": 0, "threshold": 5.0}, lambda: PageHinkley(1, threshold=5.0, mode="up")),
    "kswin": ({"minimum_evidence": 0, "direction": "both"}, lambda: KSWIN(seed=0)),
}
BOTH = ("adwin", "page_hinkley", "kswin", "hddm_a", "hddm_w")
levels = st.lists(st.tuples(st.sampled_from([0.02, 0.3, 0.9]), st.integers(1, 150)), max_size=4)


def errors(parts: list[tuple[float, int]], seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [float(rng.random() < level) for level, count in parts for _ in range(count)]


def alarms(detector: Any, values: list[float]) -> list[int]:
    return [number for number, value in enumerate(values) if detector.update(value)]


@pytest.mark.parametrize("name", SAME)
@given(parts=levels, seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_alarms_are_rivers(name: str, parts: list[tuple[float, int]], seed: int) -> None:
    chosen, make = SAME[name]
    ours, theirs = make_detector(name, **chosen), make()
    for value in errors(parts, seed):
        theirs.update(value)
        assert ours.update(value) == theirs.drift_detected


@pytest.mark.parametrize("name", SAME)
@given(
    values=st.lists(st.sampled_from([0.0, 1.0]), max_size=400), more=st.lists(st.sampled_from([0.0, 1.0]), max_size=99)
)
@settings(max_examples=10, deadline=None)
def test_state_of_river_survives_json(name: str, values: list[float], more: list[float]) -> None:
    make = SAME[name][1]
    original, copy = make(), make()
    for value in values:
        original.update(value)
    write_state(copy, json.loads(json.dumps(read_state(original), allow_nan=False)))
    assert read_state(copy) == read_state(original)
    for value in more:
        original.update(value)
        copy.update(value)
        assert copy.drift_detected == original.drift_detected
    assert read_state(copy) == read_state(original)


def test_state_of_another_river_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"river 0\.0\.1, installed is"):
        write_state(DDM(), {**read_state(DDM()), "river": "0.0.1"})


@pytest.mark.parametrize("name", SAME)
@given(parts=levels)
@settings(max_examples=4, deadline=None)
def test_an_accuracy_that_falls_is_an_error_rate_that_rises(name: str, parts: list[tuple[float, int]]) -> None:
    if name == "adwin":  # ADWIN's sums of 0 and −1 are not those of 1 and 0 to the last digit
        parts = [(level, 100) for level, _ in parts]
    values = errors(parts)
    up, down = make_detector(name), make_detector(name, direction="down")
    flipped = [1 - value for value in values] if down.binary else [-value for value in values]
    assert alarms(up, values) == alarms(down, flipped)


@pytest.mark.parametrize("name", BOTH)
def test_both_directions_are_told_apart(name: str) -> None:
    extra = {"threshold": 20.0} if name == "page_hinkley" else {}
    for first, second, expected in [(0.1, 0.9, "up"), (0.9, 0.1, "down")]:
        detector = make_detector(name, direction="both", **extra)
        found = []
        for value in errors([(first, 500), (second, 200)], seed=3):
            if detector.update(value):
                found.append(detector.direction)
        assert expected in found
        assert detector.state() == restore_detector(detector.state()).state()


@pytest.mark.parametrize("name", ["ddm", "eddm"])
def test_methods_that_know_one_direction_refuse_both(name: str) -> None:
    with pytest.raises(BadInputError, match="direction"):
        make_detector(name, direction="both")


def test_evidence_that_is_still_there_is_an_alarm_once_it_suffices() -> None:
    values = errors([(0.1, 100), (0.9, 300)])
    early = alarms(make_detector("hddm_a", minimum_evidence=0), values)[0]
    assert early < 150
    assert alarms(make_detector("hddm_a", minimum_evidence=200), values)[0] == 199


def test_what_comes_while_it_cools_down_is_not_looked_at() -> None:
    detector = make_detector("adwin", cool_down=50)
    assert [detector.update(value) for value in errors([(0.1, 500), (0.9, 100)])].count(True) == 1
    detector.restart()
    after = errors([(0.9, 400)], seed=5)
    # the new level is the detector's own, whatever came while it cooled down
    assert alarms(restore_detector(detector.state()), errors([(0.02, 50)]) + after) == []
    assert alarms(restore_detector(detector.state()), [1.0] * 50 + after) == []


def test_the_clock_is_every_value() -> None:
    values = [0.0] * 400 + [1.0] * 40
    every = alarms(make_detector("adwin"), values)
    rivers_default = alarms(make_detector("adwin", clock=32), values)
    assert every[0] < rivers_default[0]


def test_a_limit_keeps_one_surprise_from_being_drift() -> None:
    rng = random.Random(0)
    values = [rng.gauss(0.3, 0.05) for _ in range(500)] + [1e4] + [rng.gauss(0.3, 0.05) for _ in range(500)]
    assert alarms(make_detector("adwin", limit=3.0), values) == []
    assert alarms(make_detector("adwin", limit=3.0, direction="down"), [-v for v in values]) == []


def test_kswin_tests_at_its_clock_only() -> None:
    values = errors([(0.02, 300), (0.98, 60)], seed=1)
    found = alarms(make_detector("kswin", clock=7), values)
    assert found
    assert (found[0] + 1) % 7 == 0
    with pytest.raises(BadInputError, match="twice stat_size"):
        make_detector("kswin", window_size=50, stat_size=30)
