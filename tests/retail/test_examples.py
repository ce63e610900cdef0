"""The file of examples against a naive builder that lives through the days, and against the published stream."""

import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.retail import example_partitions
from evergreen.retail.example_frames import feature_names
from evergreen.retail.examples import ExamplesConfig, make_examples, run

DATA = Path(os.environ.get("EVERGREEN_BENCH_DATA", "nowhere")) / "retail"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="EVERGREEN_BENCH_DATA names no folder with the receipts")
START = datetime(2020, 2, 20)
Receipt = tuple[str, Decimal, datetime]
Row = tuple[Any, ...]


def write_receipts(folder: Path, receipts: list[Receipt]) -> Path:
    path = folder / "receipts.parquet"
    columns = {
        "receipt_id": pa.array([str(number) for number in range(len(receipts))]),
        "customer_id": pa.array([customer for customer, _, _ in receipts], pa.string()),
        "quantity": pa.array([1.0] * len(receipts), pa.float64()),
        "amount": pa.array([float(amount) for _, amount, _ in receipts], pa.float64()),
        "timestamp": pa.array([time for _, _, time in receipts], pa.timestamp("us")),
        "row": pa.array(range(len(receipts)), pa.int64()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return path


def build(receipts: Path, **parameters: Any) -> pa.Table:
    output = receipts.with_name("examples.parquet")
    make_examples(receipts, output, ExamplesConfig(**parameters))
    return pq.read_table(output)


def rows_of(examples: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in examples.to_pylist()]


@dataclass
class Customer:
    """What the naive builder keeps: a slot of receipts for each day of the window, and examples without an outcome."""

    slots: deque[list[Decimal]]
    last_purchase: date | None = None
    pending: list[Row] = field(default_factory=list)


def naive(receipts: list[Receipt], mode: str, period_days: int, periods: int, churn_days: int) -> list[Row]:
    """The examples, day by day: shift windows, insert receipts, label, generate, forget. Rows in the order of release.

    A row is (example_id, day, customer_id, generated_on, features, label, label_at).
    """
    published = mode == "published"
    window = max(periods * period_days, churn_days)
    first, last = min(time for *_, time in receipts).date(), max(time for *_, time in receipts).date()
    customers: dict[str, Customer] = {}
    released: list[Row] = []

    def features(slots: list[list[Decimal]]) -> list[Any]:
        slots = slots[len(slots) - periods * period_days :]
        found: list[Any] = []
        for start in range(0, len(slots), period_days):
            period = slots[start : start + period_days]
            ages = [period_days - 1 - position for position, slot in enumerate(period) if slot]
            bought = [amount for slot in period for amount in slot]
            found += [min(ages, default=-1), len(bought), float(sum(bought, Decimal(0)))]
        return found

    def release(customer: Customer, day: date, label: bool, label_at: datetime) -> None:
        released.extend((name, day, who, made, *rfm, label, label_at) for name, who, made, *rfm in customer.pending)
        customer.pending = []

    day = first
    while day < last or (day == last and not published):
        last_second = datetime.combine(day, datetime.max.time().replace(microsecond=0))
        end = last_second if published else datetime.combine(day, datetime.max.time())
        for customer in customers.values():
            customer.slots.append([])
        bought: dict[str, list[Receipt]] = {}
        for receipt in sorted(receipts, key=lambda receipt: receipt[2]):  # stable
            if receipt[2].date() == day:
                bought.setdefault(receipt[0], []).append(receipt)
        for who, today in bought.items():
            customer = customers.setdefault(who, Customer(deque([[] for _ in range(window)], maxlen=window)))
            customer.slots[-1].extend(amount for _, amount, _ in today)
            release(customer, day, False, end if published else today[0][2])
            customer.last_purchase = day
        for customer in customers.values():
            assert customer.last_purchase is not None
            if (day - customer.last_purchase).days == churn_days:
                release(customer, day, True, end)
        for who, customer in customers.items():
            assert customer.last_purchase is not None
            if (day - customer.last_purchase).days < churn_days:
                customer.pending.append((f"{who}/{day}/0", who, day, *features(list(customer.slots))))
        for who, today in bought.items():
            slots = list(customers[who].slots)
            for number in range(1, len(today)):
                state = [*slots[:-1], slots[-1][:number]]
                known = today[number - 1 if published else number][2]
                released.append((f"{who}/{day}/{number}", day, who, day, *features(state), False, known))
        customers = {who: customer for who, customer in customers.items() if any(customer.slots) or customer.pending}
        day += timedelta(days=1)
    if not published:
        for customer in customers.values():
            released += [(name, None, who, made, *rfm, None, None) for name, who, made, *rfm in customer.pending]
    return released


moments = st.builds(
    lambda day, second: START + timedelta(days=day, seconds=second),
    st.integers(0, 25),
    st.sampled_from([0, 1, 40_000, 86_399]),
)
streams = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c/1", "ü"]), st.decimals(-100, 100, places=2), moments),
    min_size=1,
    max_size=30,
)
definitions = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 8))


