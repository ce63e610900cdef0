"""Receipts: what a customer bought at one time, from one or more lines."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.errors import BadInputError
from evergreen.files import write_atomically

RECEIPTS_SCHEMA = pa.schema(
    [
        pa.field("receipt_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("quantity", pa.float64(), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("timestamp", pa.timestamp("us"), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
"""``timestamp`` is the wall clock of the source, ``row`` the 0-based line of the source where the receipt begins."""


def aggregate(lines: pd.DataFrame) -> pd.DataFrame:
    """Add the lines of a receipt up; sorted by time, receipts of equal time in the order of the source.

    Args:
        lines: receipt_id, customer_id, quantity, amount, timestamp; the index is the line in the source, ascending.

    Returns:
        a row a receipt with the columns of :data:`RECEIPTS_SCHEMA`. The time is that of the earliest line. Lines with
        one receipt number and several customers, which only mode ``published`` lets through, are a receipt each.
    """
    lines = lines.assign(row=lines.index)
    groups = lines.groupby(["receipt_id", "customer_id"], sort=False, as_index=False)
    receipts = groups.agg(
        quantity=("quantity", "sum"), amount=("amount", "sum"), timestamp=("timestamp", "min"), row=("row", "first")
    )
    receipts["timestamp"] = receipts["timestamp"].astype("datetime64[us]")
    return receipts.sort_values(["timestamp", "row"], kind="stable", ignore_index=True)


def write_receipts(path: Path, receipts: pd.DataFrame) -> None:
    """Write receipts atomically; equal receipts make equal bytes."""
    table = pa.Table.from_pandas(receipts, schema=RECEIPTS_SCHEMA, preserve_index=False).replace_schema_metadata()
    write_atomically(path, lambda part: pq.write_table(table, part))


def read_receipts(path: Path) -> pd.DataFrame:
    """Read what :func:`write_receipts` wrote.

    Raises:
        BadInputError: the file is not there or is something else.
    """
    if not path.is_file():
        raise BadInputError(f"There are no receipts in {path}. Run `evergreen step retail ingest` first.")
    table = pq.read_table(path)
    if not table.schema.equals(RECEIPTS_SCHEMA):
        raise BadInputError(f"{path} has the columns {table.schema.names}, expected {RECEIPTS_SCHEMA.names}.")
    return pd.DataFrame(table.to_pandas())
