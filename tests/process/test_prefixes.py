"""Windows against one walk, event by event, and the live memory against both."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.process.case_memory import CaseMemory, Closed
from evergreen.process.endings import Endings, default_stream
from evergreen.process.prefixes import FEATURES, PADDING, LongPrefixes, PublishedPrefixes
from evergreen.process.stream import published_stream

TIMEOUT_S = 20


def logs():
    event = st.tuples(
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, 200_000),
        st.sampled_from([None, "r1", "r2"]),
    )
    return st.lists(event, min_size=1, max_size=40)


def tree_paths(stream):
    """The path of each event's node in a prefix tree whose runs of one activity are capped at two nodes."""
    parent, label, node_of, children = [-1], [None], {}, {}
    paths = []
    for row in range(len(stream)):
        case, token = int(stream.case[row]), int(stream.activity[row])
        node = node_of.get(case, 0)
        if not (label[node] == token and label[parent[node]] == token):
            if (node, token) not in children:
                children[node, token] = len(parent)
                parent.append(node)
                label.append(token)
            node = children[node, token]
        node_of[case] = node
        path = []
        while node:
            path.insert(0, label[node])
            node = parent[node]
        paths.append(path)
    return paths


def padded(values, length, filler=PADDING):
    return [*[filler] * (length - len(values[-length:])), *values[-length:]]


