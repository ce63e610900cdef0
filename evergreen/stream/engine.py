"""The window engine: records in, closed windows, corrections and quarantined records out. It reads and writes nothing.

Every decision about a record depends on the records before it in the stream alone: how they are batched, and where the
engine was saved and restored, changes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evergreen.errors import BadInputError, EvergreenError
from evergreen.stream.count_windows import CountWindows
from evergreen.stream.duplicates import Seen
from evergreen.stream.event_windows import FOREVER, NEVER, Closed, Corrections, EventWindows, Windows, joined
from evergreen.stream.grid_windows import GridWindows
from evergreen.stream.records import Codes, Columns, Flags, Reason, Times, normalise
from evergreen.stream.row_hash import hash_column, hash_rows
from evergreen.stream.session_windows import SessionWindows
from evergreen.stream.watermark import Clock

REASON = "quarantine_reason"
RAW = "quarantine_raw"
RESERVED = (REASON, RAW, "__watermark", "window_id", "window_start", "window_end")


@dataclass(frozen=True)
class Saved:
    """An engine's state: what JSON holds, and what Arrow files hold."""

    values: dict[str, Any]
    batches: dict[str, pa.RecordBatch]


class Engine:
    """Windows over a stream of one or more splits.

    Attributes:
        schema: of the records as they come.
        normal_schema: of the records in windows.
        read: records taken so far.
        accepted: of those, the ones that got into a window or a correction.
        quarantined: the others, by reason.
        placed: rows of the windows and corrections given out so far.
        watermark: no record earlier than that is waited for; never goes back.
    """

    def __init__(self, config: EventWindows, columns: Columns, schema: pa.Schema, splits: Iterable[str]) -> None:
        """Begin with an empty stream.

        Args:
            config: how to cut.
            columns: which column is what.
            schema: of the records.
            splits: the parts that the stream comes in; the watermark is that of the slowest that is not drained.

        Raises:
            BadInputError: the stream lacks a column, or has one that Evergreen needs for itself.
        """
        columns.check(schema)
        if taken := [name for name in RESERVED if name in schema.names]:
            raise BadInputError(f"The stream has a column named {taken[0]!r}, which Evergreen needs. Rename it.")
        if "id" in config.duplicates and columns.id is None:
            raise BadInputError("Duplicates by id need a column for the id. Name it with --id.")
        self.config, self.columns, self.schema = config, columns, schema
        self.normal_schema = columns.normal_schema(schema)
        self.read = self.accepted = self.placed = 0
        self.quarantined: Counter[Reason] = Counter()
        self.watermark = NEVER
        self._windows = _open(config, columns, self.normal_schema)
        self._clocks: dict[str, Clock] = {}
        self._first: dict[str, tuple[pa.RecordBatch, pa.Array | None]] = {}  # splits that have not voted yet
        self._drained: set[str] = set()
        self._seen = {kind: Seen() for kind in config.duplicates}
        self._quarantine: list[pa.RecordBatch] = []
        for split in splits:
            self._clocks[split] = Clock(config.ahead, config.votes)

    @property
    def undecided(self) -> bool:
        """Whether records wait for the vote on where their split begins; until then there is no state to save."""
        return bool(self._first)

    @property
    def held(self) -> int:
        """Records in memory."""
        undecided: int = sum(batch.num_rows for batch, _ in self._first.values())
        return self._windows.rows() + undecided

    def push(self, split: str, batch: pa.RecordBatch, raw: pa.Array | None = None) -> list[Closed]:
        """Take the next records of a split; returns the windows that closed.

        Args:
            split: where they come from.
            batch: n rows of ``schema``.
            raw: (n,) text of the rows that the source could not read, null elsewhere.
        """
        clock = self._clocks.setdefault(split, Clock(self.config.ahead, self.config.votes))
        if clock.mark is not None:
            return self._take(split, batch, raw)
        if split in self._first:
            before, raw_before = self._first.pop(split)
            raw = _joined_raw(raw_before, before.num_rows, raw, batch.num_rows)
            batch = pa.concat_batches([before, batch])
        return self._vote(split, batch, raw, all_=False)

    def _vote(self, split: str, batch: pa.RecordBatch, raw: pa.Array | None, all_: bool) -> list[Closed]:
        """Let the first records of a split say where its clock begins, then take them; without ``all_`` wait for more.

        Exactly the first ``votes`` records are asked, however many came with them; if none has a time, the next.
        """
        closed: list[Closed] = []
        while batch.num_rows >= (1 if all_ else self.config.votes):
            head = slice(0, self.config.votes)
            normal = normalise(batch[head], None if raw is None else raw[head], self.columns)
            if (valid := normal.codes == Reason.ACCEPTED).any():
                self._clocks[split].begin(normal.times[valid])
                return closed + self._take(split, batch, raw)
            closed += self._take(split, batch[head], None if raw is None else raw[head])
            batch, raw = batch[self.config.votes :], None if raw is None else raw[self.config.votes :]
        if batch.num_rows:
            self._first[split] = batch, raw
        return closed

    def _take(self, split: str, batch: pa.RecordBatch, raw: pa.Array | None) -> list[Closed]:
        normal = normalise(batch, raw, self.columns)
        codes = normal.codes
        self.read += len(codes)
        rows = np.flatnonzero(codes == Reason.ACCEPTED)
        if len(rows):
            times = normal.times if len(rows) == len(codes) else normal.times[rows]
            before, ahead = self._clocks[split].advance(times)
            codes[rows[ahead]] = Reason.AHEAD_OF_TIME
            watermarks = self._watermarks(split, before)
            until = self._windows.last_end(times) + self.config.lateness
            codes[rows[~ahead & (until <= watermarks)]] = Reason.TOO_LATE
            self._find_duplicates(normal.batch, rows, codes, until, watermarks)
            kept = codes[rows] == Reason.ACCEPTED
            self.accepted += int(kept.sum())
            if kept.any():
                self._windows.add(normal.batch, rows[kept], times[kept], watermarks[kept])
            self._advance()
        self._set_aside(batch, raw, codes)
        return self._close(self.watermark, now=False)

    def _watermarks(self, split: str, before: Times) -> Times:
        """(n,) the watermark when each record came, from the mark of its split before it."""
        others = self._slowest(without=split)
        marks = before if others is None else np.minimum(before, others)
        return np.maximum(marks - self.config.disorder, self.watermark)

    def _slowest(self, without: str | None = None) -> int | None:
        """The lowest mark of the splits that are not drained; None if there are none."""
        marks = [
            NEVER if clock.mark is None else clock.mark
            for split, clock in self._clocks.items()
            if split != without and split not in self._drained
        ]
        return min(marks, default=None)

    def _advance(self) -> None:
        slowest = self._slowest()
        if slowest is not None and slowest > NEVER:
            self.watermark = max(self.watermark, slowest - self.config.disorder)

    def _find_duplicates(
        self, batch: pa.RecordBatch, rows: Times, codes: Codes, until: Times, watermarks: Times
    ) -> None:
        """Set the codes of duplicates. A record that is one by its content has still used up its id."""
        for kind, seen in self._seen.items():
            asked: Flags = codes[rows] == Reason.ACCEPTED
            if not asked.any():
                return
            asking = rows[asked]
            duplicate = seen.admit(self._hashes(kind, batch)[asking], until[asked], watermarks[asked])
            codes[asking[duplicate]] = Reason.DUPLICATE_ID if kind == "id" else Reason.DUPLICATE_CONTENT

    def _hashes(self, kind: str, batch: pa.RecordBatch) -> Any:
        if kind == "id":
            return hash_column(batch.column(self.columns.id))
        return hash_rows(batch, without=self.columns.id)

    def _set_aside(self, batch: pa.RecordBatch, raw: pa.Array | None, codes: Codes) -> None:
        rows = np.flatnonzero(codes != Reason.ACCEPTED)
        if not len(rows):
            return
        for code, count in zip(*np.unique(codes[rows], return_counts=True), strict=True):
            self.quarantined[Reason(code)] += int(count)
        chosen = pa.array(rows)
        reasons = pa.array([Reason(code).name.lower() for code in codes[rows]])
        texts = pa.nulls(len(rows), pa.string()) if raw is None else raw.take(chosen)
        columns = [*batch.take(chosen).columns, reasons, texts]
        self._quarantine.append(pa.record_batch(columns, schema=self.quarantine_schema))

    @property
    def quarantine_schema(self) -> pa.Schema:
        """That of the records as they came, and why they were set aside."""
        reason, raw = pa.field(REASON, pa.string()), pa.field(RAW, pa.string())
        nullable = [field.with_nullable(True) for field in self.schema]
        return pa.schema([*nullable, reason, raw])

    def _close(self, watermark: int, now: bool) -> list[Closed]:
        closed = self._windows.close(watermark, now)
        self.placed += sum(window.batch.num_rows for window in closed)
        return closed

    def drained(self, split: str) -> list[Closed]:
        """A split has no more records for now, so the others do not wait for it."""
        closed = self._vote(split, *self._first.pop(split), all_=True) if split in self._first else []
        self._drained.add(split)
        self._advance()
        return closed + self._close(self.watermark, now=False)

    def settle(self) -> list[Closed]:
        """Close every window that the watermark has reached, at once: before the state is saved."""
        return self._close(self.watermark, now=True)

    def finish(self) -> list[Closed]:
        """The stream has ended: close all windows. Should records come after all, those of closed windows are late."""
        closed = [window for split in list(self._first) for window in self.drained(split)]
        last = self._close(FOREVER, now=True)
        edge = max((window.end for window in last), default=NEVER)
        self.watermark = max(self.watermark, edge + 1 if self.config.kind == "count" else edge)
        return closed + last

    def corrections(self) -> list[Corrections]:
        """Late records since the last call."""
        found = self._windows.corrections()
        self.placed += sum(len(correction.starts) for correction in found)
        return found

    def quarantine(self) -> pa.RecordBatch:
        """Records set aside since the last call, in the order of arrival, with the reason."""
        found, self._quarantine = self._quarantine, []
        return joined(found, self.quarantine_schema)

    def check(self) -> None:
        """Check that no record was lost or doubled.

        Raises:
            EvergreenError: one was, which is a defect of Evergreen.
        """
        aside = sum(self.quarantined.values())
        if self.read != self.accepted + aside:
            raise EvergreenError(
                f"{self.read:,} records were read, but {self.accepted:,} accepted and {aside:,} set aside. Nothing of "
                "the last records was written. This is a defect: please report it."
            )
        waiting = self._windows.waiting()
        if self._windows.due != self.placed + waiting:
            raise EvergreenError(
                f"{self._windows.due:,} rows belong into windows, but {self.placed:,} were written and {waiting:,} "
                "wait. Nothing of the last records was written. This is a defect: please report it."
            )

    def save(self) -> Saved:
        """The state, to be restored exactly. Windows, corrections and quarantine must have been taken out before."""
        values, batches = self._windows.state()
        state = {
            "read": self.read,
            "accepted": self.accepted,
            "placed": self.placed,
            "quarantined": {reason.name.lower(): count for reason, count in sorted(self.quarantined.items())},
            "watermark": self.watermark,
            "clocks": {split: clock.state() for split, clock in sorted(self._clocks.items())},
            "windows": values,
        }
        return Saved(state, batches | {f"seen_{kind}": seen.state() for kind, seen in self._seen.items()})

    def restore(self, saved: Saved) -> None:
        """Go on from a saved state of an engine with the same configuration."""
        values: Mapping[str, Any] = saved.values
        self.read, self.accepted, self.placed = values["read"], values["accepted"], values["placed"]
        self.quarantined = Counter({Reason[name.upper()]: count for name, count in values["quarantined"].items()})
        self.watermark = values["watermark"]
        for split, state in values["clocks"].items():
            self._clocks.setdefault(split, Clock(self.config.ahead, self.config.votes)).restore(state)
        self._windows.restore(values["windows"], saved.batches)
        for kind, seen in self._seen.items():
            seen.restore(saved.batches[f"seen_{kind}"])


def _open(config: EventWindows, columns: Columns, schema: pa.Schema) -> Windows:
    if config.kind == "session":
        return SessionWindows(config, schema, columns.timestamp, columns.key)
    if config.kind == "count":
        return CountWindows(config, schema, columns.timestamp)
    return GridWindows(config, schema, columns.timestamp)


def _joined_raw(left: pa.Array | None, left_rows: int, right: pa.Array | None, right_rows: int) -> pa.Array | None:
    if left is None and right is None:
        return None
    parts = [
        pa.nulls(rows, pa.string()) if part is None else part for part, rows in ((left, left_rows), (right, right_rows))
    ]
    return pa.concat_arrays(parts)
