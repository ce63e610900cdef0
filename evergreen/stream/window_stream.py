"""A stream cut into durable windows, exactly once: source → engine → folder and ledger."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pydantic

from evergreen.config import Config
from evergreen.errors import BadInputError, EvergreenError
from evergreen.progress import Progress, Silent
from evergreen.stream.durable import DurableStream, ledger_address
from evergreen.stream.engine import Engine
from evergreen.stream.event_windows import Closed, EventWindows
from evergreen.stream.ledger import Ledger
from evergreen.stream.records import Columns, schema_text
from evergreen.stream.row_hash import hash_column
from evergreen.stream.sources.source import Idle, Piece, Source


class Share(Config):
    """One of several partitions of a stream: the records whose key's hash falls to it.

    Attributes:
        number: from 0.
        of: partitions.
    """

    number: int = pydantic.Field(0, ge=0)
    of: int = pydantic.Field(1, ge=1, le=10_000)

    @pydantic.model_validator(mode="after")
    def _within(self) -> Self:
        if self.number >= self.of:
            raise ValueError(f"number must be below {self.of}")
        return self

    @property
    def name(self) -> str:
        """As part of a window's name and as a folder; empty if there is one partition only."""
        return f"p{self.number:04d}of{self.of:04d}" if self.of > 1 else ""


class StreamConfig(Config):
    """How a stream becomes windows.

    Attributes:
        columns: which column is what.
        windows: how it is cut.
        domain: the first part of the windows' names.
        share: which of the partitions.
        checkpoint_rows: the state is saved, and windows count, every so many records of the source.
        most_held: records that may wait in memory at a checkpoint; more end the run with a message instead of a kill.
    """

    columns: Columns = Columns()
    windows: EventWindows = EventWindows()
    domain: str = pydantic.Field("stream", pattern=r"^[A-Za-z0-9_]+$", max_length=64)
    share: Share = Share()
    checkpoint_rows: int = pydantic.Field(1_000_000, ge=1)
    most_held: int = pydantic.Field(20_000_000, ge=1)

    def check(self) -> None:
        """Check what concerns several settings at once.

        Raises:
            BadInputError: a column that the settings need is not named.
        """
        if self.share.of > 1 and self.columns.key is None:
            raise BadInputError("Partitions share out keys, but no column is named for the key. Name it with --key.")
        if "id" in self.windows.duplicates and self.columns.id is None:
            raise BadInputError("Duplicates by id need a column for the id. Name it with --id.")

    @property
    def stream(self) -> str:
        """The domain of one partition."""
        return f"{self.domain}-{self.share.name}" if self.share.name else self.domain


@dataclass(frozen=True)
class Summary:
    """What a stream has come to, all runs together.

    Attributes:
        read: records.
        accepted: of those, in windows or corrections, or waiting for their window to close.
        quarantined: the others, by reason.
        windows: that are durable.
        corrections: rows.
        waiting: records whose windows are open.
    """

    read: int = 0
    accepted: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    windows: int = 0
    corrections: int = 0
    waiting: int = 0

    def __add__(self, other: "Summary") -> "Summary":
        """That of two partitions together."""
        reasons = sorted(self.quarantined.keys() | other.quarantined.keys())
        return Summary(
            self.read + other.read,
            self.accepted + other.accepted,
            {name: self.quarantined.get(name, 0) + other.quarantined.get(name, 0) for name in reasons},
            self.windows + other.windows,
            self.corrections + other.corrections,
            self.waiting + other.waiting,
        )


