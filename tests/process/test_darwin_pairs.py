"""Pairs against a memory of open cases that is kept event by event."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.process.darwin_pairs import Pairs
from evergreen.process.stream import EventStream, published_stream

short_logs = st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("ABC")), min_size=1, max_size=30)


def pairs_of(stream: EventStream) -> Pairs:
    return Pairs.of(stream, np.flatnonzero(stream.asked))


def naive_pairs(stream: EventStream) -> list[tuple[int, int, list[int], int]]:
    """(row, row before, path, activity): a third event of a run in a row stays on the second one's node."""
    paths: dict[int, list[int]] = {}
    latest: dict[int, int] = {}
    found = []
    for row, (case, activity) in enumerate(zip(stream.case.tolist(), stream.activity.tolist(), strict=True)):
        if case in paths:
            found.append((row, latest[case], list(paths[case]), activity))
        path = paths.setdefault(case, [])
        if path[-2:] != [activity, activity]:
            path.append(activity)
        latest[case] = row
    return found


@given(events=short_logs)
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_of_a_memory_of_open_cases(events, make_events):
    stream = published_stream(make_events([(case, name, 60.0 * k, None) for k, (case, name) in enumerate(events)]))
    pairs = pairs_of(stream)
    expected = naive_pairs(stream)
    assert len(pairs.row) == len(expected)
    for k, (row, before, path, activity) in enumerate(expected):
        assert (pairs.row[k], pairs.asked_at[k], pairs.label[k]) == (row, before, activity)
        start, length = pairs.start[k], pairs.length[k]
        assert pairs.tokens[start : start + length].tolist() == path
        assert pairs.windows[pairs.window[k]].tolist() == ([-1] * 4 + path)[-4:]


def test_equal_windows_have_one_number_in_order_of_appearance(make_events):
    events = [(case, name, 10.0 * k, None) for k, (case, name) in enumerate([*zip("pqpqpq", "AABBAB", strict=True)])]
    pairs = pairs_of(published_stream(make_events(events)))
    assert len(np.unique(pairs.windows, axis=0)) == len(pairs.windows)
    _, first = np.unique(pairs.window, return_index=True)
    assert first.tolist() == sorted(first.tolist())


PUBLISHED_DRIFTS = [(2787, 160), (2915, 192), (3459, 512), (3993, 832), (4028, 736), (4312, 864), (4480, 896)]
"""Events of the authors' run on BPI20P, and the width of ADWIN's window after each."""
PUBLISHED_BUFFERS = [2428, 256, 640, 960, 864, 992, 1024]


@pytest.mark.skipif("EVERGREEN_BENCH_DATA" not in os.environ, reason="needs the event logs")
def test_the_authors_buffers_are_met_to_the_pair():
    table: pa.Table = pq.read_table(Path(os.environ["EVERGREEN_BENCH_DATA"]) / "process" / "BPI20P.parquet")
    stream = published_stream(table)
    assert (len(stream), stream.cut) == (20345, 2030)
    row = pairs_of(stream).row
    oldest, lengths = 0, []
    for event, width in PUBLISHED_DRIFTS:
        newest = int(np.searchsorted(row, event))  # pairs among the first so many events
        lengths.append(newest - oldest)
        oldest = newest - width
    assert lengths == PUBLISHED_BUFFERS
