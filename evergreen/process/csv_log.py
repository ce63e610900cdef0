"""Event logs in CSV: any separator and encoding, a block at a time."""

import codecs
import gzip
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from evergreen.errors import BadInputError
from evergreen.process.columns import find_columns
from evergreen.process.event_log import LogBatch, make_batch
from evergreen.process.stream import Rows
from evergreen.stream.row_hash import hash_column, hash_rows

BLOCK = 4 << 20
HEAD = 1 << 16
SEPARATORS = ",;\t|"
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class CsvLog:
    """One CSV file with a header, plain or .gz. A line with too many or too few cells is a row that was not read.

    Rows are counted from 0 after the header; empty lines do not count.
    """

    unit = "bytes"

    def __init__(
        self,
        path: Path,
        named: Mapping[str, str],
        timezone: str = "UTC",
        lifecycle: bool = False,
        separator: str | None = None,
        encoding: str | None = None,
    ) -> None:
        """Look at the header.

        Args:
            path: of the file.
            named: columns by role, where their names do not say it.
            timezone: of times that name none.
            lifecycle: join the activity with the lifecycle transition.
            separator: between cells; None for the one that the header has most of.
            encoding: e.g. ``latin-1``; None for UTF-8, or what the first bytes say.

        Raises:
            BadInputError: it is no CSV, or a column is missing.
        """
        self.path, self.timezone = path, timezone
        head = self._head()
        marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
        self.encoding = encoding or marked
        self.separator = separator or self._separator(head)
        self._headers = self._names()
        names = [name.strip() for name in self._headers]
        self.columns = find_columns(names, named, str(path), lifecycle)
        if twice := [name for name in self.columns.values() if names.count(name) > 1]:
            raise BadInputError(f"{path} has two columns {twice[0]!r}. Rename one of them.")
        self._names_there = names

    def _head(self) -> bytes:
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                head = file.read(HEAD)
        except EOFError as error:
            raise BadInputError(f"{self.path} ends in the middle of its compressed data. Fetch it again.") from error
        except OSError as error:
            raise BadInputError(f"{self.path} cannot be read: {error}") from error
        if not head.strip():
            raise BadInputError(f"{self.path} is empty.")
        return head

    def _separator(self, head: bytes) -> str:
        try:
            line = head.decode(self.encoding, errors="replace").lstrip("\ufeff").lstrip().splitlines()[0]
        except LookupError as error:
            raise BadInputError(f"There is no encoding {self.encoding!r}. Expected e.g. utf-8 or latin-1.") from error
        return max(SEPARATORS, key=line.count)

    def _names(self) -> list[str]:
        try:
            with pa.OSFile(str(self.path)) as file, self._open(file, [], {}) as reader:
                return list(reader.schema.names)
        except (pa.ArrowInvalid, OSError, UnicodeError) as error:
            raise self._unreadable(error) from error

    @property
    def total(self) -> int:
        """The file's size."""
        return self.path.stat().st_size

    def _open(
        self, file: pa.OSFile, refused: list[tuple[int, str]], types: dict[str, pa.DataType]
    ) -> pv.CSVStreamingReader:
        def refuse(row: pv.InvalidRow) -> str:
            text = row.text if row.text is not None else f"{row.actual_columns} cells"
            refused.append((row.number - 2, text))  # counted from 1, the header first
            return "skip"

        return pv.open_csv(
            pa.CompressedInputStream(file, "gzip") if self.path.suffix == ".gz" else file,
            read_options=pv.ReadOptions(block_size=BLOCK, use_threads=False, encoding=self.encoding),
            parse_options=pv.ParseOptions(
                delimiter=self.separator, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )

    def batches(self, tell: Callable[[int], None]) -> Iterator[LogBatch]:
        """The events.

        Args:
            tell: is told how many bytes of the file have been read, after each piece.

        Raises:
            BadInputError: the file cannot be read to its end.
        """
        refused: list[tuple[int, str]] = []
        row = 0
        types = {name: pa.string() for name in self._headers}
        try:
            with pa.OSFile(str(self.path)) as file, self._open(file, refused, types) as reader:
                for batch in reader:
                    later = refused[bisect_left(refused, (row, "")) :]
                    rows = _skip([place for place, _ in later], row, batch.num_rows)
                    row = int(rows[-1]) + 1 if len(rows) else row
                    yield self._events(batch, rows)
                    tell(file.tell())
        except (pa.ArrowInvalid, OSError, UnicodeError) as error:
            raise self._unreadable(error) from error
        if refused:
            yield self._refused(refused)

    def _events(self, batch: pa.RecordBatch, rows: Rows) -> LogBatch:
        batch = batch.rename_columns(self._names_there)
        columns = {role: batch.column(self._names_there.index(name)) for role, name in self.columns.items()}
        return make_batch(rows, columns, hash_rows(batch), self.timezone)

    def _refused(self, refused: list[tuple[int, str]]) -> LogBatch:
        rows, texts = zip(*refused, strict=True)
        nothing = pa.nulls(len(rows), pa.string())
        raw = pa.array(texts, pa.string())
        columns = {role: nothing for role in self.columns}
        return make_batch(np.array(rows, np.int64), columns, hash_column(raw), self.timezone, raw)

    def _unreadable(self, error: Exception) -> BadInputError:
        text = str(error)
        if "UTF8" in text or isinstance(error, UnicodeError):
            return BadInputError(
                f"{self.path} is not in the encoding {self.encoding}: {text}. Name the right one with --encoding, e.g. "
                "--encoding latin-1."
            )
        if "codec" in text or "encoding" in text:
            return BadInputError(f"There is no encoding {self.encoding!r}. Expected e.g. utf-8 or latin-1.")
        return BadInputError(f"{self.path} cannot be read as CSV: {text}")


def _skip(refused: list[int], start: int, count: int) -> Rows:
    """The numbers of ``count`` rows from ``start`` on, without those of rows that were refused.

    >>> _skip([1, 2], 0, 3).tolist()
    [0, 3, 4]
    """
    candidates = np.arange(start, start + count + len(refused))
    return np.setdiff1d(candidates, refused)[:count]
