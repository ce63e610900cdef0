from collections import defaultdict
from datetime import datetime

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.retail.receipts import RECEIPTS_SCHEMA, aggregate, read_receipts, write_receipts

LINES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from("xy"),
        st.integers(1, 5),
        st.integers(1, 1000),
        st.datetimes(datetime(2020, 1, 1), datetime(2020, 1, 3)),
        st.integers(1, 3),
    ),
    min_size=1,
)


def frame_of(lines):
    """Lines with gaps in the row numbers, as refused lines leave them."""
    names = ["receipt_id", "customer_id", "quantity", "amount", "timestamp", "gap"]
    frame = pd.DataFrame(lines, columns=names).astype({"quantity": float, "amount": float})
    return frame.set_axis(frame.pop("gap").cumsum())


@settings(deadline=None, max_examples=30)
@given(LINES)
def test_aggregation_is_what_a_line_by_line_scan_gives(lines):
    frame = frame_of(lines)
    receipts = defaultdict(lambda: [0, 0, datetime.max, None])
    for row, line in frame.iterrows():
        receipt = receipts[line["receipt_id"], line["customer_id"]]
        receipt[0] += line["quantity"]
        receipt[1] += line["amount"]
        receipt[2] = min(receipt[2], line["timestamp"])
        receipt[3] = row if receipt[3] is None else receipt[3]
    expected = sorted(
        ((*key, quantity, amount, time, row) for key, (quantity, amount, time, row) in receipts.items()),
        key=lambda receipt: (receipt[4], receipt[5]),
    )
    found = aggregate(frame)
    assert list(found.columns) == RECEIPTS_SCHEMA.names
    assert list(found.itertuples(index=False, name=None)) == expected


@settings(deadline=None, max_examples=15)
@given(LINES)
def test_nothing_bought_is_lost_or_doubled(lines):
    frame = frame_of(lines)
    found = aggregate(frame)
    assert found["amount"].sum() == frame["amount"].sum()
    assert found["quantity"].sum() == frame["quantity"].sum()
    assert found["row"].is_unique


def test_a_file_keeps_schema_and_bytes(tmp_path):
    receipts = aggregate(frame_of([("a", "x", 1, 2, datetime(2020, 1, 1), 1)]))
    write_receipts(tmp_path / "one.parquet", receipts)
    write_receipts(tmp_path / "two.parquet", receipts)
    assert pq.read_schema(tmp_path / "one.parquet").equals(RECEIPTS_SCHEMA)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    pd.testing.assert_frame_equal(read_receipts(tmp_path / "one.parquet"), receipts, check_dtype=False)


def test_other_files_are_no_receipts(tmp_path):
    with pytest.raises(BadInputError, match="step retail ingest"):
        read_receipts(tmp_path / "receipts.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "receipts.parquet")
    with pytest.raises(BadInputError, match=r"expected.*receipt_id"):
        read_receipts(tmp_path / "receipts.parquet")
