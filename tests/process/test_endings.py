"""Ends of cases against a walk through time that knows nothing of what comes later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.process import endings
from evergreen.process.endings import Endings, default_stream

TIMEOUT_S = 5
TIMEOUT_DAYS = TIMEOUT_S / 86_400


def logs():
    event = st.tuples(
        st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["A", "B", "C"]), st.integers(0, 60), st.none()
    )
    return st.lists(event, min_size=1, max_size=40)


def rules():
    declared = st.one_of(st.none(), st.just(("A",)), st.just(("A", "C")))
    return st.builds(Endings, activities=declared, learn=st.booleans(), timeout_days=st.just(TIMEOUT_DAYS))


def rows_of(stream):
    """(case, activity, time, file row, position, asked) of each event of a stream."""
    return [
        (
            stream.cases[int(stream.case[row])].as_py(),
            stream.activities[stream.activity[row]],
            int(stream.time_us[row]),
            int(stream.event_index[row]),
            int(stream.position[row]),
            bool(stream.asked[row]),
        )
        for row in range(len(stream))
    ]


def live(table, rule, least, share):
    """The same rows, found event by event: before each one, what time has shown meanwhile."""
    names = ("case_id", "activity", "timestamp", "event_index")
    log = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    log = [(case, activity, round(time.timestamp() * 1e6), index) for case, activity, time, index in log]
    timeout = TIMEOUT_S * 1_000_000

    def fates(now, name):
        """Of each earlier event with this activity whose fate is known: whether silence came."""
        for row, (case, activity, time, _) in enumerate(log):
            if activity == name and time < now:
                after = [other[2] for other in log[row + 1 :] if other[0] == case and other[2] < now]
                if after and after[0] - time < timeout:
                    yield False
                elif time + timeout < now:
                    yield True

    open_cases, stream, last = {}, [], log[-1][2]
    for case, activity, now, index in [*log, (None, None, last, None)]:
        for other in sorted(open_cases, key=lambda name: (open_cases[name][0], open_cases[name][2])):
            time, count, _ = open_cases[other]
            due = time + timeout
            if due <= now:
                stream.append((other, "_END_", due, -1, count, True))
                del open_cases[other]
        if case is None:
            break
        found = list(fates(now, activity))
        learned = rule.learn and len(found) >= least and sum(found) >= share * len(found)
        at_once = activity in rule.activities if rule.activities is not None else learned
        count = open_cases.pop(case, (0, 0, 0))[1]
        stream.append((case, activity, now, index, count, count > 0))
        if at_once:
            stream.append((case, "_END_", now, -1, count + 1, False))
        else:
            open_cases[case] = (now, count + 1, len(stream))
    return stream


def same_moments(rows):
    """Rows with the time-outs of one moment, whose order means nothing, in the order of their names."""
    return sorted(rows, key=lambda row: (row[2], row[5] or row[3] >= 0, row[3] if row[3] >= 0 else -1, row[0]))


@given(logs(), rules())
@settings(max_examples=100, deadline=None)
def test_ends_are_those_that_a_live_system_finds(make_events, events, rule):
    table = make_events(events)
    declared = [name for name in rule.activities or () if name not in table["activity"].to_pylist()]
    if declared:
        with pytest.raises(BadInputError, match=f"no activity '{declared[0]}' that could end a case"):
            default_stream(table, rule)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endings, "LEARNED_COUNT", 2)
        patch.setattr(endings, "LEARNED_SHARE", 0.6)
        found = rows_of(default_stream(table, rule))
    assert same_moments(found) == same_moments(live(table, rule, 2, 0.6))


@given(logs(), st.integers(1, 39))
@settings(max_examples=100, deadline=None)
def test_the_stream_up_to_a_moment_does_not_depend_on_what_comes_later(make_events, events, seen):
    table = make_events(events)
    part = table.slice(0, seen)
    last = round(part["timestamp"][-1].as_py().timestamp() * 1e6)
    rule = Endings(timeout_days=TIMEOUT_DAYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endings, "LEARNED_COUNT", 2)
        whole, early = (rows_of(default_stream(log, rule)) for log in (table, part))
    assert [row for row in early if row[2] < last] == [row for row in whole if row[2] < last]


def test_the_time_out_is_learned_from_the_warm_up_alone(make_events):
    slow_later = [(f"c{n}", name, 100 * n + step, None) for n in range(100) for step, name in ((0, "A"), (7, "B"))]
    slow_later += [
        (f"d{n}", name, 20_000 + 900 * n + step, None) for n in range(900) for step, name in ((0, "A"), (500, "B"))
    ]
    stream = default_stream(make_events(slow_later), Endings(learn=False))
    assert stream.cut == 299  # 200 events and the ends that are known by then: all but the last
    ends = stream.activity == stream.end
    assert set((stream.time_us[ends] - stream.time_us[stream.previous[ends]]).tolist()) == {14_000_000}
    again = [name.as_py() for name in stream.cases if name.as_py().startswith("d")]
    assert len(again) == 2 * len(set(again)), "a case that goes on after its end begins anew"


def test_a_warm_up_without_a_second_event_of_a_case_gives_its_own_length(make_events):
    events = [(f"c{n}", "A", 10 * n, None) for n in range(200)]
    stream = default_stream(make_events(events))
    ends = np.flatnonzero(stream.activity == stream.end)
    assert stream.time_us[ends[0]] - stream.time_us[stream.previous[ends[0]]] == 190_000_000


@pytest.mark.parametrize("count", [0, 1])
def test_a_log_of_no_or_one_event_has_a_stream(make_events, count):
    stream = default_stream(make_events([("a", "A", 0, None)]).slice(0, count))
    assert (len(stream), stream.cut, stream.end) == (count, 0, -1)