def assert_same(found: list[Row], expected: list[Row], periods: int) -> None:
    """The same examples, those of one customer and day in the same order; money to rounding."""
    assert len(found) == len(expected)
    assert len({row[0] for row in found}) == len(found)
    lines = {row[0]: row for row in expected}
    money = [4 + 3 * period + 2 for period in range(periods)]
    for row in found:
        other = lines[row[0]]
        assert [value for place, value in enumerate(row) if place not in money] == [
            value for place, value in enumerate(other) if place not in money
        ]
        np.testing.assert_allclose([row[place] for place in money], [other[place] for place in money], atol=1e-12)
    groups: dict[tuple[Any, Any], list[str]] = {}
    for row in expected:
        groups.setdefault((row[1], row[2]), []).append(row[0])
    seen: dict[tuple[Any, Any], list[str]] = {}
    for row in found:
        seen.setdefault((row[1], row[2]), []).append(row[0])
    assert seen == groups
    days = [row[1] or date.max for row in found]
    assert days == sorted(days)


@settings(deadline=None, max_examples=60)
@given(streams, definitions, st.sampled_from(["default", "published"]))
def test_the_examples_are_those_of_the_naive_builder(
    tmp_path_factory: pytest.TempPathFactory,
    receipts: list[Receipt],
    definition: tuple[int, int, int],
    mode: str,
) -> None:
    period_days, periods, churn_days = definition
    if mode == "published":
        churn_days = min(churn_days, period_days * periods)
        if len({time.date() for *_, time in receipts}) == 1:
            receipts = [*receipts, ("a", Decimal(1), START + timedelta(days=26))]
    path = write_receipts(tmp_path_factory.mktemp("naive"), receipts)
    parameters = {"mode": mode, "period_days": period_days, "periods": periods, "churn_days": churn_days}
    found = build(path, **parameters)
    kinds = ("recency", "frequency", "monetary")
    names = [f"{kind}_{period + 1}" for period in range(periods) for kind in kinds]
    assert found.column_names == [
        *("example_id", "day", "customer_id", "generated_on"),
        *names,
        *("label", "label_at"),
    ]
    assert_same(rows_of(found), naive(receipts, **parameters), periods)


@settings(deadline=None, max_examples=30)
@given(streams, st.integers(0, 25), st.integers(2, 9))
def test_examples_need_nothing_that_comes_later(
    tmp_path_factory: pytest.TempPathFactory, receipts: list[Receipt], after: int, partitions: int
) -> None:
    day = START.date() + timedelta(days=after)
    earlier = [receipt for receipt in receipts if receipt[2].date() <= day]
    if not earlier:
        return
    folder = tmp_path_factory.mktemp("later")
    parameters = {"period_days": 4, "periods": 2, "churn_days": 5}
    whole = build(write_receipts(folder, receipts), **parameters, last_day=START.date() + timedelta(days=26))
    cut = build(write_receipts(folder, receipts), **parameters, last_day=day, partitions=partitions)
    then = build(write_receipts(folder, earlier), **parameters, last_day=day)
    assert cut == then
    known = pc.less_equal(whole["day"], pa.scalar(day))
    assert rows_of(whole.filter(known)) == rows_of(then.filter(pc.less_equal(then["day"], pa.scalar(day))))
    made = whole.filter(pc.less_equal(whole["generated_on"], pa.scalar(day))).drop_columns(["day", "label", "label_at"])
    assert sorted(rows_of(made)) == sorted(rows_of(then.drop_columns(["day", "label", "label_at"])))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    rng = np.random.default_rng(7)
    days, seconds = rng.integers(0, 60, 1500), rng.integers(0, 86_400, 1500)
    rows = zip(rng.integers(0, 150, 1500), rng.integers(1, 9999, 1500), days, seconds, strict=True)
    return write_receipts(
        tmp_path,
        [
            (f"customer {who}", Decimal(int(cents)) / 100, START + timedelta(days=int(day), seconds=int(second)))
            for who, cents, day, second in rows
        ],
    )


