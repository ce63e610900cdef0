"""What ingest refused: the reason, and the file's own bytes for whoever wants to look."""

import re
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.files import CHUNK, remove, write_atomically

COPY_LIMIT = 64 << 20
"""Bytes of a refused file that are kept."""

REASONS_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # relative to the folder that was read
        pa.field("reason", pa.string(), nullable=False),  # "kind: details", the kind is the same for like cases
        pa.field("size_bytes", pa.int64()),
        pa.field("sha256", pa.string()),  # of the whole file; null where it could not be read
    ]
)
"""The columns of reasons.parquet, sorted by path."""


class Quarantine:
    """Collects refused files into ``{reasons.parquet, files/<sha256>.<suffix>}``.

    The folder takes the place of an earlier one when the context is left without an error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.growing")
        self._rows: list[dict[str, object]] = []

    def __enter__(self) -> Self:
        remove(self._part)
        self._part.mkdir(parents=True)
        return self

    def __len__(self) -> int:
        return len(self._rows)

    def refuse(self, path: str, reason: str, size_bytes: int | None = None, sha256: str | None = None) -> None:
        """Note that a file was refused."""
        self._rows.append({"path": path, "reason": reason, "size_bytes": size_bytes, "sha256": sha256})

    def refuse_with_bytes(self, path: str, reason: str, size_bytes: int, sha256: str, file: BinaryIO) -> None:
        """Note that a file was refused and keep its bytes; of a file above :data:`COPY_LIMIT` only the beginning."""
        if size_bytes > COPY_LIMIT:
            reason += f" (kept: the first {COPY_LIMIT >> 20} MiB of {size_bytes:,} bytes)"
        self.refuse(path, reason, size_bytes, sha256)
        suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", path)
        (self._part / "files").mkdir(exist_ok=True)
        file.seek(0)
        left = COPY_LIMIT
        with (self._part / "files" / f"{sha256}{suffix[0].lower() if suffix else ''}").open("wb") as copy:
            while left and (piece := file.read(min(CHUNK, left))):
                copy.write(piece)
                left -= len(piece)

    def kinds(self) -> dict[str, int]:
        """How many files were refused for each kind of reason, the most frequent first."""
        counts: dict[str, int] = {}
        for row in self._rows:
            kind = str(row["reason"]).split(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            remove(self._part)
            return
        rows = sorted(self._rows, key=lambda row: str(row["path"]))
        pq.write_table(pa.Table.from_pylist(rows, schema=REASONS_SCHEMA), self._part / "reasons.parquet")
        write_atomically(self.path, self._part.rename)
