"""Fates of cases against a walk over each case, and how answers about them are judged."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evergreen.process.outcome import NEVER, fates, naive_remaining, outcome_auc
from evergreen.process.stream import published_stream

EVENTS = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from("abc"), st.integers(0, 10**6), st.none()), min_size=1, max_size=30
)


@settings(deadline=None)
@given(EVENTS, st.booleans())
def test_fates_are_those_of_a_walk(
    make_events: Callable[..., pa.Table], events: list[tuple[str, str, int, None]], declared: bool
) -> None:
    stream = published_stream(make_events(events))
    outcomes = [code for code, name in enumerate(stream.activities) if name in "ab"] if declared else None
    found = fates(stream, outcomes)
    for case in range(len(stream.cases)):
        rows = [row for row in range(len(stream)) if stream.case[row] == case]
        *body, closing = rows
        assert stream.activity[closing] == stream.end
        wanted = [int(stream.activity[row]) for row in body if outcomes is None or stream.activity[row] in outcomes]
        for before, row in zip([None, *rows], rows, strict=False):
            assert found.known_from[row] == closing
            assert found.outcome[row] == (wanted[-1] if wanted else -1)
            if before is None:
                assert np.isnan(found.remaining_days[row])
            else:
                days = (stream.time_us[body[-1]] - stream.time_us[before]) / 86_400e6
                assert found.remaining_days[row] == pytest.approx(days)


@settings(deadline=None)
@given(EVENTS)
def test_the_naive_reference_is_the_mean_of_closed_cases(
    make_events: Callable[..., pa.Table], events: list[tuple[str, str, int, None]]
) -> None:
    stream = published_stream(make_events(events))
    found = fates(stream)
    rows = np.flatnonzero(stream.asked)
    for row, value in zip(rows, naive_remaining(stream, found, rows), strict=True):
        closed = [r for r in rows if found.known_from[r] < row]
        last = stream.activity[stream.previous[row]]
        alike = [r for r in closed if stream.activity[stream.previous[r]] == last] or closed
        assert value == pytest.approx(found.remaining_days[alike].mean() if alike else 0.0)


def test_what_never_closes_is_never_known(make_events: Callable[..., pa.Table]) -> None:
    from evergreen.process.endings import Endings, default_stream

    stream = default_stream(make_events([("x", "a", 0.0, None), ("x", "b", 5.0, None)]), Endings(timeout_days=1))
    found = fates(stream)
    assert (found.known_from == NEVER).all()
    assert np.isnan(found.remaining_days).all()
    assert (found.outcome == -1).all()


def test_auc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    outcome = random.choice([3, 5, 9], 300, p=[0.6, 0.3, 0.1])
    shares = random.dirichlet([1, 1, 1], 300) + 0.3 * (outcome[:, None] == np.array([3, 5, 9]))
    shares = np.round(shares / shares.sum(1, keepdims=True), 2)
    areas = [roc_auc_score(outcome == code, shares[:, column]) for column, code in enumerate((3, 5, 9))]
    weights = [(outcome == code).sum() for code in (3, 5, 9)]
    assert outcome_auc(outcome, shares, (3, 5, 9)) == pytest.approx(np.average(areas, weights=weights))
    assert outcome_auc(np.full(5, 3), shares[:5], (3, 5, 9)) is None
