"""The count table against a dictionary that is updated event by event."""

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evergreen.process.contexts import Family, Ints, mixed
from evergreen.process.counts import CountTable

FAMILIES = (
    Family("suffix1"),
    Family("suffix2"),
    Family("suffix1", 0.9),
    Family("suffix2", 0.95),
    Family("suffix2", heard=2),
    Family("suffix2", 0.9, heard=3, own=False),
)
CLASSES = 4
Event = tuple[int, int, int]
EVENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, CLASSES - 1)), min_size=1, max_size=60)


def one_by_one(events: list[Event]) -> NDArray[np.float64]:
    """(n, F, CLASSES) what each event finds: every context a name of its own, every update a loop over the counts."""
    counts: defaultdict[object, list[float]] = defaultdict(lambda: [0.0] * CLASSES)
    heard: defaultdict[object, tuple[int, ...]] = defaultdict(lambda: (-1, -1, -1))
    found = []
    for last, before, label in events:
        contexts = {"suffix1": (last,), "suffix2": (last, before)}
        names = []
        for number, family in enumerate(FAMILIES):
            own = contexts[family.view] if family.own else contexts["suffix1"]
            names.append((number, own, heard[contexts[family.view]][: family.heard]))
        found.append([list(counts[name]) for name in names])
        for name, family in zip(names, FAMILIES, strict=True):
            counts[name] = [value * family.decay for value in counts[name]]
            counts[name][label] += 1
        for context in {contexts[family.view] for family in FAMILIES if family.heard}:
            heard[context] = (label, *heard[context][:2])
    return np.array(found)


def views_of(events: list[Event]) -> tuple[dict[str, NDArray[np.uint64]], Ints]:
    last, before, label = np.array(events).T
    one = mixed(np.zeros(len(events), np.uint64), last)
    return {"suffix1": one, "suffix2": mixed(one, before)}, label


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(1, 20), min_size=1, max_size=10))
def test_blocks_of_any_size_find_what_single_events_find(events: list[Event], sizes: list[int]) -> None:
    table = CountTable(FAMILIES)
    table.grow(CLASSES)
    found, start = [], 0
    while start < len(events):
        part = events[start : start + sizes[len(found) % len(sizes)]]
        views, labels = views_of(part)
        keys = table.keys(views, labels)
        found.append(table.before(keys, labels)[:, :, :CLASSES])
        table.learn(views, keys, labels)
        start += len(part)
    np.testing.assert_allclose(np.concatenate(found), one_by_one(events), atol=1e-4)


@settings(deadline=None)
@given(EVENTS, st.tuples(st.integers(0, 2), st.integers(0, 2), st.just(0)))
def test_asking_without_labels_finds_the_state_and_changes_nothing(events: list[Event], asked: Event) -> None:
    table = CountTable(FAMILIES)
    table.grow(CLASSES)
    views, labels = views_of(events)
    table.learn(views, table.keys(views, labels), labels)
    views, _ = views_of([asked])
    for _ in range(2):
        found = table.before(table.keys(views, None), None)[0, :, :CLASSES]
        np.testing.assert_allclose(found, one_by_one([*events, asked])[-1], atol=1e-4)


def test_memory_is_bounded_and_the_contexts_used_last_are_kept() -> None:
    table = CountTable((Family("suffix1"),), max_bytes=100 * 8 * 4)
    table.grow(8)
    for number in range(1_000):
        views = {"suffix1": np.array([number, 7], np.uint64)}
        labels = np.array([1, 2])
        table.learn(views, table.keys(views, labels), labels)
        assert len(table) <= 100
    views = {"suffix1": np.array([7, 999, 3], np.uint64)}
    found = table.before(table.keys(views, None), None)[:, 0]
    assert found[0, 2] == 1_000
    assert found[1, 1] == 1
    assert found[2].sum() == 0


def test_new_activities_get_columns_and_a_copy_is_independent() -> None:
    table = CountTable((Family("suffix1"),))
    table.grow(2)
    views = {"suffix1": np.array([5], np.uint64)}
    table.learn(views, table.keys(views, np.array([1])), np.array([1]))
    other = table.copy()
    table.grow(20)
    table.learn(views, table.keys(views, np.array([19])), np.array([19]))
    table.age(0.5)
    assert table.before(table.keys(views, None), None)[0, 0, [1, 19]].tolist() == [0.5, 0.5]
    assert other.before(other.keys(views, None), None)[0, 0, 1] == 1
    back = CountTable((Family("suffix1"),))
    back.restore(table.arrays())
    assert back.before(back.keys(views, None), None)[0, 0, [1, 19]].tolist() == [0.5, 0.5]
