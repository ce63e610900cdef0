"""Examples of any number of receipts: by partitions of the customers, in this process or on Dask."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
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
from evergreen.retail.example_tally import Tally
from evergreen.retail.rfm import MICROSECONDS_A_DAY, Ints, PeriodFeatures, Traces, check_receipts
from evergreen.stream.row_hash import hash_column

if TYPE_CHECKING:
    from distributed import Client

COLUMNS = ["customer_id", "amount", "timestamp"]
RECEIPTS = pa.schema([("customer_id", pa.string()), ("amount", pa.float64()), ("timestamp", pa.timestamp("us"))])
RECEIPTS_AT_ONCE = 1 << 18
SMALLEST_BATCH = 256


class Definition(NamedTuple):
    """What examples depend on beside the receipts; days since 1970."""

    published: bool
    period_days: int
    periods: int
    churn_days: int
    last_day: int | None


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
    writers = [pa.ipc.new_stream(file, RECEIPTS) for file in files]
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
    rows = max(SMALLEST_BATCH, ROWS_AT_ONCE // len(parts))  # the join holds a batch of every partition
    with track("examples", total=len(parts), unit="partitions") as progress:
        if client is None:
            return [_advanced(_write_part(part, definition, rows), progress) for part in parts]
        futures = client.map(_write_part, parts, definition=definition, rows=rows, pure=False)
        return [_advanced(future.result(), progress) for future in futures]


def _advanced(tally: Tally, progress: Progress) -> Tally:
    progress.advance()
    return tally


def _write_part(part: Path, definition: Definition, rows: int) -> Tally:
    """One partition, from its receipts to its examples in the order of the whole, in batches of ``rows``."""
    with pa.OSFile(str(_receipts_of(part))) as source:
        tally, _, tables = _examples(pa.ipc.open_stream(source).read_all(), definition)
    schema = example_schema(definition.periods)
    with pa.OSFile(str(_examples_of(part)), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for table in tables:
            writer.write_table(table, max_chunksize=rows)
    return tally


def _join(parts: Sequence[Path], tallies: Sequence[Tally], output: Path, definition: Definition) -> None:
    """The examples of all partitions, day by day, within a day partition by partition."""
    days = np.unique(np.concatenate([tally.days for tally in tallies]))
    counts = [_counts(tally, days) for tally in tallies]
    with ExitStack() as files, track("join", total=sum(map(sum, counts)), unit="examples") as progress:
        readers = [_Batches(files.enter_context(pa.OSFile(str(_examples_of(part))))) for part in parts]
        writer = ExampleWriter(output, definition.periods)
        for on_one_day in zip(*counts, strict=True):
            for reader, rows in zip(readers, on_one_day, strict=True):
                for table in reader.next(rows):
                    writer.write(table)
                    progress.advance(table.num_rows)
        writer.close()


class _Batches:
    """A partition's examples from the first to the last, one batch in memory."""

    def __init__(self, file: pa.OSFile) -> None:
        self._stream = pa.ipc.open_stream(file)
        self._rest = self._stream.schema.empty_table()

    def next(self, rows: int) -> Iterator[pa.Table]:
        while rows:
            if not self._rest.num_rows:
                self._rest = pa.Table.from_batches([self._stream.read_next_batch()])
            table = self._rest.slice(0, rows)
            self._rest = self._rest.slice(table.num_rows)
            rows -= table.num_rows
            yield table


def _counts(tally: Tally, days: Ints) -> list[int]:
    """How many examples of a partition each of the days has, and how many are pending."""
    counts = np.zeros(len(days) + 1, np.int64)
    counts[np.searchsorted(days, tally.days)] = tally.rows
    counts[-1] = tally.pending
    return counts.tolist()


def _receipts_of(part: Path) -> Path:
    return part.with_suffix(".receipts.arrow")


def _examples_of(part: Path) -> Path:
    return part.with_suffix(".examples.arrow")
