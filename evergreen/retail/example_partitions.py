"""Examples of any number of receipts: by partitions of the customers, in this process or on Dask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import remove, write_atomically
from evergreen.progress import Progress, track
from evergreen.retail.churn import Releases, releases
from evergreen.retail.example_file import ROWS_AT_ONCE, ExampleWriter, example_schema, example_tables
from evergreen.retail.example_frames import NEVER
from evergreen.retail.rfm import MICROSECONDS_A_DAY, Ints, Longs, PeriodFeatures, Traces, check_receipts
from evergreen.stream.row_hash import hash_column

if TYPE_CHECKING:
    from distributed import Client

COLUMNS = ["customer_id", "amount", "timestamp"]
RECEIPTS = pa.schema([("customer_id", pa.string()), ("amount", pa.float64()), ("timestamp", pa.timestamp("us"))])
RECEIPTS_AT_ONCE = 1 << 20


class Definition(NamedTuple):
    """What examples depend on beside the receipts; days since 1970."""

    published: bool
    period_days: int
    periods: int
    churn_days: int
    last_day: int | None


@dataclass(frozen=True)
class Tally:
    """What there is in a file of examples.

    Attributes:
        receipts: that they were made of.
        left_out: receipts after the last day.
        customers: with at least one receipt.
        first_receipt: day of the first receipt, since 1970.
        pending: examples without an outcome.
        days: (d,) days with outcomes, ascending.
        rows: (d,) examples whose outcome is known on that day.
        churned: (d,) those of them that churned.
    """

    receipts: int
    left_out: int
    customers: int
    first_receipt: int
    pending: int
    days: Ints
    rows: Longs
    churned: Longs

    @classmethod
    def of(cls, traces: Traces, groups: Releases, last_day: int) -> "Tally":
        days, starts = np.unique(groups.day, return_index=True)
        rows = np.add.reduceat(groups.count, starts) if len(groups) else np.zeros(0, np.int64)
        churned = np.add.reduceat(groups.count * (groups.label == 1), starts) if len(groups) else rows
        known = days != NEVER
        left_out = int((traces.days > last_day).sum())
        return cls(
            receipts=len(traces) - left_out,
            left_out=left_out,
            customers=len(traces.names),
            first_receipt=int(traces.days.min()) if len(traces) else int(NEVER),
            pending=int(rows[~known].sum()),
            days=days[known],
            rows=rows[known],
            churned=churned[known],
        )

    def __add__(self, other: "Tally") -> "Tally":
        days, position = np.unique(np.concatenate([self.days, other.days]), return_inverse=True)
        rows, churned = np.zeros(len(days), np.int64), np.zeros(len(days), np.int64)
        np.add.at(rows, position, np.concatenate([self.rows, other.rows]))
        np.add.at(churned, position, np.concatenate([self.churned, other.churned]))
        return Tally(
            self.receipts + other.receipts,
            self.left_out + other.left_out,
            self.customers + other.customers,
            min(self.first_receipt, other.first_receipt),
            self.pending + other.pending,
            days,
            rows,
            churned,
        )


def write_examples(
    receipts: Path, output: Path, definition: Definition, partitions: int = 1, client: "Client | None" = None
) -> Tally:
    """Write the examples of a file of receipts, the same whatever the number of partitions and wherever they are made.

    With several partitions the receipts are first divided by a hash of the customer; each partition is made on its own,
    in the order of the whole; then the partitions are joined day by day. Memory: the receipts of one partition and
    some hundred thousand examples. The partitions lie in a folder beside the output, which all workers must see.

    Args:
        receipts: Parquet with customer_id, amount and timestamp.
        output: the file to write.
        definition: what an example is.
        partitions: how many.
        client: of a Dask cluster; None for this process.

    Raises:
        BadInputError: the receipts are no such file, or leave no examples.
    """
    definition = definition._replace(last_day=_last_day(receipts, definition))
    tallies: list[Tally] = []
    if partitions == 1 and client is None:
        write_atomically(output, lambda part: tallies.append(_write_whole(receipts, part, definition)))
        return tallies[0]
    folder = output.with_name(f".{output.name}.partitions")
    remove(folder)
    folder.mkdir(parents=True)
    try:
        parts = _scatter(receipts, folder, partitions)
        tallies = _make_parts(parts, definition, client)
        write_atomically(output, lambda part: _join(parts, tallies, part, definition))
    finally:
        remove(folder)
    return reduce(Tally.__add__, tallies)


def _last_day(receipts: Path, definition: Definition) -> int:
    """The last day of the stream, after a look at the columns and all times."""
    file = pq.ParquetFile(receipts)
    if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
        raise BadInputError(
            f"{receipts} has no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}. "
            "Expected are receipts as step ingest writes them."
        )
    if not pa.types.is_timestamp(file.schema_arrow.field("timestamp").type):
        raise BadInputError(
            f"timestamp in {receipts} is {file.schema_arrow.field('timestamp').type}, expected a timestamp. "
            "Step ingest reads times from text: run it first."
        )
    bounds = [pc.min_max(batch["timestamp"]) for batch in _batches(receipts, ["timestamp"])]
    days = [bound[end].value // MICROSECONDS_A_DAY for bound in bounds for end in ("min", "max") if bound[end].is_valid]
    if not days:
        raise BadInputError(f"{receipts} holds no receipts: there is nothing to make examples of.")
    first, last = min(days), max(days)
    if definition.published and last == first:
        raise BadInputError(
            "All receipts are of one day, and the published stream leaves the last receipt's day out: nothing is left. "
            "Use mode default, or receipts of several days."
        )
    if definition.last_day is not None and definition.last_day < first:
        raise BadInputError("last_day is before the first receipt: there is nothing to make examples of.")
    return int(last - 1) if definition.published else int(last if definition.last_day is None else definition.last_day)


def _batches(receipts: Path, columns: list[str]) -> Iterator[pa.Table]:
    schema = pa.schema([RECEIPTS.field(name) for name in columns])
    for batch in pq.ParquetFile(receipts).iter_batches(RECEIPTS_AT_ONCE, columns=columns):
        yield pa.Table.from_batches([batch]).select(columns).cast(schema, safe=False)


def _examples(receipts: pa.Table, definition: Definition) -> tuple[Tally, Releases, Iterator[pa.Table]]:
    assert definition.last_day is not None
    traces = Traces.of(receipts)
    groups = releases(traces, definition.churn_days, definition.last_day, definition.published)
    features = PeriodFeatures(traces, definition.period_days, definition.periods)
    return Tally.of(traces, groups, definition.last_day), groups, example_tables(groups, features)


def _write_whole(receipts: Path, output: Path, definition: Definition) -> Tally:
    """All examples at once: nothing on the disk but the result."""
    tally, groups, tables = _examples(pa.concat_tables(_batches(receipts, COLUMNS)), definition)
    with track("examples", total=groups.rows, unit="examples") as progress:
        writer = ExampleWriter(output, definition.periods)
        for table in tables:
            writer.write(table)
            progress.advance(table.num_rows)
        writer.close()
    return tally


def _scatter(receipts: Path, folder: Path, partitions: int) -> list[Path]:
    """Divide the receipts by ranges of the customer's hash, in their order; a file a partition."""
    parts = [folder / f"{number:05d}" for number in range(partitions)]
    files = [pa.OSFile(str(_receipts_of(part)), "wb") for part in parts]
    writers = [pa.ipc.new_file(file, RECEIPTS) for file in files]
    for table in _batches(receipts, COLUMNS):
        check_receipts(table)
        encoded = table.column("customer_id").combine_chunks().dictionary_encode()
        owner = _partition(hash_column(encoded.dictionary), partitions)[encoded.indices.to_numpy()]
        rows = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[rows], np.arange(partitions), side="right")
        for writer, start, end in zip(writers, [0, *ends[:-1]], ends, strict=True):
            if end > start:
                writer.write_table(table.take(pa.array(rows[start:end])))
    for writer, file in zip(writers, files, strict=True):
        writer.close()
        file.close()
    return parts


