"""Outcomes: the running example of the paper by hand, the boundaries, and nothing lost, doubled or foreseen."""

from collections import Counter
from datetime import date, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.retail.churn import releases
from evergreen.retail.example_frames import NEVER, PENDING
from evergreen.retail.rfm import Traces

EPOCH = datetime(1970, 1, 1)
START = datetime(2022, 1, 1)
Found = tuple[str, int, int, int | None, bool | None, str | None]


def outcomes(receipts: list[tuple[str, int, int]], churn_days: int, last_day: int, published: bool) -> list[Found]:
    """Of receipts (customer, day, hour): (customer, generated, number, day, label, label_at as "day h:mm:ss")."""
    times = [START + timedelta(days=day, hours=hour) for _, day, hour in receipts]
    table = pa.table(
        {
            "customer_id": pa.array([customer for customer, _, _ in receipts], pa.string()),
            "amount": pa.array([1.0] * len(receipts), pa.float64()),
            "timestamp": pa.array(times, pa.timestamp("us")),
        }
    )
    traces, zero = Traces.of(table), (START - EPOCH).days
    found = releases(traces, churn_days, zero + last_day, published)
    names, rows = traces.names.to_pylist(), []
    for group, generated in found.examples(at_once=3):
        for position, day in zip(group.tolist(), generated.tolist(), strict=True):
            pending = found.label[position] == PENDING
            assert pending == (found.day[position] == NEVER)
            at = None if pending else EPOCH + timedelta(microseconds=int(found.label_at[position])) - START
            rows.append(
                (
                    names[found.customer[position]],
                    day - zero,
                    int(found.number[position]),
                    None if pending else int(found.day[position]) - zero,
                    None if pending else bool(found.label[position]),
                    None if at is None else f"{at.days} {timedelta(seconds=at.seconds)}",
                )
            )
    assert len(rows) == found.rows
    return rows


def test_the_running_example_with_an_alert_after_two_days() -> None:
    """Bought on day 0, twice on day 1, then on day 4: returns after one day, churns on day 3, comes back as new."""
    receipts = [("a", 0, 9), ("a", 1, 10), ("a", 1, 17), ("a", 4, 8)]
    assert outcomes(receipts, churn_days=2, last_day=5, published=True) == [
        ("a", 0, 0, 1, False, "1 23:59:59"),
        ("a", 1, 1, 1, False, "1 10:00:00"),
        ("a", 1, 0, 3, True, "3 23:59:59"),
        ("a", 2, 0, 3, True, "3 23:59:59"),
    ]
    assert outcomes(receipts, churn_days=2, last_day=5, published=False) == [
        ("a", 0, 0, 1, False, "1 10:00:00"),
        ("a", 1, 1, 1, False, "1 17:00:00"),
        ("a", 1, 0, 3, True, "3 23:59:59"),
        ("a", 2, 0, 3, True, "3 23:59:59"),
        ("a", 4, 0, None, None, None),
        ("a", 5, 0, None, None, None),
    ]


def test_a_purchase_on_the_day_of_the_deadline_is_a_return() -> None:
    on_time = outcomes([("a", 0, 9), ("a", 3, 9)], churn_days=3, last_day=3, published=False)
    assert [row[1:5] for row in on_time] == [(0, 0, 3, False), (1, 0, 3, False), (2, 0, 3, False), (3, 0, None, None)]
    late = outcomes([("a", 0, 9), ("a", 4, 9)], churn_days=3, last_day=4, published=False)
    assert [row[1:5] for row in late] == [(0, 0, 3, True), (1, 0, 3, True), (2, 0, 3, True), (4, 0, None, None)]


def test_the_outcome_of_the_last_day_is_known_only_at_its_end() -> None:
    assert [row[3] for row in outcomes([("a", 0, 9)], churn_days=3, last_day=2, published=False)] == [None] * 3
    assert [row[3] for row in outcomes([("a", 0, 9)], churn_days=3, last_day=3, published=False)] == [3] * 3


def test_three_receipts_on_one_day_make_two_examples_during_it() -> None:
    found = outcomes([("a", 0, 9), ("a", 0, 9), ("a", 0, 12)], churn_days=1, last_day=0, published=False)
    assert found == [
        ("a", 0, 1, 0, False, "0 9:00:00"),
        ("a", 0, 2, 0, False, "0 12:00:00"),
        ("a", 0, 0, None, None, None),
    ]


streams = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 25), st.sampled_from([0, 9, 23])), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=50)
@given(streams, st.integers(1, 30), st.integers(0, 30))
def test_no_example_is_lost_or_doubled(receipts: list[tuple[str, int, int]], churn_days: int, last_day: int) -> None:
    known = [receipt for receipt in receipts if receipt[1] <= last_day]
    bought = Counter((customer, day) for customer, day, _ in known)
    expected = {
        (customer, day, 0)
        for customer, _ in bought
        for day in range(last_day + 1)
        if any((customer, day - age) in bought for age in range(churn_days))
    } | {(customer, day, number) for (customer, day), times in bought.items() for number in range(1, times)}
    found = outcomes(receipts, churn_days, last_day, published=False)
    assert sorted(row[:3] for row in found) == sorted(expected)
    published = outcomes(receipts, churn_days, last_day, published=True)
    assert [row[:5] for row in published] == [row[:5] for row in found if row[4] is not None]


@settings(deadline=None, max_examples=50)
@given(streams, st.integers(1, 30), st.integers(0, 25))
def test_outcomes_need_nothing_that_comes_later(
    receipts: list[tuple[str, int, int]], churn_days: int, day: int
) -> None:
    everything = outcomes(receipts, churn_days, 30, published=False)
    earlier = [receipt for receipt in receipts if receipt[1] <= day]
    until_then = outcomes(earlier, churn_days, day, published=False) if earlier else []
    known = [row for row in until_then if row[3] is not None]
    assert [row for row in everything if row[3] is not None and row[3] <= day] == known


@settings(deadline=None, max_examples=50)
@given(streams, st.integers(1, 30))
def test_the_order_is_that_of_the_outcomes(receipts: list[tuple[str, int, int]], churn_days: int) -> None:
    found = outcomes(receipts, churn_days, 25, published=False)
    names = list(dict.fromkeys(Traces.of(_shells(receipts)).names.to_pylist()))
    keys = [(NEVER if day is None else day, names.index(who), made, number) for who, made, number, day, _, _ in found]
    assert keys == sorted(keys)


def test_the_days_are_those_of_the_calendar() -> None:
    table = _shells([("a", 58, 23), ("a", 59, 0)])  # the last hour of 28 February and the first of 1 March
    found = releases(Traces.of(table), 5, (date(2022, 3, 1) - EPOCH.date()).days, published=False)
    assert [EPOCH.date() + timedelta(days=int(day)) for day in found.first] == [date(2022, 2, 28), date(2022, 3, 1)]
    assert found.count.tolist() == [1, 1]


def _shells(receipts: list[tuple[str, int, int]]) -> pa.Table:
    return pa.table(
        {
            "customer_id": [customer for customer, _, _ in receipts],
            "amount": [1.0] * len(receipts),
            "timestamp": pa.array(
                [START + timedelta(days=day, hours=hour) for _, day, hour in receipts], pa.timestamp("us")
            ),
        }
    )
