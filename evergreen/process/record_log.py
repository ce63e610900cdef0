"""Event logs whose records come with types: Parquet files, tables of databases, topics of Kafka."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from evergreen.process.columns import find_columns
from evergreen.process.event_log import LogBatch, make_batch
from evergreen.stream.row_hash import hash_rows
from evergreen.stream.sources.parquet_file import ParquetFile
from evergreen.stream.sources.source import Piece, Source

Tell = Callable[[int], None]
Batches = Iterator[tuple[pa.RecordBatch, pa.Array | None]]


class ParquetLog:
    """One Parquet file."""

    unit = "events"

    def __init__(self, path: Path, named: Mapping[str, str], timezone: str = "UTC", lifecycle: bool = False) -> None:
        """Look at its columns.

        Args:
            path: of the file.
            named: columns by role, where their names do not say it.
            timezone: of times that name none.
            lifecycle: join the activity with the lifecycle transition.

        Raises:
            BadInputError: it is damaged, or a column is missing.
        """
        self._file = ParquetFile(path, None)
        self.columns = find_columns(self._file.schema.names, named, str(path), lifecycle)
        self.timezone = timezone

    @property
    def total(self) -> int:
        """The number of rows."""
        return self._file.rows() or 0

    def batches(self, tell: Tell) -> Iterator[LogBatch]:
        """The events; ``tell`` is told how many there were so far."""
        return _events(self._file.batches(0), self.columns, self.timezone, tell)


class SourceLog:
    """All records that a stream's source has now: a table, or a topic read to its end.

    The records of a topic are numbered in the order in which they are read; within a partition that is the topic's.
    """

    unit = "events"

    def __init__(
        self, source: Source, where: str, named: Mapping[str, str], timezone: str = "UTC", lifecycle: bool = False
    ) -> None:
        """Look at its columns; arguments as of :class:`ParquetLog`, and ``where`` names the source in messages."""
        self._source = source
        self.columns = find_columns(source.schema.names, named, where, lifecycle)
        self.timezone = timezone

    @property
    def total(self) -> int:
        """The number of records there are about."""
        return self._source.total or 0

    def batches(self, tell: Tell) -> Iterator[LogBatch]:
        """The events; ``tell`` is told how many there were so far."""
        return _events(self._pieces(), self.columns, self.timezone, tell)

    def _pieces(self) -> Batches:
        try:
            for item in self._source.read({}):
                if isinstance(item, Piece):
                    yield item.batch, item.raw
        finally:
            self._source.close()


def _events(batches: Batches, columns: Mapping[str, str], timezone: str, tell: Tell) -> Iterator[LogBatch]:
    row = 0
    for batch, raw in batches:
        rows = np.arange(row, row + batch.num_rows)
        own = {role: batch.column(batch.schema.get_field_index(name)) for role, name in columns.items()}
        yield make_batch(rows, own, hash_rows(batch), timezone, raw)
        row += batch.num_rows
        tell(row)