def _partition(hashes: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """The partition of each hash: ranges of equal width, so that partitions keep the order of the hashes."""
    return ((hashes >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)).astype(np.int64)


def _make_parts(parts: Sequence[Path], definition: Definition, client: "Client | None") -> list[Tally]:
    with track("examples", total=len(parts), unit="partitions") as progress:
        if client is None:
            return [_advanced(_write_part(part, definition), progress) for part in parts]
        futures = client.map(_write_part, parts, definition=definition, pure=False)
        return [_advanced(future.result(), progress) for future in futures]


def _advanced(tally: Tally, progress: Progress) -> Tally:
    progress.advance()
    return tally


def _write_part(part: Path, definition: Definition) -> Tally:
    """One partition, from its receipts to its examples in the order of the whole."""
    with pa.memory_map(str(_receipts_of(part))) as source:
        tally, _, tables = _examples(pa.ipc.open_file(source).read_all(), definition)
    schema = example_schema(definition.periods)
    with pa.OSFile(str(_examples_of(part)), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for table in tables:
            writer.write_table(table)
    return tally


def _join(parts: Sequence[Path], tallies: Sequence[Tally], output: Path, definition: Definition) -> None:
    """The examples of all partitions, day by day, within a day partition by partition."""
    sources = [pa.memory_map(str(_examples_of(part))) for part in parts]
    tables = [pa.ipc.open_file(source).read_all() for source in sources]  # nothing is read before it is written
    days = np.unique(np.concatenate([tally.days for tally in tallies]))
    bounds = [_bounds(tally, days) for tally in tallies]
    writer = ExampleWriter(output, definition.periods)
    with track("join", total=sum(table.num_rows for table in tables), unit="examples") as progress:
        for position in range(len(days) + 1):
            for table, bound in zip(tables, bounds, strict=True):
                start, end = bound[position : position + 2]
                for first in range(start, end, ROWS_AT_ONCE):
                    rows = min(ROWS_AT_ONCE, end - first)
                    writer.write(table.slice(first, rows))
                    progress.advance(rows)
    writer.close()
    for source in sources:
        source.close()


def _bounds(tally: Tally, days: Ints) -> list[int]:
    """Where each of the days begins in a partition's examples; then where the pending ones begin and end."""
    known = int(tally.rows.sum())
    before = np.concatenate([[0], np.cumsum(tally.rows)])
    return [*before[np.searchsorted(tally.days, days)].tolist(), known, known + tally.pending]


def _receipts_of(part: Path) -> Path:
    return part.with_suffix(".receipts.arrow")


def _examples_of(part: Path) -> Path:
    return part.with_suffix(".examples.arrow")