def run_windows(
    source: Source,
    output: Path,
    config: StreamConfig,
    *,
    ledger_url: str | None = None,
    more: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Cut what a source has into durable windows; go on where the last run ended, however it ended.

    Args:
        source: of the records.
        output: folder of the stream; see :mod:`evergreen.stream.durable`.
        config: how.
        ledger_url: another ledger than the SQLite file in the folder.
        more: records will follow in a later run, so windows stay open until the watermark closes them.
        progress: told of every record of the source.

    Raises:
        BadInputError: the input or the settings do not fit, or another process has the folder.
        EvergreenError: more records wait for their windows than ``most_held``, or the disk refuses.
    """
    try:
        with DurableStream(output, config.stream, ledger_url) as store:
            return _Run(source, store, config, progress or Silent()).run(more)
    except OSError as error:
        raise EvergreenError(f"{output} cannot be written: {error}. What the ledger names stays; run again.") from error


def begun_with(output: Path, config: StreamConfig, ledger_url: str | None = None) -> pa.Schema | None:
    """The schema that a stream was begun with; None for a new one. Later records have to fit it.

    Raises:
        BadInputError: the ledger cannot be opened.
    """
    if ledger_url is None and not (output / "ledger.db").exists():
        return None
    ledger = Ledger(ledger_url or ledger_address(output), config.stream)
    checkpoint = ledger.checkpoint()
    ledger.close()
    if checkpoint is None:
        return None
    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(checkpoint.state["positions"]["schema"])))


class _Run:
    def __init__(self, source: Source, store: DurableStream, config: StreamConfig, progress: Progress) -> None:
        self.source, self.store, self.config, self.progress = source, store, config, progress
        self.settings = _settings(source, config)
        self.positions: dict[str, Any] = {}
        self.latest: dict[str, tuple[Piece, int]] = {}  # the last piece of each split, and how much of it was taken
        self.taken = 0  # records of the source, of all partitions
        config.check()
        self.engine = Engine(config.windows, config.columns, source.schema, source.splits())
        if (found := store.resume(self.settings)) is not None:
            saved, positions = found
            self.engine.restore(saved)
            self.positions, self.taken = dict(positions["splits"]), positions["taken"]
        self.changed = False

    def run(self, more: bool) -> Summary:
        for item in self.source.read(self.positions):
            if isinstance(item, Piece):
                self._take(item)
            elif isinstance(item, Idle):
                self._checkpoint()
            else:
                self._keep(self.engine.drained(item.split))
        if not more:
            self._keep(self.engine.finish())
        self._checkpoint()
        return self._summary()

    def _take(self, piece: Piece) -> None:
        """Take a piece, with a checkpoint at every multiple of ``checkpoint_rows``, however the source batches."""
        every, rows, start = self.config.checkpoint_rows, piece.batch.num_rows, 0
        while start < rows:
            stop = min(rows, start + every - self.taken % every)
            batch, raw = _share(*piece.part(start, stop), self.config)
            if batch.num_rows:
                self._keep(self.engine.push(piece.split, batch, raw))
            self.taken += stop - start
            self.latest[piece.split] = piece, stop
            self.changed = True
            self.progress.advance(stop - start)
            start = stop
            if self.taken % every == 0:
                self._checkpoint()

    def _keep(self, closed: Iterable[Closed]) -> None:
        for window in closed:
            self.changed = True
            self.store.write([window])

    def _checkpoint(self) -> None:
        if self.engine.undecided:
            return
        self._keep(self.engine.settle())
        corrections, quarantine = self.engine.corrections(), self.engine.quarantine()
        if not (self.changed or corrections or quarantine.num_rows):
            return
        self.engine.check()
        if self.engine.held > self.config.most_held:
            raise EvergreenError(
                f"{self.engine.held:,} records wait for their windows to close, more than most_held "
                f"({self.config.most_held:,}). Make the windows, disorder or lateness shorter, use more partitions, or "
                "raise the limit if there is memory for it. What is in the ledger stays."
            )
        self.positions |= {split: piece.after(stop) for split, (piece, stop) in self.latest.items()}
        self.latest.clear()
        schema = base64.b64encode(self.source.schema.serialize()).decode()
        positions = {"splits": self.positions, "taken": self.taken, "schema": schema}
        self.store.commit(self.settings, self.engine.save(), positions, corrections, quarantine, self.config.columns)
        self.source.durable(self.positions)
        self.changed = False

    def _summary(self) -> Summary:
        engine, ledger = self.engine, self.store.ledger
        aside = [entry for entries in ledger.aside().values() for entry in entries]
        return Summary(
            engine.read,
            engine.accepted,
            {reason.name.lower(): count for reason, count in sorted(engine.quarantined.items())},
            ledger.count(),
            sum(entry.rows for entry in aside if entry.kind == "corrections"),
            engine.held,
        )


def _settings(source: Source, config: StreamConfig) -> dict[str, Any]:
    """What a stream's windows depend on; how often the state is saved, and limits, are not part of it."""
    values = config.model_dump(mode="json", exclude={"checkpoint_rows", "most_held"})
    return {**values, "source": source.settings(), "schema": dict(schema_text(source.schema))}


def _share(batch: pa.RecordBatch, raw: pa.Array | None, config: StreamConfig) -> tuple[pa.RecordBatch, pa.Array | None]:
    """The rows of this partition; those without a key are the first one's."""
    if config.share.of == 1:
        return batch, raw
    keys = batch.column(config.columns.key)
    owners = hash_column(keys) % np.uint64(config.share.of)
    if keys.null_count:
        owners[np.asarray(keys.is_null())] = 0
    if raw is not None:
        owners[np.asarray(raw.is_valid())] = 0
    mine = pa.array(owners == config.share.number)
    return batch.filter(mine), None if raw is None else raw.filter(mine)
