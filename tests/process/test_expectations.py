"""What the suites look at, against loops over the rows."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.process.event_log import NO_TIME, EventLog
from evergreen.process.expectations import ValidateConfig, duplicates, event_frame, seconds_back

rows = st.lists(
    st.tuples(st.integers(-1, 2), st.integers(-1, 1), st.integers(0, 4), st.integers(0, 2), st.booleans()), max_size=30
)


def make_log(values):
    """Rows of (case, activity, seconds, content, malformed)."""
    case, activity, time, _, malformed = (np.array(column) for column in zip(*values, strict=True))
    return EventLog(
        case=case.astype(np.int32),
        activity=activity.astype(np.int32),
        resource=np.zeros(len(case), np.int32),
        time_us=np.where(time == 4, NO_TIME, time * 1_000_000),
        hashes=np.array([1000 * c + 100 * a + 10 * t + x for c, a, t, x, _ in values]).astype(np.uint64),
        cases=None,
        activities=None,
        resources=None,
        unread={},
        malformed=malformed,
    )


@given(rows.filter(bool))
@settings(max_examples=60, deadline=None)
def test_the_frame_says_what_loops_say(values):
    log = make_log(values)
    frame = event_frame(log, ValidateConfig())
    latest, first = {}, {}
    for row, (case, activity, time, content, malformed) in enumerate(values):
        found = frame.iloc[row]
        assert math.isnan(found["unreadable"]) != malformed
        assert math.isnan(found["case_id"]) == (case < 0 and not malformed)
        assert math.isnan(found["activity"]) == (activity < 0 and not malformed)
        assert math.isnan(found["year"]) == (time == 4 and not malformed)
        back = duplicate = math.nan
        if not malformed:
            if time != 4 and case >= 0:
                fall = latest.get(case, time) - time
                back = fall if fall > 0 else math.nan
                latest[case] = time
            key = (case, activity, time, content)
            duplicate = first.get(key, math.nan)
            first.setdefault(key, row)
        np.testing.assert_equal([found["seconds_back"], found["duplicate_of"]], [back, duplicate])


def test_nothing_is_found_in_nothing():
    none = np.zeros(0, np.int64)
    assert len(seconds_back(none.astype(np.int32), none, none.astype(bool))) == 0


def test_rows_whose_hashes_collide_are_no_duplicates():
    log = replace(make_log([(0, 0, 1, 0, False), (1, 0, 1, 0, False)]), hashes=np.zeros(2, np.uint64))
    assert np.isnan(duplicates(log, ~log.malformed)).all()


def test_rows_that_are_none_are_nobodys_duplicates():
    log = make_log([(0, 0, 1, 0, True)] * 3)
    assert np.isnan(duplicates(log, ~log.malformed)).all()
