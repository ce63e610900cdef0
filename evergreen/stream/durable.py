"""A stream's folder: windows, corrections, quarantine and checkpoints that survive a kill and a power failure.

    windows/<window_id>.parquet       the records of a window in the order of event time; never changed
    corrections/<checkpoint>.parquet  late records, each with the window it belongs to
    quarantine/<checkpoint>.parquet   records that are in no window, as they came, each with its reason
    checkpoints/<checkpoint>/         the state to go on from; only the last one is kept
    ledger.db                         what counts: a file that the ledger does not name is removed at the next start

Parquet, compressed with LZ4 and without dictionaries: every tool reads it, what lies under nulls is not written (so
equal records make equal bytes), and writing costs about as much as hashing. One fsync a window file; that of the folder
and the ledger's come once a checkpoint.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.errors import BadInputError, EvergreenError
from evergreen.files import read_json, remove
from evergreen.stream.engine import Saved
from evergreen.stream.event_windows import Closed, Corrections
from evergreen.stream.ledger import AsideEntry, Checkpoint, Ledger, WindowEntry
from evergreen.stream.records import LATEST, Columns, Times
from evergreen.stream.row_hash import content_sha256, hash_rows
from evergreen.stream.windows import moment

WRITERS = 2
IN_FLIGHT = 8  # windows that wait to be written: bounds memory


class DurableStream:
    """The folder of a stream, held by one process at a time.

    What is written counts when the ledger's transaction names it: first the files, then the ledger, then the clearing.
    """

    def __init__(self, root: Path, domain: str, ledger_url: str | None = None) -> None:
        """Open or make the folder.

        Args:
            root: of the stream.
            domain: first part of the windows' names.
            ledger_url: another place for the ledger than ``root/ledger.db``.

        Raises:
            BadInputError: another process has it open, or the ledger cannot be opened.
        """
        self.root, self.domain = root, domain
        for name in ("windows", "corrections", "quarantine", "checkpoints"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(root / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise BadInputError(f"Another process works on {root}. Wait for it, or name another folder.") from error
        try:
            self.ledger = Ledger(ledger_url or ledger_address(root), domain)
        except BaseException:
            self._lock.release()
            raise
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="windows")
        self._running: deque[Future[WindowEntry]] = deque()
        self._written: list[WindowEntry] = []
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.ledger.close()
        self._lock.release()

    def resume(self, settings: dict[str, Any]) -> tuple[Saved, dict[str, Any]] | None:
        """Remove what a kill left half done, and give back the last state and positions; None for a new stream.

        Args:
            settings: of this run; those of the stream must be the same.

        Raises:
            BadInputError: the stream was begun with other settings.
        """
        checkpoint = self.ledger.checkpoint()
        self._number = 0 if checkpoint is None else checkpoint.number
        if checkpoint is not None and checkpoint.settings != settings:
            different = _differences(checkpoint.settings, settings)
            raise BadInputError(
                f"The windows in {self.root} were begun with other settings: {different}. "
                "Use the same ones, or name another output folder."
            )
        self._sweep()
        if checkpoint is None:
            return None
        folder = self._folder(checkpoint.number)
        try:
            batches = {path.stem: _read_arrow(path) for path in sorted(folder.glob("*.arrow"))}
            values = read_json(folder / "state.json")
        except (OSError, ValueError) as error:
            raise EvergreenError(
                f"The ledger names checkpoint {checkpoint.number}, but {folder} cannot be read: {error}. Restore the "
                "folder, or begin anew in another one."
            ) from error
        return Saved(values, batches), checkpoint.state["positions"]

    def _sweep(self) -> None:
        known = self.ledger.window_ids()
        aside = {(entry.kind, number) for number, entries in self.ledger.aside().items() for entry in entries}
        for path in (self.root / "windows").iterdir():
            if path.suffix != ".parquet" or path.stem not in known:
                remove(path)
        for kind in ("corrections", "quarantine"):
            for path in (self.root / kind).iterdir():
                if path.suffix != ".parquet" or (kind, int(path.stem)) not in aside:
                    remove(path)
        for path in (self.root / "checkpoints").iterdir():
            if path != self._folder(self._number):
                remove(path)

    def write(self, windows: Sequence[Closed]) -> None:
        """Write windows in the background; errors come out at the next call or the next commit."""
        for window in windows:
            while len(self._running) >= IN_FLIGHT:
                self._written.append(self._running.popleft().result())
            self._running.append(self._pool.submit(self._write_window, window))

    def _write_window(self, window: Closed) -> WindowEntry:
        place = f"{self.domain} {window.start} {window.end} {window.number} {window.key}"
        digest = content_sha256(window.batch, place)
        name = window_name(self.domain, window.start, window.end, digest)
        path = self.root / "windows" / f"{name}.parquet"
        write_durably(path, encode(window.batch))
        return WindowEntry(name, window.start, window.end, window.key or "", window.batch.num_rows, digest)

    def commit(
        self,
        settings: dict[str, Any],
        saved: Saved,
        positions: dict[str, Any],
        corrections: Sequence[Corrections],
        quarantine: pa.RecordBatch,
        columns: Columns,
    ) -> None:
        """Make everything since the last commit count.

        Args:
            settings: of the stream.
            saved: the engine's state.
            positions: where the source goes on.
            corrections: late records since the last commit.
            quarantine: records set aside since then.
            columns: which column is what.
        """
        while self._running:
            self._written.append(self._running.popleft().result())
        number = self._number + 1
        aside = []
        if corrections:
            table = self._corrections(corrections, columns)
            aside.append(self._write_aside("corrections", number, table))
        if quarantine.num_rows:
            aside.append(self._write_aside("quarantine", number, quarantine))
        self._save(number, saved)
        for folder in ("windows", "corrections", "quarantine", "checkpoints"):
            fsync_folder(self.root / folder)
        counts = {name: saved.values[name] for name in ("read", "accepted", "placed", "quarantined")}
        state = {**counts, "positions": positions}
        entries = sorted(self._written, key=lambda entry: (entry.end, entry.start, entry.key, entry.window_id))
        self.ledger.commit(Checkpoint(number, settings, state), entries, aside)
        remove(self._folder(self._number))
        self._number, self._written = number, []

    def _corrections(self, corrections: Sequence[Corrections], columns: Columns) -> pa.RecordBatch:
        """Late records with their windows' bounds and names, in a fixed order; no name if there was no such window."""
        rows = pa.concat_batches([part.batch for part in corrections])
        starts = np.concatenate([part.starts for part in corrections])
        ends = np.concatenate([part.ends for part in corrections])
        order = np.lexsort((hash_rows(rows), np.asarray(rows.column(columns.timestamp).cast(pa.int64())), starts, ends))
        rows, starts, ends = rows.take(pa.array(order)), starts[order], ends[order]
        names = self._names(rows, starts, ends, columns.key)
        kind = pa.timestamp("us", "UTC")
        bounds = [pa.array(side).cast(kind) for side in (starts, ends)]
        schema = pa.schema([("window_id", pa.string()), ("window_start", kind), ("window_end", kind), *rows.schema])
        return pa.record_batch([pa.array(names, pa.string()), *bounds, *rows.columns], schema=schema)

    def _names(self, rows: pa.RecordBatch, starts: Times, ends: Times, key: str | None) -> list[str | None]:
        keys = [""] * rows.num_rows if key is None else [str(value) for value in rows.column(key).to_pylist()]
        bounds = set(zip(starts.tolist(), ends.tolist(), strict=True))
        entries = [entry for start, end in sorted(bounds) for entry in self.ledger.find(start, end)]
        entries += [entry for entry in self._written if (entry.start, entry.end) in bounds]
        named: dict[tuple[int, int, str], str] = {}
        for entry in sorted(entries, key=lambda entry: entry.window_id, reverse=True):
            named[entry.start, entry.end, entry.key] = entry.window_id
        return [
            named.get((start, end, value), named.get((start, end, "")))  # only sessions have keys
            for start, end, value in zip(starts.tolist(), ends.tolist(), keys, strict=True)
        ]

    def _write_aside(self, kind: str, number: int, batch: pa.RecordBatch) -> AsideEntry:
        data = encode(batch)
        write_durably(self.root / kind / f"{number:08d}.parquet", data)
        return AsideEntry(kind, batch.num_rows, hashlib.sha256(data).hexdigest())

    def _save(self, number: int, saved: Saved) -> None:
        folder = self._folder(number)
        part = folder.with_name(f".{folder.name}.part")
        remove(part)
        part.mkdir()
        write_durably(part / "state.json", json.dumps(saved.values, sort_keys=True).encode())
        for name, batch in saved.batches.items():
            write_arrow(part / f"{name}.arrow", batch)
        fsync_folder(part)
        remove(folder)
        os.replace(part, folder)

    def _folder(self, number: int) -> Path:
        return self.root / "checkpoints" / f"{number:08d}"


