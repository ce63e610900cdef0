"""The encoded stream against a plain walk over the traces."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.process.stream import published_stream

START = datetime(2026, 3, 1, tzinfo=UTC)


def logs(most=40):
    event = st.tuples(
        st.sampled_from(["c1", "c2", "c3", "c4"]),
        st.sampled_from(["A", "B", "C", "_END_"]),
        st.integers(0, 30),
        st.sampled_from([None, "r1", "r2"]),
    )
    return st.lists(event, min_size=1, max_size=most)


def named(stream):
    """The stream's events by their names: (case, activity, seconds, resource, event_index)."""
    start = int(START.timestamp() * 1e6)
    return [
        (
            stream.cases[int(stream.case[row])].as_py(),
            stream.activities[stream.activity[row]],
            (int(stream.time_us[row]) - start) / 1e6,
            stream.resources[stream.resource[row]] if stream.resource[row] >= 0 else None,
            int(stream.event_index[row]),
        )
        for row in range(len(stream))
    ]


def published_by_hand(events):
    """Traces with a closing event a second after the last one, laid out one after another, sorted by time."""
    closing = "_END_" if all(event[1] != "_END_" for event in events) else "_END__"
    whole = [(*event, index, 0) for index, event in enumerate(events)]
    for case in dict.fromkeys(event[0] for event in events):
        own = sorted((row for row in whole if row[0] == case and row[5] == 0), key=lambda row: (row[2], row[4]))
        whole.append((case, closing, own[-1][2] + 1, None, own[-1][4], 1))
    rows = sorted(whole, key=lambda row: (row[2], row[4], row[5]))
    return [(*row[:4], -1 if row[5] else row[4]) for row in rows]


@given(logs())
@settings(max_examples=100, deadline=None)
def test_the_published_stream_is_that_of_a_walk_over_the_traces(make_events, events):
    stream = published_stream(make_events(events))
    rows = named(stream)
    assert rows == published_by_hand(events)
    assert list(dict.fromkeys(row[1] for row in rows)) == list(stream.activities)
    assert list(dict.fromkeys(row[0] for row in rows)) == stream.cases.to_pylist()
    assert stream.activities[stream.end].startswith("_END_")
    seen: dict[str, list[int]] = {}
    for row, (case, *_) in enumerate(rows):
        own = seen.setdefault(case, [])
        assert stream.previous[row] == (own[-1] if own else -1)
        assert stream.position[row] == len(own)
        assert bool(stream.asked[row]) == bool(own)
        if own:
            assert stream.next[own[-1]] == row
        own.append(row)
    assert all(stream.next[own[-1]] == -1 for own in seen.values())


def test_the_order_of_the_rows_given_does_not_matter(make_events):
    events = [("a", "A", 3, None), ("b", "B", 3, "r"), ("a", "B", 1, None), ("b", "C", 9, None)]
    there = make_events(events)
    shuffled = there.take([2, 0, 3, 1])
    assert named(published_stream(there)) == named(published_stream(shuffled))


def test_a_log_without_resources_and_indices_is_numbered_by_its_rows(make_events):
    events = make_events([("a", "A", 1, None), ("a", "B", 2, None)]).select(["case_id", "activity", "timestamp"])
    stream = published_stream(events)
    assert stream.resource.tolist() == [-1, -1, -1]
    assert stream.event_index.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("log", "events", "cut", "scored"),
    [("BPI20P", 20_345, 2_030, None), ("Helpdesk", 25_928, 2_590, 19_240), ("BPI13C", 8_147, 810, 6_093)],
)
def test_published_counts_of_real_logs(log, events, cut, scored):
    folder = os.environ.get("EVERGREEN_BENCH_DATA")
    if folder is None:
        pytest.skip("EVERGREEN_BENCH_DATA names no folder of event logs")
    stream = published_stream(pq.read_table(Path(folder) / "process" / f"{log}.parquet"))
    assert (len(stream), stream.cut) == (events, cut)
    assert scored is None or int(stream.scored().sum()) == scored
    assert np.all(np.diff(stream.time_us) >= 0)


@given(logs())
@settings(max_examples=40, deadline=None)
def test_names_that_are_dictionaries_make_the_same_stream(make_events, events):
    table = make_events(events)
    columns = [
        table[name].dictionary_encode() if table[name].type == pa.string() else table[name]
        for name in table.column_names
    ]
    pieces = [pa.table(columns, names=table.column_names).slice(start, 7) for start in range(0, len(table), 7)]
    chunked = pa.concat_tables([piece.take(list(range(len(piece)))[::-1]) for piece in pieces])
    plain, encoded = published_stream(table), published_stream(chunked)
    assert named(plain) == named(encoded)
    for name in ("case", "activity", "resource", "event_index", "previous", "next"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(encoded, name))
