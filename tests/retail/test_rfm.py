"""Features against a scan of the receipts, row by row; sums of money that depend on nothing but their own receipts."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.retail.rfm import NO_PURCHASE, PeriodFeatures, Traces

EPOCH = datetime(1970, 1, 1)
FIRST = (date(2020, 2, 20) - EPOCH.date()).days
Receipt = tuple[str, Decimal, datetime]


def table(receipts: list[Receipt]) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array([customer for customer, _, _ in receipts], pa.string()),
            "amount": pa.array([float(amount) for _, amount, _ in receipts], pa.float64()),
            "timestamp": pa.array([time for _, _, time in receipts], pa.timestamp("us")),
        }
    )


def day_of(time: datetime) -> int:
    return (time - EPOCH).days


def scan(receipts: list[Receipt], customer: str, day: int, period_days: int, periods: int) -> list[Any]:
    """R, F and M of each period, oldest first, by looking at every receipt."""
    features: list[Any] = []
    for period in range(periods):
        last = day - (periods - 1 - period) * period_days
        bought = [
            (day_of(time), amount)
            for who, amount, time in receipts
            if who == customer and last - period_days < day_of(time) <= last
        ]
        recency = last - max(when for when, _ in bought) if bought else NO_PURCHASE
        features += [recency, len(bought), float(sum((amount for _, amount in bought), Decimal(0)))]
    return features


moments = st.builds(
    lambda day, second: EPOCH + timedelta(days=FIRST + day, seconds=second),
    st.integers(0, 40),
    st.sampled_from([0, 1, 40_000, 86_399]),
)
receipt_lists = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c/1", "ü"]), st.decimals(-1000, 1000, places=2), moments),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=50)
@given(receipt_lists, st.integers(1, 15), st.integers(1, 4), st.integers(-3, 60))
def test_features_are_those_of_a_scan(receipts: list[Receipt], period_days: int, periods: int, after: int) -> None:
    traces, day = Traces.of(table(receipts)), FIRST + after
    names = traces.names.to_pylist()
    customers = np.arange(len(names), dtype=np.int32)
    seen = np.array(
        [np.sum((traces.customers < c) | ((traces.customers == c) & (traces.days <= day))) for c in customers]
    )
    days = np.full(len(names), day, np.int32)
    found = PeriodFeatures(traces, period_days, periods).at(customers, days, seen)
    for row, name in enumerate(names):
        expected = np.array(scan(receipts, name, day, period_days, periods)).reshape(periods, 3)
        np.testing.assert_array_equal(found.recency[row], expected[:, 0])
        np.testing.assert_array_equal(found.frequency[row], expected[:, 1])
        np.testing.assert_allclose(found.monetary[row], expected[:, 2], rtol=1e-15, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(receipt_lists)
def test_traces_hold_every_receipt_in_time_and_ties_as_given(receipts: list[Receipt]) -> None:
    traces = Traces.of(table(receipts))
    names = traces.names.to_pylist()
    found: dict[str, list[tuple[datetime, float]]] = {name: [] for name in names}
    whole, rest = np.diff(traces.wholes), np.diff(traces.fractions)
    for customer, time, units, trillionths in zip(traces.customers, traces.times, whole, rest, strict=True):
        found[names[customer]].append((EPOCH + timedelta(microseconds=int(time)), units + trillionths / 1e12))
    for name in names:
        own = [(time, float(amount)) for who, amount, time in receipts if who == name]
        own.sort(key=lambda receipt: receipt[0])  # stable
        assert [time for time, _ in found[name]] == [time for time, _ in own]
        np.testing.assert_allclose([amount for _, amount in found[name]], [amount for _, amount in own], rtol=1e-15)
    assert sorted(names) == sorted({who for who, _, _ in receipts})
    np.testing.assert_array_equal(traces.customers, np.sort(traces.customers))


@settings(deadline=None, max_examples=50)
@given(receipt_lists, st.sampled_from(["a", "b", "c/1", "ü"]))
def test_customers_keep_their_order_when_others_leave(receipts: list[Receipt], leaver: str) -> None:
    stay = [receipt for receipt in receipts if receipt[0] != leaver]
    everyone = Traces.of(table(receipts)).names.to_pylist()
    assert Traces.of(table(stay)).names.to_pylist() == [name for name in everyone if name != leaver]


@pytest.mark.parametrize("large", [1e14, 99_999_999_999_999.9])
def test_a_small_sum_is_exact_beside_huge_amounts(large: float) -> None:
    time = EPOCH + timedelta(days=FIRST)
    cents = [(f"{number:03d}", Decimal("0.1"), time) for number in range(200) for _ in range(3)]
    rows = table([*cents, *(("huge", Decimal(large), time) for _ in range(20_000))])
    traces = Traces.of(rows)
    customers = np.arange(201, dtype=np.int32)
    seen = np.searchsorted(traces.customers, customers, side="right")
    found = PeriodFeatures(traces, 10, 1).at(customers, np.full(201, FIRST, np.int32), seen)
    small = found.monetary[[name != "huge" for name in traces.names.to_pylist()], 0]
    np.testing.assert_allclose(small, 0.3, rtol=1e-15)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((None, 1.0, EPOCH), "1 receipts have no customer_id"),
        (("a", None, EPOCH), "1 receipts have no amount"),
        (("a", 1.0, None), "1 receipts have no timestamp"),
        (("a", float("nan"), EPOCH), "nan is no money"),
        (("a", float("inf"), EPOCH), "inf is no money"),
        (("a", -1e15, EPOCH), r"1e\+15 is no money"),
    ],
)
def test_receipts_that_ingest_should_have_refused_are_refused(row: tuple[Any, ...], says: str) -> None:
    names = ("customer_id", "amount", "timestamp")
    types = (pa.string(), pa.float64(), pa.timestamp("us"))
    rows = pa.table({name: pa.array([value], kind) for name, value, kind in zip(names, row, types, strict=True)})
    with pytest.raises(BadInputError, match=says):
        Traces.of(rows)