def ledger_address(root: Path) -> str:
    """Where a stream's ledger is, unless it was given another one."""
    return f"sqlite:///{(root / 'ledger.db').absolute()}"


def window_name(domain: str, start: int, end: int, content_hash: str) -> str:
    """A window's name: domain, start, end, and the first digits of its content's hash.

    >>> window_name("stream", 0, 3_600_000_000, "0123456789abcdef")
    'stream-19700101T000000Z-19700101T010000Z-0123456789abcdef'
    """
    return f"{domain}-{_spell(start)}-{_spell(end)}-{content_hash[:16]}"


def _spell(microseconds: int) -> str:
    if microseconds > LATEST:  # the end of a window may lie behind the last day of the calendar
        return f"{microseconds}us"
    time = moment(microseconds)
    fraction = f"{time.microsecond:06d}" if time.microsecond else ""
    return f"{time.year:04d}{time:%m%dT%H%M%S}{fraction}Z"


def _differences(found: dict[str, Any], given: dict[str, Any]) -> str:
    """Settings that differ, as ``name was 1, is 2``."""
    left, right = _flat(found), _flat(given)
    names = [name for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)]
    return "; ".join(f"{name} was {left.get(name)!r}, is {right.get(name)!r}" for name in names)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def encode(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as the bytes of a Parquet file; equal batches give equal bytes."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_batches([batch])
    pq.write_table(table, sink, compression="lz4", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def write_durably(path: Path, data: bytes | pa.Buffer) -> None:
    """Write a file under a temporary name, let it reach the disk, and rename it."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def write_arrow(path: Path, batch: pa.RecordBatch) -> None:
    """Write a batch as an Arrow file that has reached the disk."""
    with path.open("wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())


def _read_arrow(path: Path) -> pa.RecordBatch:
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return pa.concat_batches(batches)


def fsync_folder(path: Path) -> None:
    """Let the names in a folder reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