SHORT = {"period_days": 10, "periods": 3, "churn_days": 14}


@pytest.mark.parametrize("mode", ["default", "published"])
def test_the_file_is_the_same_whatever_the_partitions(many: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evergreen.retail.example_file.ROWS_AT_ONCE", 1000)
    monkeypatch.setattr(example_partitions, "ROWS_AT_ONCE", 300)
    monkeypatch.setattr(example_partitions, "RECEIPTS_AT_ONCE", 100)
    output, files = many.with_name("examples.parquet"), []
    for partitions in (1, 2, 7, 200):
        tally = make_examples(many, output, ExamplesConfig(mode=mode, partitions=partitions, **SHORT))
        files.append((output.read_bytes(), repr(tally)))
    assert files[1:] == files[:-1]
    assert pq.ParquetFile(output).metadata.num_row_groups > 5
    assert sorted(path.name for path in many.parent.iterdir()) == ["examples.parquet", "receipts.parquet"]


def test_dask_makes_the_same_file(many: Path) -> None:
    from distributed import Client

    here = build(many, **SHORT)
    output = many.with_name("dask.parquet")
    config = ExamplesConfig(**SHORT)
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as client:
        example_partitions.write_examples(many, output, config.definition, partitions=3, client=client)
    assert pq.read_table(output) == here


@pytest.mark.slow
def test_a_local_cluster_makes_the_same_file(many: Path) -> None:
    assert build(many, **SHORT, partitions=3, cluster="local") == build(many, **SHORT)


def test_an_example_that_fails_leaves_the_last_file_and_no_rest(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build(many, **SHORT)

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    for place in ("_join", "_write_part"):
        with monkeypatch.context() as patch:
            patch.setattr(example_partitions, place, fail)
            with pytest.raises(OSError, match="disk full"):
                build(many, **SHORT, partitions=3, mode="published")
    assert pq.read_table(many.with_name("examples.parquet")) == before
    assert sorted(path.name for path in many.parent.iterdir()) == ["examples.parquet", "receipts.parquet"]


def test_the_step_writes_examples_and_counts(many: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "data" / "retail").mkdir(parents=True)
    many.rename(workspace / "data" / "retail" / "receipts.parquet")
    run(workspace, {"examples": SHORT})
    found = pq.read_table(workspace / "examples.parquet").to_pandas()
    told = read_json(workspace / "data" / "retail" / "metrics" / "examples.json")
    labelled = found[found["label"].notna()]
    assert told["rows"] == len(found) == told["labelled"] + told["pending"]
    assert told["labelled"] == len(labelled)
    assert told["days"] == labelled["day"].nunique()
    assert (told["first_day"], told["last_day"]) == (str(labelled["day"].min()), str(labelled["day"].max()))
    assert (told["receipts"], told["receipts_left_out"]) == (1500, 0)
    assert told["customers"] == 150
    assert told["full_history_from"] == str(START.date() + timedelta(days=29))
    months = pd.to_datetime(labelled["day"]).dt.strftime("%Y-%m")
    assert told["churn_share_by_month"] == pytest.approx(
        labelled["label"].astype(float).groupby(months).mean().to_dict()
    )
    run(workspace, {"examples": {**SHORT, "mode": "published"}})
    told = read_json(workspace / "data" / "retail" / "metrics" / "examples.json")
    on_last_day = told["receipts_left_out"]
    assert told["receipts"] + on_last_day == 1500
    assert on_last_day > 0
    assert told["pending"] == 0


def test_the_first_receipt_is_enough_for_an_example(tmp_path: Path) -> None:
    path = write_receipts(tmp_path, [("a", Decimal("9.99"), START)])
    expected = ("a/2020-02-20/0", None, "a", START.date(), 0, 1, 9.99, None, None)
    assert rows_of(build(path, periods=1)) == [expected]


def test_a_horizon_longer_than_the_periods_keeps_customers_without_a_purchase_in_any(tmp_path: Path) -> None:
    path = write_receipts(tmp_path, [("a", Decimal(1), START), ("b", Decimal(1), START + timedelta(days=5))])
    last = rows_of(build(path, period_days=2, periods=1, churn_days=10))
    assert [row[4:8] for row in last if row[0] == "a/2020-02-25/0"] == [(-1, 0, 0.0, None)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.slice(0, 0), "holds no receipts"),
        (lambda table: table.drop_columns(["amount"]), "has no column amount"),
        (lambda table: table.set_column(4, "timestamp", table["timestamp"].cast(pa.string())), "expected a timestamp"),
        (lambda table: table.set_column(1, "customer_id", pa.nulls(len(table), pa.string())), "have no customer_id"),
    ],
)
def test_receipts_that_do_not_fit_are_refused(many: Path, change: Callable[[pa.Table], pa.Table], says: str) -> None:
    pq.write_table(change(pq.read_table(many)), many)
    for partitions in (1, 3):
        with pytest.raises(BadInputError, match=says):
            build(many, **SHORT, partitions=partitions)


