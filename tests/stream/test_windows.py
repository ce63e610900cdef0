from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.windows import Tumbling, moment, runs

HOUR = 3_600_000_000
TIMES = st.lists(st.integers(-(10**15), 10**17), max_size=40).map(sorted)


@given(times=TIMES, hours=st.integers(1, 400))
def test_by_time_each_event_is_in_the_one_window_of_the_grid_that_covers_it(times, hours):
    config = Tumbling(by="time", hours=hours)
    numbers = config.numbers(np.array(times, dtype=np.int64), seen=7)
    for time, number in zip(times, numbers, strict=True):
        start, end = config.bounds(int(number), time, time)
        assert start <= moment(time) < end
        covering = [
            k for k in range(int(number) - 2, int(number) + 3) if k * hours * HOUR <= time < (k + 1) * hours * HOUR
        ]
        assert covering == [number]


@given(times=TIMES, rows=st.integers(1, 9))
def test_by_count_windows_hold_rows_events_as_a_counting_loop_says(times, rows):
    expected, window, held = [], 0, 0
    for _ in times:
        if held == rows:
            window, held = window + 1, 0
        expected.append(window)
        held += 1
    assert Tumbling(by="count", rows=rows).numbers(np.array(times, dtype=np.int64), seen=0).tolist() == expected


@given(times=TIMES, cut=st.integers(0, 40), by=st.sampled_from(["time", "count"]))
def test_a_stream_read_in_two_pieces_has_the_same_windows(times, cut, by):
    config = Tumbling(by=by, hours=24, rows=3)
    array = np.array(times, dtype=np.int64)
    cut = min(cut, len(array))
    pieces = [config.numbers(array[:cut], 0), config.numbers(array[cut:], cut)]
    np.testing.assert_array_equal(np.concatenate(pieces), config.numbers(array, 0))


def test_days_are_those_of_utc():
    config = Tumbling(hours=24)
    last = int(datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC).timestamp() * 1e6)
    first, second = config.numbers(np.array([last, last + 1]), 0)
    assert config.bounds(int(first), last, last) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    assert second == first + 1


def test_by_count_the_bounds_are_the_arrivals_of_the_first_and_the_last_event():
    assert Tumbling(by="count").bounds(3, 5, 9) == (moment(5), moment(9))


@pytest.mark.parametrize("by", ["time", "count"])
def test_events_out_of_order_are_refused_by_name(by):
    with pytest.raises(BadInputError, match=r"Event 12 of the stream is of 1970-01-01 00:00:00\.000001"):
        Tumbling(by=by).numbers(np.array([1, 2, 1, 3]), seen=10)


@given(st.lists(st.integers(0, 3), max_size=30))
def test_runs_are_the_maximal_stretches(values):
    found = list(runs(np.array(values, dtype=np.int64)))
    assert [value for value, start, stop in found for _ in range(start, stop)] == values
    assert all(left[0] != right[0] for left, right in pairwise(found))


@pytest.mark.parametrize("wrong", [{"hours": 0}, {"rows": 0}, {"by": "size"}, {"minutes": 5}])
def test_a_cut_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(BadInputError, match=r"images\.windows"):
        Tumbling.read(wrong, "params.yaml: images.windows")