@given(logs(), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_published_prefixes_are_paths_in_a_tree_with_capped_runs(make_events, events, length):
    stream = published_stream(make_events(events))
    prefixes, paths = PublishedPrefixes(stream, length), tree_paths(stream)
    rows = np.arange(len(stream))
    assert prefixes.at(rows).tolist() == [padded(path, length) for path in paths]
    before = [paths[stream.previous[row]] if stream.previous[row] >= 0 else [] for row in rows]
    assert prefixes.before(rows).tolist() == [padded(path, length) for path in before]


def long_by_hand(stream, row, length):
    """Activities, resources and features of the last events up to a row, one after another."""
    events = [other for other in range(row + 1) if stream.case[other] == stream.case[row]]
    numbers = []
    for place, own in enumerate(events):
        now, year = int(stream.time_us[own]) / 1e6, math.log1p(365 * 86_400)
        before = int(stream.time_us[events[max(0, place - 1)]]) / 1e6
        time = datetime.fromtimestamp(now, UTC)
        hours = time.hour + time.minute / 60 + time.second / 3600
        day, week = 2 * math.pi * hours / 24, 2 * math.pi * (time.weekday() + hours / 24) / 7
        since_start = now - int(stream.time_us[events[0]]) / 1e6
        circle = [math.sin(day), math.cos(day), math.sin(week), math.cos(week)]
        sizes = [math.log1p(now - before) / year, math.log1p(since_start) / year, math.log1p(place) / math.log1p(1000)]
        numbers.append(sizes + circle)
    activities = padded([int(stream.activity[own]) for own in events], length)
    resources = padded([int(stream.resource[own]) for own in events], length)
    return activities, resources, padded(numbers, length, [0.0] * len(FEATURES))


@given(logs(), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_long_prefixes_are_the_last_events_as_they_are(make_events, events, length):
    stream = published_stream(make_events(events))
    prefixes = LongPrefixes(stream, length)
    rows = np.arange(len(stream))[::-1]
    window = prefixes.at(rows)
    for place, row in enumerate(rows):
        activities, resources, numbers = long_by_hand(stream, row, length)
        assert window.activity[place].tolist() == activities
        assert window.resource[place].tolist() == resources
        np.testing.assert_allclose(window.numbers[place], numbers, atol=1e-5)
    before, first = prefixes.before(rows), stream.previous[rows] < 0
    again = prefixes.at(stream.previous[rows[~first]])
    for found, expected, filler in zip(vars(before).values(), vars(again).values(), (PADDING, PADDING, 0), strict=True):
        np.testing.assert_array_equal(found[~first], expected)
        assert np.all(found[first] == filler)


@given(logs(), st.sampled_from([(), ("A",)]), st.integers(1, 6), st.integers(0, 39))
@settings(max_examples=100, deadline=None)
def test_the_live_memory_sees_what_the_stream_shows(make_events, events, ends, length, broken_at):
    table = make_events(events)
    declared = tuple(name for name in ends if name in table["activity"].to_pylist())
    stream = default_stream(table, Endings(activities=declared, timeout_days=TIMEOUT_S / 86_400))
    activities = {name: code for code, name in enumerate(stream.activities)}
    resources = {name: code for code, name in enumerate(stream.resources)}
    long, published = LongPrefixes(stream, length), PublishedPrefixes(stream)
    memory = CaseMemory(TIMEOUT_S * 1_000_000, declared, length)
    closed = []
    for row in np.flatnonzero(stream.event_index >= 0):
        case = stream.cases[int(stream.case[row])].as_py()
        resource = stream.resources[stream.resource[row]] if stream.resource[row] >= 0 else None
        closed += memory.add(case, stream.activities[stream.activity[row]], int(stream.time_us[row]), resource)
        if row >= broken_at:
            memory = CaseMemory.from_json(json.loads(json.dumps(memory.to_json())))
        if case in memory:
            expected, found = long.at(np.array([row])), memory.window([case], activities, resources, length)
            assert found.activity.tolist() == expected.activity.tolist()
            assert found.resource.tolist() == expected.resource.tolist()
            np.testing.assert_array_equal(found.numbers, expected.numbers)
            assert memory.published_window([case], activities).tolist() == published.at(np.array([row])).tolist()
    over = np.flatnonzero(stream.activity == stream.end) if stream.end >= 0 else []
    by_stream = [
        Closed(
            stream.cases[int(stream.case[row])].as_py(),
            stream.activities[stream.activity[stream.previous[row]]],
            int(stream.time_us[stream.previous[row]]),
            int(stream.time_us[row]),
        )
        for row in over
    ]
    assert sorted(closed, key=repr) == sorted(by_stream, key=repr)


def test_the_memory_holds_open_cases_only():
    memory = CaseMemory(timeout_us=1_000_000)
    for number in range(1_000):
        memory.add(f"c{number}", "A", number * 500_000)
    assert memory.cases() == ["c998", "c999"]
    assert memory.expire(10**12)[-1] == Closed("c999", "A", 499_500_000, 500_500_000)
    assert len(memory) == 0


def test_names_that_a_model_does_not_know_are_padding():
    memory = CaseMemory(timeout_us=1_000_000)
    memory.add("c", "new", 0, "someone")
    window = memory.window(["c"], {"old": 3}, {}, 2)
    assert window.activity.tolist() == [[PADDING, PADDING]]
    assert memory.published_window(["c"], {}).tolist() == [[PADDING] * 4]


def test_the_memory_refuses_time_that_runs_backwards_and_states_of_other_versions():
    memory = CaseMemory(timeout_us=1_000_000)
    memory.add("c", "A", 10_000_000)
    with pytest.raises(BadInputError, match="5 s older than the one before it"):
        memory.add("d", "A", 5_000_000)
    with pytest.raises(BadInputError, match="version 99; expected 1"):
        CaseMemory.from_json({"version": 99})


def test_a_case_of_ten_thousand_events_is_seen_through_windows(make_events):
    stream = published_stream(make_events([("c", f"a{n % 7}", n, None) for n in range(10_000)]))
    last = np.array([len(stream) - 1])
    assert stream.position[-1] == 10_000
    assert LongPrefixes(stream, 3).before(last).activity.tolist() == [[n % 7 for n in (9_997, 9_998, 9_999)]]


def test_five_thousand_activities_each_have_a_code(make_events):
    stream = published_stream(make_events([(f"c{n % 50}", f"a{n}", n, None) for n in range(5_000)]))
    assert len(stream.activities) == 5_001
    assert len(np.unique(PublishedPrefixes(stream).at(np.arange(len(stream))))) == 5_002  # padding as well
