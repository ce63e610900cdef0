"""accepted.parquet: which rows of which arrival folder passed validation."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.images.arrays import read_table, to_table

ACCEPTED_FILE = "accepted.parquet"

ACCEPTED_SCHEMA = pa.schema(
    [
        pa.field("day", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
    ]
)


def write_accepted(path: Path, rows: pd.DataFrame) -> None:
    """Write the accepted rows (day, row, image_id), in the order of the stream."""
    pq.write_table(to_table(rows, ACCEPTED_SCHEMA), path)


def read_accepted(path: Path) -> pd.DataFrame:
    """Read the accepted rows: day, row, image_id, in the order of the stream.

    Raises:
        BadInputError: the file is missing (validation did not pass, or did not run) or damaged.
    """
    return read_table(path, ACCEPTED_SCHEMA)
