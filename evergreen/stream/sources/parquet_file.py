"""Records in a Parquet file."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.errors import BadInputError

BATCH = 1 << 16
BUFFER = 1 << 20  # bytes of a column read at a time: a row group may be larger than memory


class ParquetFile:
    """One Parquet file, a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema | None) -> None:
        """Open it.

        Args:
            path: of the file.
            schema: that it must have, or be castable to without loss; None for its own.

        Raises:
            BadInputError: it is damaged, or its columns are others.
        """
        self.path = path
        with self._open() as file:
            own = file.schema_arrow.remove_metadata()
            self._rows = file.metadata.num_rows
        self.schema = own if schema is None else schema
        if own.names != self.schema.names:
            missing = sorted(set(self.schema.names) - set(own.names))
            added = sorted(set(own.names) - set(self.schema.names))
            raise BadInputError(
                f"{path} has other columns than the files before it: missing {missing or 'none'}, new {added or 'none'}"
                f"{'' if missing or added else ', in another order'}. Expected {', '.join(self.schema.names)}."
            )

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInputError(f"{self.path} cannot be read as Parquet: {error}") from error

    def rows(self) -> int | None:
        return int(self._rows)

    def batches(self, skip: int) -> Iterator[tuple[pa.RecordBatch, pa.Array | None]]:
        """Records after the first ``skip``.

        Raises:
            BadInputError: the file is damaged, or a value does not fit the stream's schema.
        """
        with self._open() as file:
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if skip >= rows:
                    skip -= rows
                    continue
                try:
                    for batch in file.iter_batches(BATCH, row_groups=[group]):
                        if skip >= batch.num_rows:
                            skip -= batch.num_rows
                            continue
                        yield self._fit(batch.slice(skip)), None
                        skip = 0
                except (pa.ArrowInvalid, OSError) as error:
                    raise BadInputError(f"{self.path} cannot be read: {error}") from error

    def _fit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.equals(self.schema):
            return batch
        try:
            return pa.record_batch(
                [column.cast(field.type) for column, field in zip(batch.columns, self.schema, strict=True)],
                schema=self.schema,
            )
        except pa.ArrowInvalid as error:
            raise BadInputError(
                f"{self.path} has other types than the files before it, and not all values fit: {error}"
            ) from error