def test_receipts_of_one_day_leave_nothing_of_the_published_stream(tmp_path: Path) -> None:
    path = write_receipts(tmp_path, [("a", Decimal(1), START), ("b", Decimal(1), START)])
    with pytest.raises(BadInputError, match="All receipts are of one day"):
        build(path, mode="published")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mode": "published", "churn_days": 361}, "may not be longer than all periods"),
        ({"mode": "published", "last_day": "2020-03-01"}, "last_day needs mode default"),
        ({"horizon": 3}, "horizon"),
        ({"periods": 0}, "periods"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(tmp_path: Path, values: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        run(tmp_path, {"examples": values})


def test_without_receipts_the_step_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="evergreen step retail ingest"):
        run(tmp_path, {"examples": {}})


def test_a_last_day_before_all_receipts_is_refused(many: Path) -> None:
    with pytest.raises(BadInputError, match="last_day is before the first receipt"):
        build(many, last_day="2019-01-01")


def published(folder: Path, receipts: pd.DataFrame) -> pd.DataFrame:
    """The published stream of receipts as given; days since 1970 as dates."""
    path = folder / "receipts.parquet"
    pa_table = pa.Table.from_pandas(receipts[["customer_id", "amount", "timestamp"]], preserve_index=False)
    pq.write_table(pa_table, path)
    return build(path, mode="published").to_pandas()


def cents(frame: pd.DataFrame, names: list[str]) -> "Counter[int]":
    """The rows as a multiset of hashes, money in cents: the authors' file holds it in single precision."""
    whole = {name: (frame[name] * 100).round().astype("int64") for name in names if name.startswith("monetary")}
    plain = {name: pd.to_datetime(frame[name]) if name == "day" else frame[name].astype("int64") for name in names}
    return Counter(pd.util.hash_pandas_object(pd.DataFrame({**plain, **whole}), index=False).tolist())


@needs_data
def test_the_brazilian_stream_is_the_published_one(tmp_path: Path) -> None:
    """But for the money of 112 examples between two receipts of one customer with equal times, in either order."""
    receipts = pd.read_parquet(DATA / "brazilian_receipts.parquet").sort_values("timestamp", kind="stable")
    theirs = pd.read_parquet(DATA / "brazilian_days.parquet")
    names = ["day", "label", *feature_names(3)]
    theirs = theirs.rename(columns={name: name.replace("_p", "_") for name in theirs.columns})
    ours = published(tmp_path, receipts)
    ours = ours[ours["day"] >= theirs["day"].min()]
    without_last_money = names[:-1]
    assert cents(ours, without_last_money) == cents(theirs, without_last_money)
    missing = cents(theirs, names) - cents(ours, names)
    assert missing.total() == 112
    reversed_ties = receipts[::-1].sort_values("timestamp", kind="stable")
    assert (missing - cents(published(tmp_path, reversed_ties), names)).total() == 0


@needs_data
def test_the_british_stream_has_the_published_size(tmp_path: Path) -> None:
    receipts = pd.read_parquet(DATA / "uk_retail_receipts.parquet").sort_values("timestamp", kind="stable")
    ours = published(tmp_path, receipts)
    ours = ours[ours["day"] >= date(2009, 9, 12)]
    assert (ours["day"].nunique(), len(ours)) == (688, 1_607_507)
