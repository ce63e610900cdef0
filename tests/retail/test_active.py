"""Active customers are the examples of their day that are still open."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BadInputError
from evergreen.retail.active import active_customers
from evergreen.retail.examples import run


def receipts(seed: int, count: int = 300) -> pa.Table:
    rng = np.random.default_rng(seed)
    days = np.sort(rng.integers(0, 200, count))
    seconds = rng.integers(0, 86_400, count)
    times = np.datetime64("2026-01-01", "us") + days.astype("timedelta64[D]") + seconds.astype("timedelta64[s]")
    return pa.table(
        {
            "receipt_id": [f"r{i}" for i in range(count)],
            "customer_id": [f"c{i}" for i in rng.integers(0, 40, count)],
            "quantity": np.ones(count),
            "amount": np.round(rng.lognormal(3, 1, count), 2),
            "timestamp": np.sort(times),
            "row": np.arange(count),
        }
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_they_are_the_open_examples_of_the_last_day(seed, tmp_path) -> None:
    table = receipts(seed)
    (tmp_path / "data/retail").mkdir(parents=True)
    pq.write_table(table, tmp_path / "data/retail/receipts.parquet")
    run(tmp_path, {"examples": {"period_days": 30, "periods": 3, "churn_days": 20}})
    examples = pq.read_table(tmp_path / "examples.parquet").to_pandas()
    open_ = examples[examples["label"].isna() & (examples["generated_on"] == examples["generated_on"].max())]
    found = active_customers(table, None, 30, 3, 20)
    assert found.day == examples["generated_on"].max()
    assert sorted(found.customers.to_pylist()) == sorted(open_["customer_id"])
    columns = [f"{kind}_{period}" for period in (1, 2, 3) for kind in ("recency", "frequency", "monetary")]
    expected = open_.set_index("customer_id").loc[found.customers.to_pylist(), columns].to_numpy(dtype=float)
    np.testing.assert_allclose(found.features, expected, atol=1e-9)


def test_later_receipts_change_nothing() -> None:
    table = receipts(3)
    day = date(2026, 4, 10)
    cut = np.datetime64("2026-04-11", "us")
    early = table.filter(pa.compute.less(table["timestamp"], pa.scalar(cut.astype("datetime64[us]").item())))
    whole, part = active_customers(table, day, 30, 3, 20), active_customers(early, day, 30, 3, 20)
    assert whole.customers.to_pylist() == part.customers.to_pylist()
    np.testing.assert_array_equal(whole.features, part.features)
    assert 0 < len(whole) < 40


def test_a_day_before_the_first_receipt_is_one_message() -> None:
    with pytest.raises(BadInputError, match="name a later day"):
        active_customers(receipts(0), date(2025, 1, 1), 30, 3, 20)
