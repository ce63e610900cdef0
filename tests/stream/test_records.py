"""Event times, hashes, the clock and duplicates, each against a plain loop."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.duplicates import SMALLEST, Seen
from evergreen.stream.event_windows import EventWindows, in_order, microseconds, spelled
from evergreen.stream.records import Columns, Reason, normalise, to_utc
from evergreen.stream.row_hash import content_sha256, hash_column, hash_rows, mix
from evergreen.stream.watermark import Clock, first_mark

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


def found(values, kind=None, **columns):
    return to_utc(pa.array(values, kind), Columns(**columns)).to_pylist()


# Event times

ROME = ZoneInfo("Europe/Rome")
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2037, 1, 1))  # later, Arrow knows no summer time


@settings(max_examples=300)
@given(MOMENTS)
def test_times_without_a_zone_are_read_in_the_given_one(naive):
    naive = naive.replace(fold=0)
    local = naive.replace(tzinfo=ROME)  # the earlier of two moments, where clocks go back
    back = local.astimezone(UTC).astimezone(ROME).replace(tzinfo=None)
    expected = local.astimezone(UTC) if back == naive else None  # a time that clocks skipped is no time
    assert found([naive], pa.timestamp("us"), timezone="Europe/Rome") == [expected]
    assert found([naive.isoformat()], timezone="Europe/Rome") == [expected]
    assert found([naive], pa.timestamp("us")) == [naive.replace(tzinfo=UTC)]


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_texts_with_an_offset_mean_what_they_say(naive, minutes):
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{naive.isoformat()}{sign}{size // 60:02d}:{size % 60:02d}"
    expected = naive.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert found([text], timezone="Europe/Rome") == [expected]
    assert found([f"{naive.isoformat()}Z"], timezone="Europe/Rome") == [naive.replace(tzinfo=UTC)]


def test_texts_that_are_no_times_are_none():
    texts = ["2026-03-01", "2026-03-01 10:00", " 2026-03-01T10:00:00.123456Z ", "2026-02-30", "soon", "", None]
    day = datetime(2026, 3, 1, tzinfo=UTC)
    expected = [day, day + timedelta(hours=10), day + timedelta(hours=10, microseconds=123_456)]
    assert found(texts) == [*expected, None, None, None, None]


@given(st.integers(-(2**62), 2**62))
def test_numbers_count_in_their_unit_and_are_cut_to_the_microsecond(number):
    for unit, factor in (("s", 10**6), ("ms", 1000), ("us", 1), ("ns", 0.001)):
        value = number // 1000 if unit == "ns" else number * int(factor)
        values = to_utc(pa.array([number]), Columns(unit=unit)).cast(pa.int64()).to_pylist()
        if abs(value) < 2.5e17:
            assert values == [value]
        else:
            assert values == [None] or abs(value) < 2.6e17


def test_nanoseconds_are_cut_downwards_on_both_sides_of_1970():
    values = pa.array([1_500, -1_500], pa.timestamp("ns", "UTC"))
    assert to_utc(values, Columns()).cast(pa.int64()).to_pylist() == [1, -2]
    assert found([1.5, float("nan"), None], unit="s") == [EPOCH + timedelta(seconds=1.5), None, None]


def test_records_that_lack_something_are_told_why():
    batch = pa.record_batch(
        {"id": [1, None, 3, 4, 5], "key": ["a", "b", None, "d", "e"], "timestamp": [1, 2, 3, None, 10**17]}
    )
    columns = Columns(id="id", key="key")
    codes = normalise(batch, pa.array([None, None, None, None, None], pa.string()), columns).codes
    assert codes.tolist() == [Reason.ACCEPTED, Reason.NO_ID, Reason.NO_KEY, Reason.NO_TIME, Reason.NO_TIME]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"timestamp": "when"}, "no column 'when' for the timestamp"), ({"id": "name"}, "no column 'name' for the id")],
)
def test_missing_columns_are_named(wrong, message):
    with pytest.raises(BadInputError, match=message):
        Columns(**wrong).check(pa.schema([("timestamp", pa.int64())]))


def test_columns_that_are_no_times_are_refused():
    with pytest.raises(BadInputError, match="holds bool; expected timestamps"):
        Columns().check(pa.schema([("timestamp", pa.bool_())]))
    with pytest.raises(BadInputError, match="no such time zone"):
        Columns.read({"timezone": "Mars/Olympus"}, "columns")


# Durations


@given(st.integers(1, 10**15))
def test_durations_are_written_as_they_are_read(duration):
    assert microseconds(spelled(duration)) == duration


@pytest.mark.parametrize("wrong", ["", "soon", "5", "1h30", "-5m", "1 fortnight", None, True])
def test_what_is_no_duration_is_refused(wrong):
    with pytest.raises(BadInputError, match="no duration"):
        EventWindows.read({"size": wrong}, "windows")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size must be longer"),
        ({"kind": "sliding", "size": "1h", "slide": "2h"}, "slide must not be longer"),
        ({"kind": "sliding", "size": "1h", "slide": "1s"}, "at most 1000 times slide"),
        ({"lateness": "200000d"}, "at most a hundred years"),
        ({"kind": "hopping"}, "kind"),
        ({"sise": "1h"}, "sise"),
    ],
)
def test_windows_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(BadInputError, match=message):
        EventWindows.read(wrong, "windows")


# Hashes

COLUMN = st.one_of(
    st.lists(st.none() | st.text(max_size=20)).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.none() | st.binary(max_size=20)).map(lambda v: pa.array(v, pa.large_binary())),
    st.lists(st.none() | st.integers(-100, 100)).map(lambda v: pa.array(v, pa.int16())),
    st.lists(st.none() | st.floats(width=32, allow_nan=False)).map(lambda v: pa.array(v, pa.float32())),
    st.lists(st.none() | st.booleans()).map(lambda v: pa.array(v, pa.bool_())),
    st.lists(st.none() | st.lists(st.integers(0, 3), max_size=2)).map(lambda v: pa.array(v, pa.list_(pa.int64()))),
    st.lists(st.none() | st.decimals(0, 9, places=2)).map(lambda v: pa.array(v, pa.decimal128(9, 2))),
)


@settings(max_examples=300)
@given(COLUMN, st.integers(0, 5))
def test_equal_values_hash_alike_wherever_they_stand_and_different_ones_do_not(column, start):
    hashes = hash_column(column).tolist()
    assert hash_column(column[start:]).tolist() == hashes[start:]
    values = [repr(value) for value in column.to_pylist()]
    assert len(set(hashes)) == len(set(values))
    assert len(set(zip(values, hashes, strict=True))) == len(set(values))


@given(st.binary(max_size=40), st.integers(0, 39), st.integers(1, 255))
def test_every_byte_counts(data, place, change):
    other = bytearray(data)
    if place < len(data):
        other[place] ^= change
    hashes = hash_column(pa.array([data, bytes(other), data + b"\0"]))
    assert (hashes[0] == hashes[1]) == (place >= len(data))
    assert hashes[2] != hashes[0]


def test_mixing_is_that_of_splitmix64():
    # the first outputs of the generator with seed 1234567, from the reference implementation's documentation
    state = np.array([1234567], dtype=np.uint64)
    assert int(mix(state.copy())[0]) == 6457827717110365317


@given(COLUMN)
def test_content_hashes_do_not_depend_on_slices_or_what_lies_under_nulls(column):
    batch = pa.record_batch({"x": column})
    longer = pa.record_batch({"x": pa.concat_arrays([column[:1], column, column[:1]])})
    inside = longer.slice(len(column[:1]), len(column))
    assert content_sha256(inside, "here") == content_sha256(batch, "here") != content_sha256(batch, "there")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3))), st.randoms())
def test_order_within_a_window_does_not_depend_on_arrival(rows, random):
    schema = pa.schema([("timestamp", pa.timestamp("us", "UTC")), ("value", pa.int64())])
    make = lambda rows: pa.RecordBatch.from_arrays(  # noqa: E731
        [pa.array([row[column] for row in rows], kind) for column, kind in enumerate(schema.types)], schema=schema
    )
    shuffled = list(rows)
    random.shuffle(shuffled)
    ordered = in_order(make(shuffled), "timestamp")
    assert ordered.equals(in_order(make(rows), "timestamp"))
    assert sorted(ordered.to_pylist(), key=str) == sorted(make(rows).to_pylist(), key=str)
    keys = list(zip(ordered["timestamp"].to_pylist(), hash_rows(ordered).tolist(), strict=True))
    assert keys == sorted(keys)


# The clock


def walk(times, mark, ahead, votes):
    """The clock, one record after the other."""
    before, flags, suspects = [], [], []
    for time in times:
        before.append(mark)
        flags.append(time > mark + ahead)
        if not flags[-1]:
            mark, suspects = max(mark, time), []
            continue
        suspects.append(time)
        if len(suspects) == votes:
            mark, suspects = max(mark, first_mark(np.array(suspects), ahead)), []
    return before, flags, mark


@settings(max_examples=300)
@given(st.lists(st.integers(0, 50) | st.integers(0, 10_000), max_size=40), st.integers(1, 5), st.integers(0, 40))
def test_the_clock_is_that_of_a_loop_however_it_is_fed(times, votes, cut):
    clock = Clock(100, votes)
    clock.begin(np.array([7]))
    before, flags = [], []
    for part in (times[:cut], times[cut:]):
        marks, ahead = clock.advance(np.array(part, dtype=np.int64))
        before += marks.tolist()
        flags += ahead.tolist()
        restored = Clock(100, votes)
        restored.restore(clock.state())
        clock = restored
    assert (before, flags, clock.mark) == walk(times, 7, 100, votes)


def test_one_wrong_clock_moves_nothing_but_a_stream_that_goes_on_does():
    clock = Clock(100, 3)
    clock.begin(np.array([10**9, 10, 12]))  # the very first record is the wrong one
    assert clock.mark == 10
    _, ahead = clock.advance(np.array([20, 10**9, 30, 5000, 5001, 40, 5002, 5003, 5004, 5005, 41]))
    assert ahead.tolist() == [False, True, False, True, True, False, True, True, True, False, False]
    assert clock.mark == 5005


# Duplicates


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40), st.integers(0, 5)), max_size=60),
    st.lists(st.integers(0, 60)),
)
def test_duplicates_are_those_of_a_dictionary(rows, cuts):
    hashes = np.array([row[0] for row in rows], dtype=np.uint64) * np.uint64(SMALLEST)  # all at the same place
    watermarks = np.cumsum([row[2] for row in rows]).astype(np.int64)
    until = watermarks + np.array([row[1] - 10 for row in rows], dtype=np.int64)
    memory, expected = {}, []
    for row, hash_ in enumerate(hashes.tolist()):
        expected.append(memory.get(hash_, -1) > watermarks[row])
        if not expected[-1]:
            memory[hash_] = until[row]
    seen, result = Seen(), []
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for start, stop in pairwise(edges):
        result += seen.admit(hashes[start:stop], until[start:stop], watermarks[start:stop]).tolist()
        restored = Seen()
        restored.restore(seen.state())
        seen = restored
    assert result == expected


def test_memory_of_duplicates_follows_what_is_remembered_not_what_has_passed():
    seen, rng = Seen(), np.random.default_rng(0)
    for step in range(100):
        watermarks = np.full(2_000, step)
        assert not seen.admit(rng.integers(1, 2**63, 2_000).astype(np.uint64), watermarks + 3, watermarks).any()
    assert len(seen) < 40_000
