"""The benchmark on event logs: its model, its scoring, and on one of its logs the claim itself."""

import importlib.util
import math
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.progress import Silent

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
DATA = Path(os.environ.get("EVERGREEN_BENCH_DATA", "nowhere")) / "process" / "drift"
EVENTS = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.sampled_from("abcd")), max_size=25
)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load("drift_logs")


def naive_probability(past: list[tuple[list[str], str]], before: list[str], activity: str, order: int) -> float:
    """The model's formula, counting the past anew for each context."""
    known = {label for _, label in past}
    probability = 1 / (len(known) + 1)
    for length in range(min(order, len(before)) + 1):
        context = before[len(before) - length :]
        followers = Counter(
            label for prefix, label in past if len(prefix) >= length and prefix[len(prefix) - length :] == context
        )
        if not followers:
            break
        probability = (followers[activity] + len(followers) * probability) / (followers.total() + len(followers))
    return probability


@given(EVENTS, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_model_is_its_formula(events: list[tuple[list[str], str]], order: int) -> None:
    model = load("next_activity_baseline").NextActivityModel(order)
    for number, (before, activity) in enumerate(events):
        expected = naive_probability(events[:number], before, activity, order)
        assert model.answer(before, activity).loss == pytest.approx(-math.log(expected))
        model.learn(before, activity)
    model.forget()
    assert model.answer(["a"], "b").loss == 0  # nothing is known: one unknown activity has it all


def test_alarms_are_judged_by_the_change_before_them(benchmark: ModuleType) -> None:
    log = benchmark.Log("log", (("1", "a"),) * 10_000, (3_000, 7_000))
    judged = benchmark.judge(log, [2_999, 3_100, 4_000, 5_000, 5_001, 9_001])
    assert judged["delays"] == [100, None]
    assert judged["false"] == 3
    total = benchmark.summary({"log": judged})
    assert (total["changes"], total["found"], total["median_delay_of_found"]) == (2, 1, 100)
    assert total["false_alarms_per_1000_events"] == 0.3


def test_the_stream_of_alarms_does_not_look_ahead(benchmark: ModuleType) -> None:
    events = [
        (str(number % 7), "abc"[(number // 7) % 3 if number < 3_000 else (number * 5) % 3]) for number in range(6_000)
    ]
    make = benchmark.default_detector
    whole = benchmark.alarms(benchmark.Log("log", tuple(events)), "all", make(), Silent())
    half = benchmark.alarms(benchmark.Log("log", tuple(events[:4_000])), "all", make(), Silent())
    assert [position for position in whole if position < 4_000] == half


@pytest.mark.skipif(not DATA.is_dir(), reason="EVERGREEN_BENCH_DATA names no folder with the logs")
@pytest.mark.parametrize(("name", "change"), [("ceravolo_cb", 5_428), ("ceravolo_sw", 5_688)])
def test_the_default_finds_a_change_soon_and_nothing_else(benchmark: ModuleType, name: str, change: int) -> None:
    log = benchmark.read_log(DATA / f"{name}.parquet", (change,))
    judged = benchmark.judge(log, benchmark.alarms(log, "all", benchmark.default_detector(), Silent()))
    assert judged["false"] == 0
    assert judged["delays"][0] < 250
    still = benchmark.shuffled(DATA / f"{name}.parquet", 0)
    assert sorted(still.events) == sorted(log.events)
    assert benchmark.alarms(still, "all", benchmark.default_detector(), Silent()) == []
