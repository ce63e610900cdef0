"""Records in a folder of Parquet or CSV files."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from evergreen.errors import BadInputError
from evergreen.stream.sources.ahead import read_ahead
from evergreen.stream.sources.csv_file import CsvFile
from evergreen.stream.sources.parquet_file import ParquetFile
from evergreen.stream.sources.source import Drained, Piece, Position, Positions

SPLIT = "files"
KINDS = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv"}


class RecordFile(Protocol):
    """A file of records, read from front to back."""

    schema: pa.Schema

    def rows(self) -> int | None:
        """How many there are about; None if finding out costs more than it is worth."""

    def batches(self, skip: int) -> Iterator[tuple[pa.RecordBatch, pa.Array | None]]:
        """Records after the first ``skip``, and the text of those that could not be read."""


class FolderSource:
    """The files of a folder and its sub-folders, in the order of their names, as one stream.

    Later runs read the files that have come meanwhile. A file must be whole when it appears: write it under a hidden
    name (``.name`` or ``_name``, which are passed over) and rename it. What has been read must not change.
    """

    def __init__(
        self,
        path: Path,
        types: dict[str, str] | None = None,
        timestamp: str = "timestamp",
        schema: pa.Schema | None = None,
    ) -> None:
        """Look at the folder, or at a single file.

        Args:
            path: of the folder.
            types: of CSV columns whose first lines do not show them, e.g. ``{"amount": "double"}``.
            timestamp: the CSV column that is read as text, because windows know more ways to write a time.
            schema: of the records; None for that of the first file.

        Raises:
            BadInputError: there is nothing to read, or Parquet and CSV are mixed.
        """
        self.path = path
        files = _list(path)
        kinds = sorted({_kind(file) for file in files.values()})
        if len(kinds) > 1:
            raise BadInputError(f"{path} holds Parquet and CSV files. Put them into folders of their own.")
        self.kind = kinds[0]
        self._files = files
        self._open: Callable[[Path, pa.Schema | None], RecordFile]
        if self.kind == "csv":
            self._open = lambda file, schema: CsvFile(file, schema, types or {}, timestamp)
        else:
            self._open = ParquetFile
        self.schema = schema or self._open(next(iter(files.values())), None).schema

    @cached_property
    def total(self) -> int | None:
        """Looks into every file, so only when it is asked for."""
        counts = [self._open(file, self.schema).rows() for file in self._files.values()]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def splits(self) -> list[str]:
        return [SPLIT]

    def read(self, positions: Positions) -> Iterator[Piece | Drained]:
        position = positions.get(SPLIT) or {"done": {}, "file": None, "row": 0}
        done: dict[str, int] = dict(position["done"])
        for name, size in done.items():
            if name in self._files and self._files[name].stat().st_size != size:
                raise BadInputError(
                    f"{self._files[name]} has changed since it was read. Put new records into new files."
                )
        current, row = position["file"], position["row"]
        if current is not None and current not in self._files:
            raise BadInputError(f"{current} is gone from {self.path}, but only its first {row:,} records were read.")
        names = [current] if current is not None else []
        for name in names + [name for name in self._files if name not in done and name != current]:
            path = self._files[name]
            size, seen = path.stat().st_size, row if name == current else 0
            before = dict(done)
            with closing(read_ahead(self._open(path, self.schema).batches(seen))) as batches:
                for batch, raw in batches:
                    yield Piece(SPLIT, batch, _after(before, name, seen), raw)
                    seen += batch.num_rows
            done[name] = size
        yield Drained(SPLIT)

    def durable(self, positions: Positions) -> None:
        """Nothing to tell a folder."""

    def close(self) -> None:
        """Nothing is open between batches."""


def _after(done: dict[str, int], name: str, seen: int) -> Callable[[int], Position]:
    return lambda rows: {"done": done, "file": name, "row": seen + rows}


def _list(path: Path) -> dict[str, Path]:
    """Files by their name relative to the folder, sorted.

    Raises:
        BadInputError: there are none.
    """
    if path.is_file() and _kind(path):
        return {path.name: path}
    if not path.is_dir():
        raise BadInputError(f"{path} is no folder, and no .parquet or .csv file. Name the folder of the records.")
    found = {
        file.relative_to(path).as_posix(): file
        for file in path.rglob("*")
        if _kind(file) and file.is_file() and not any(part[0] in "._" for part in file.relative_to(path).parts)
    }
    if not found:
        raise BadInputError(f"{path} holds no .parquet, .csv or .csv.gz file.")
    return dict(sorted(found.items()))


def _kind(path: Path) -> str:
    return next((kind for ending, kind in KINDS.items() if path.name.endswith(ending)), "")
