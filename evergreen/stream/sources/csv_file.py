"""Records in a CSV file, with a header; a line that is no record is told, not dropped."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from evergreen.errors import BadInputError
from evergreen.stream.sources.cells import fit_column, merge_notes, parse_type

BLOCK = 4 << 20
SAMPLE = 1 << 20
MISSING = pa.array(["", "NA", "N/A", "NaN", "nan", "null", "NULL"])  # in columns that are not text


class CsvFile:
    """One CSV file (UTF-8, comma, quotes as usual), a block at a time.

    Types are those of the first megabyte, where ``types`` does not say otherwise. Cells that do not fit become null and
    their row counts as unreadable, with the cell as its text. Lines with too many or too few cells come last.
    """

    def __init__(self, path: Path, schema: pa.Schema | None, types: dict[str, str], timestamp: str) -> None:
        """Look at its first lines.

        Args:
            path: of the file, plain or .gz.
            schema: of the stream; None to find it out.
            types: of columns, as Arrow names them.
            timestamp: the column that stays text.

        Raises:
            BadInputError: it is no CSV, or its columns are others.
        """
        self.path = path
        own = self._look()
        if schema is None:
            if unknown := sorted(set(types) - set(own.names)):
                raise BadInputError(f"{path} has no column {unknown[0]!r}. It has: {', '.join(own.names)}.")
            schema = pa.schema([(field.name, _type(field, types.get(field.name), timestamp)) for field in own])
        if own.names != schema.names:
            raise BadInputError(
                f"{path} has the columns {', '.join(own.names)}; expected {', '.join(schema.names)}, as in the files "
                "before it."
            )
        self.schema = schema

    def _look(self) -> pa.Schema:
        try:
            with pv.open_csv(
                self.path,
                read_options=pv.ReadOptions(block_size=SAMPLE, use_threads=False),
                parse_options=pv.ParseOptions(invalid_row_handler=lambda row: "skip"),
            ) as reader:
                return reader.schema
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInputError(f"{self.path} cannot be read as CSV: {error}") from error

    def rows(self) -> int | None:
        """An estimate from the length of the first lines; None for a compressed file."""
        if self.path.suffix == ".gz":
            return None
        with self.path.open("rb") as file:
            head = file.read(SAMPLE)
        return round(self.path.stat().st_size / max(1, len(head)) * max(0, head.count(b"\n") - 1)) if head else 0

    def batches(self, skip: int) -> Iterator[tuple[pa.RecordBatch, pa.Array | None]]:
        """Records after the first ``skip``.

        Raises:
            BadInputError: the file cannot be read to its end.
        """
        bad: list[str] = []

        def refuse(row: pv.InvalidRow) -> str:
            bad.append(row.text if row.text is not None else f"{row.actual_columns} cells")
            return "skip"

        try:
            with pv.open_csv(
                self.path,
                read_options=pv.ReadOptions(block_size=BLOCK, use_threads=False),
                parse_options=pv.ParseOptions(invalid_row_handler=refuse),
                convert_options=pv.ConvertOptions(
                    column_types={name: pa.string() for name in self.schema.names}, strings_can_be_null=False
                ),
            ) as reader:
                for batch in reader:
                    if skip >= batch.num_rows:
                        skip -= batch.num_rows
                        continue
                    yield self._typed(batch.slice(skip))
                    skip = 0
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInputError(f"{self.path} cannot be read to its end: {error}") from error
        if bad[skip:]:
            rows = len(bad) - skip
            empty = pa.record_batch([pa.nulls(rows, field.type) for field in self.schema], schema=self.schema)
            yield empty, pa.array(bad[skip:], pa.string())

    def _typed(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array | None]:
        fitted = [_fit(texts, field) for field, texts in zip(self.schema, batch.columns, strict=True)]
        columns, notes = zip(*fitted, strict=True)
        return pa.record_batch(list(columns), schema=self.schema), merge_notes(list(notes))


def _fit(texts: pa.Array, field: pa.Field) -> tuple[pa.Array, pa.Array | None]:
    if pa.types.is_string(field.type):
        return texts, None
    return fit_column(pc.if_else(pc.is_in(texts, value_set=MISSING), None, texts), field)


def _type(field: pa.Field, named: str | None, timestamp: str) -> pa.DataType:
    if named is not None:
        return parse_type(named, field.name)
    kind = field.type
    text = pa.types.is_temporal(kind) or pa.types.is_null(kind) or (field.name == timestamp and pa.types.is_date(kind))
    return pa.string() if text else kind
