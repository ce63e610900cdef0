"""Examples as a table and as a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evergreen.retail.churn import Releases
from evergreen.retail.example_frames import PENDING, feature_names
from evergreen.retail.rfm import Ints, PeriodFeatures

ROWS_AT_ONCE = 1 << 17
"""Examples in memory at a time, and in a row group of the file."""


def example_schema(periods: int) -> pa.Schema:
    """The columns of a file of examples."""
    kinds = {"recency": pa.int16(), "frequency": pa.int32(), "monetary": pa.float64()}
    return pa.schema(
        [
            pa.field("example_id", pa.string(), nullable=False),
            pa.field("day", pa.date32()),
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("generated_on", pa.date32(), nullable=False),
            *(pa.field(name, kinds[name.partition("_")[0]], nullable=False) for name in feature_names(periods)),
            pa.field("label", pa.bool_()),
            pa.field("label_at", pa.timestamp("us")),
        ]
    )


def example_tables(releases: Releases, features: PeriodFeatures, at_once: int = ROWS_AT_ONCE) -> Iterator[pa.Table]:
    """The examples in the order of their release, ``at_once`` at a time."""
    schema = example_schema(features.periods)
    for group, generated in releases.examples(at_once):
        yield _table(releases.take(group), generated, features, schema)


def _table(each: Releases, generated: Ints, features: PeriodFeatures, schema: pa.Schema) -> pa.Table:
    """One table; ``each`` holds the group of every example."""
    states = features.at(each.customer, generated, each.seen)
    customer = features.traces.names.take(pa.array(each.customer))
    pending = each.label == PENDING
    kinds = (states.recency, states.frequency, states.monetary)
    columns = [
        _ids(customer, generated, each.number),
        pa.array(each.day, mask=pending).cast(pa.date32()),
        customer,
        pa.array(generated).cast(pa.date32()),
        *(pa.array(kind[:, period]) for period in range(features.periods) for kind in kinds),
        pa.array(each.label == 1, mask=pending),
        pa.array(each.label_at, mask=pending).cast(pa.timestamp("us")),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _ids(customer: pa.Array, generated: Ints, number: Ints) -> pa.Array:
    """``customer/day/number``: unique, because the last two parts hold no slash. Each distinct part is spelt once."""
    first = int(generated.min())
    days = pa.array(np.arange(first, int(generated.max()) + 1, dtype=np.int32)).cast(pa.date32()).cast(pa.string())
    numbers = pa.array(np.arange(int(number.max()) + 1)).cast(pa.string())
    return pc.binary_join_element_wise(
        customer, days.take(pa.array(generated - first)), numbers.take(pa.array(number)), "/"
    )


class ExampleWriter:
    """Writes examples to Parquet in row groups of one size: the same rows, however handed in, make the same file."""

    def __init__(self, path: Path, periods: int) -> None:
        schema = example_schema(periods)
        repeated = [name for name in schema.names if name != "example_id"]
        self._file = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated)
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def write(self, table: pa.Table) -> None:
        """Append examples; they are on the disk after :meth:`close`."""
        self._waiting.append(table)
        self._rows += table.num_rows
        while self._rows >= ROWS_AT_ONCE:
            self._flush(ROWS_AT_ONCE)

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush(self._rows)
        self._file.close()

    def _flush(self, rows: int) -> None:
        waiting = pa.concat_tables(self._waiting)
        self._file.write_table(waiting.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._waiting = [waiting.slice(rows)]
        self._rows -= rows
