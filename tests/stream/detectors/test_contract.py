"""One suite over all detectors: what each must do, whatever it looks at."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.detectors.labels import Labelled
from evergreen.stream.detectors.outcomes import Outcome
from evergreen.stream.detectors.registry import DETECTORS, EMBEDDINGS, FEATURES, make_detector, restore_detector

ROWS = 60  # of a window


@dataclass(frozen=True)
class Case:
    """How to feed a detector.

    Attributes:
        settings: small ones, so that the suite is quick.
        item: an item of a stream of a quality from 0 (as good as it gets) to 1 (as bad); 0.3 is normal.
        length: items in which it must notice that things got as bad as they can.
        false_alarms: that 2,000 normal items (60 windows) may raise.
        bad: items that it must refuse.
    """

    name: str
    item: Callable[[random.Random, float], Any]
    length: int
    false_alarms: int
    normal: int
    bad: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)


def error(rng: random.Random, quality: float) -> float:
    return float(rng.random() < quality)


def loss(rng: random.Random, quality: float) -> float:
    return rng.gammavariate(2.0, quality)


def labelled(rng: random.Random, quality: float) -> Labelled:
    key = rng.choice("abc")
    return Labelled(key, key if rng.random() >= quality else rng.choice("def"))


def outcome(rng: random.Random, quality: float) -> Outcome:
    return Outcome(*labelled(rng, quality), loss(rng, quality))


def table(rng: random.Random, quality: float) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(rng.getrandbits(64))
    return {"width": generator.normal(10 * quality, 1, ROWS), "height": generator.normal(0, 1, ROWS)}


def vectors(rng: random.Random, quality: float) -> np.ndarray:
    return np.random.default_rng(rng.getrandbits(64)).normal(10 * quality, 1, (ROWS, 3))


NAN = float("nan")
NO_NUMBERS = (NAN, float("inf"), None, "0.3")
BAD_TABLES = (
    {"width": np.array([]), "height": np.array([])},
    {"width": np.full(ROWS, NAN), "height": np.zeros(ROWS)},
    {"width": np.zeros(ROWS)},
    np.zeros(ROWS),
)
BAD_VECTORS = (np.zeros((0, 3)), np.full((ROWS, 3), NAN), np.zeros((ROWS, 4)), np.zeros(ROWS), np.full((2, 3), "a"))
WINDOWS = {"reference_windows": 3, "minimum_evidence": 50}
CASES = [
    Case("adwin", loss, 200, 1, 2000, NO_NUMBERS),
    Case("page_hinkley", loss, 200, 1, 2000, NO_NUMBERS),
    # river's own settings are known for many false alarms: alpha is corrected for nothing
    Case("kswin", loss, 100, 10, 1000, NO_NUMBERS, {"clock": 10, "alpha": 0.001}),
    Case("ddm", error, 200, 2, 2000, (*NO_NUMBERS, 0.5)),
    Case("eddm", error, 400, 25, 2000, (*NO_NUMBERS, 0.5)),
    Case("hddm_a", error, 200, 3, 2000, (*NO_NUMBERS, 0.5)),
    Case("hddm_w", error, 200, 8, 2000, (*NO_NUMBERS, 0.5)),
    Case("labels", labelled, 400, 0, 2000, ("a", ("a",), ("a", None), ("", "b")), {"direction": "up"}),
    Case("outcomes", outcome, 200, 1, 2000, ("a", ("a", "b"), ("a", "b", NAN), ("a", None, 1.0)), {"direction": "up"}),
    *(Case(name, table, 3, 3, 60, BAD_TABLES, WINDOWS) for name in FEATURES),
    *(Case(name, vectors, 3, 3, 60, BAD_VECTORS, {**WINDOWS, "resamples": 199}) for name in EMBEDDINGS),
]
PERFORMANCE = [case for case in CASES if case.name not in {*FEATURES, *EMBEDDINGS}]
NORMAL, WORST, BEST = 0.3, 0.9, 0.02


def by_name(case: Case) -> str:
    return case.name


every_detector = pytest.mark.parametrize("case", CASES, ids=by_name)
performance_detector = pytest.mark.parametrize("case", PERFORMANCE, ids=by_name)


def shortened(window: Any, rows: int) -> Any:
    return {name: values[:rows] for name, values in window.items()} if isinstance(window, dict) else window[:rows]


def make(case: Case, **settings: Any) -> Any:
    return make_detector(case.name, **{**case.settings, **settings})


def stream(case: Case, quality: float, count: int, seed: int = 0) -> list[Any]:
    rng = random.Random(f"{case.name} {quality} {seed}")
    return [case.item(rng, quality) for _ in range(count)]


def alarms(detector: Any, items: list[Any]) -> list[int]:
    return [number for number, item in enumerate(items) if detector.update(item)]


def warmed_up(case: Case, **settings: Any) -> Any:
    """A detector that has seen enough normal items, and raised no alarm over the last of them."""
    detector = make(case, **settings)
    alarms(detector, stream(case, NORMAL, case.normal // 2, seed=1))
    return detector


def passed_on(detector: Any) -> Any:
    """The detector after a trip through a file."""
    return restore_detector(json.loads(json.dumps(detector.state(), allow_nan=False)))


def test_the_suite_covers_every_detector() -> None:
    assert sorted(case.name for case in CASES) == sorted(DETECTORS)


@every_detector
def test_a_gross_change_is_an_alarm(case: Case) -> None:
    detector = warmed_up(case)
    found = []
    for number, item in enumerate(stream(case, WORST, case.length)):
        before = detector.updates
        found += [number] if detector.update(item) else []
        assert detector.drift_detected == bool(found and found[-1] == number)
        assert detector.updates == before + 1
    assert found


@every_detector
def test_alarms_without_a_change_are_few(case: Case) -> None:
    total = sum(len(alarms(make(case), stream(case, NORMAL, case.normal, seed))) for seed in range(3))
    assert total <= 3 * case.false_alarms


@performance_detector
def test_improvement_is_no_drift(case: Case) -> None:
    detector = warmed_up(case)
    assert alarms(detector, stream(case, BEST, 2 * case.length)) == []
    # and the better level is the new measure
    assert alarms(detector, stream(case, WORST, case.length))


@every_detector
def test_no_alarm_below_the_minimum_evidence(case: Case) -> None:
    if case in PERFORMANCE:
        items = stream(case, BEST, 100) + stream(case, WORST, 200)
        assert alarms(make(case, minimum_evidence=300), items[:299]) == []
    else:
        detector = warmed_up(case)
        small = shortened(case.item(random.Random(0), WORST), 40)
        assert not detector.update(small)
        assert "at least 50" in detector.finding.note
        assert detector.update(case.item(random.Random(0), WORST))


@every_detector
def test_no_alarm_while_it_cools_down(case: Case) -> None:
    detector = make(case, cool_down=17, minimum_evidence=case.settings.get("minimum_evidence", 30))
    items = stream(case, NORMAL, 300) if case in PERFORMANCE else stream(case, NORMAL, 5)
    # worse and better by turns: as many alarms as there can be
    for turn in range(4):
        items += stream(case, WORST if turn % 2 == 0 else BEST, 300 if case in PERFORMANCE else 20, seed=turn)
    found = alarms(detector, items)
    assert found
    assert all(later - earlier > 17 for earlier, later in pairwise(found))


@every_detector
def test_a_stream_has_one_answer(case: Case) -> None:
    items = stream(case, NORMAL, 40) + stream(case, WORST, 40)
    first, second = make(case), make(case)
    assert [alarms(first, items)] == [alarms(second, items)]
    assert first.state() == second.state()


@every_detector
def test_the_past_does_not_depend_on_the_future(case: Case) -> None:
    half = 20 if case not in PERFORMANCE else 400
    past, future = stream(case, NORMAL, half), stream(case, WORST, half) + stream(case, BEST, half)
    other = list(future)
    random.Random(1).shuffle(other)
    found = [[n for n in alarms(make(case), past + rest) if n < half] for rest in (future, other, [])]
    assert found[0] == found[1] == found[2]


@every_detector
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_restored_detectors_agree_with_uninterrupted_ones_for_ever_after(case: Case, data: st.DataObject) -> None:
    lengths = st.integers(0, 300 if case in PERFORMANCE else 5)
    parts = data.draw(st.lists(st.tuples(st.sampled_from([NORMAL, WORST, BEST]), lengths), max_size=4), "parts")
    items = [item for number, (quality, n) in enumerate(parts) for item in stream(case, quality, n, seed=number)]
    breaks = data.draw(st.sets(st.integers(0, len(items)), max_size=5), "breaks")
    small = {"minimum_evidence": 20} if case in PERFORMANCE else {}
    uninterrupted, restored = make(case, cool_down=3, **small), make(case, cool_down=3, **small)
    for number, item in enumerate(items):
        if number in breaks:
            restored = passed_on(restored)
        assert restored.update(item) == uninterrupted.update(item)
        assert restored.direction == uninterrupted.direction
    assert restored.state() == uninterrupted.state()


@every_detector
def test_a_restore_at_every_position_changes_nothing(case: Case) -> None:
    count = 150 if case in PERFORMANCE else 6
    items = [item for quality in (NORMAL, WORST, BEST, WORST) for item in stream(case, quality, count)]
    plain, restored = make(case, cool_down=2), make(case, cool_down=2)
    for item in items:
        restored = passed_on(restored)
        assert restored.update(item) == plain.update(item)
    assert restored.state() == plain.state()


@every_detector
def test_bad_items_are_refused_and_leave_no_trace(case: Case) -> None:
    detector = warmed_up(case)
    before = detector.state()
    for item in case.bad:
        with pytest.raises(BadInputError, match=r"expected|leave them out|drop|Leave|give the same"):
            detector.update(item)
        assert detector.state() == before


@every_detector
def test_a_state_that_was_changed_is_refused(case: Case) -> None:
    state = warmed_up(case).state()
    with pytest.raises(BadInputError, match="not as it was written"):
        restore_detector({**state, "updates": state["updates"] + 1})
    with pytest.raises(BadInputError, match="version"):
        restore_detector({**state, "version": 0})


@every_detector
def test_restart_forgets(case: Case) -> None:
    detector = warmed_up(case)
    detector.restart()
    detector.cooling = 0
    # the level that would have been an alarm is the new normal
    assert len(alarms(detector, stream(case, WORST, case.length, seed=2))) <= case.false_alarms


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"no detector 'adwn'. Known: adwin"):
        make_detector("adwn")
    with pytest.raises(BadInputError, match=r"detta.*\nKnown keys:.*delta"):
        make_detector("adwin", detta=0.1)
    with pytest.raises(BadInputError, match="no detector 'None'"):
        restore_detector({})
