"""The figures of a log against dictionaries of traces, and those published of real logs."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.process.log_table import log_table
from evergreen.process.stream import Encoded

TABLE = {
    "BPI20D": (17, 2, 56_437, 10_500),
    "BPI20R": (19, 2, 36_796, 6_886),
    "BPI20P": (29, 2, 18_246, 2_099),
    "Helpdesk": (14, 22, 21_348, 4_580),
    "BPI13C": (7, 585, 6_660, 1_487),
}


def figures(events):
    log = Encoded.of(events)
    return log_table(log.case, log.activity, log.resource, log.time_us)


def by_hand(events):
    traces = {}
    for row in events.to_pylist():
        traces.setdefault(row["case_id"], []).append((row["timestamp"], row["activity"]))
    variants = {tuple(name for _, name in trace) for trace in traces.values()}
    times = events["timestamp"].to_pylist()
    days = [(trace[-1][0] - trace[0][0]).total_seconds() / 86_400 for trace in traces.values()]
    return {
        "activities": len(set(events["activity"].to_pylist())),
        "resources": len(set(events["resource"].to_pylist()) - {None}),
        "events": len(events),
        "traces": len(traces),
        "variants": len(variants),
        "traces_per_variant": pytest.approx(len(traces) / len(variants)),
        "mean_length": pytest.approx(len(events) / len(traces)),
        "longest": max(len(trace) for trace in traces.values()),
        "mean_duration_days": pytest.approx(sum(days) / len(days)),
        "total_duration_days": pytest.approx((times[-1] - times[0]).total_seconds() / 86_400),
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d"]),
            st.sampled_from(["A", "B"]),
            st.integers(0, 10**6),
            st.sampled_from([None, "r", "s"]),
        ),
        min_size=1,
        max_size=25,
    )
)
@settings(max_examples=100, deadline=None)
def test_figures_are_those_of_the_traces(make_events, events):
    table = make_events(events)
    assert figures(table) == by_hand(table)


def test_a_log_without_events_has_figures_too(make_events):
    assert set(figures(make_events([("a", "A", 0, None)]).slice(0, 0)).values()) == {0}


@pytest.mark.parametrize(("log", "expected"), TABLE.items())
def test_published_figures_of_real_logs(log, expected):
    folder = os.environ.get("EVERGREEN_BENCH_DATA")
    if folder is None:
        pytest.skip("EVERGREEN_BENCH_DATA names no folder of event logs")
    found = figures(pq.read_table(Path(folder) / "process" / f"{log}.parquet"))
    assert tuple(found[name] for name in ("activities", "resources", "events", "traces")) == expected
