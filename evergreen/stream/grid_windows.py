"""Tumbling and sliding windows: records wait in panes, the pieces that all windows are made of."""

import math
from typing import Any

import numpy as np
import pyarrow as pa

from evergreen.stream.event_windows import (
    FOREVER,
    NEVER,
    Closed,
    Corrections,
    EventWindows,
    Rows,
    chosen,
    compact,
    in_order,
    joined,
    times_of,
)
from evergreen.stream.records import Times
from evergreen.stream.windows import runs

ARRIVAL = "__watermark"  # column: the watermark at a record's arrival


class GridWindows:
    """Windows [k·slide, k·slide + size); tumbling ones have slide = size.

    A record is in time for a window if the watermark had not reached the window's end when it came. With sliding
    windows it may be in time for one and late for another, so each row keeps the watermark of its arrival.
    """

    def __init__(self, config: EventWindows, schema: pa.Schema, timestamp: str) -> None:
        self.size = config.size
        self.slide = config.size if config.kind == "tumbling" else config.slide
        self.pane = math.gcd(self.size, self.slide)
        self.lateness = config.lateness
        self.timestamp = timestamp
        self.schema = schema
        self.due = 0
        self._held_schema = schema if self.slide == self.size else schema.append(pa.field(ARRIVAL, pa.int64()))
        self._panes: dict[int, list[pa.RecordBatch]] = {}
        self._closed_to = NEVER  # windows that end here or earlier are closed
        self._corrections: list[Corrections] = []

    def first_end(self, times: Times) -> Times:
        """(n,) end of the earliest window that covers each time."""
        return ((times - self.size) // self.slide + 1) * self.slide + self.size

    def last_end(self, times: Times) -> Times:
        return times // self.slide * self.slide + self.size

    def add(self, batch: pa.RecordBatch, rows: Rows, times: Times, watermarks: Times) -> None:
        first, last = self.first_end(times), self.last_end(times)
        if (first <= watermarks).any():
            self._correct(batch, rows, first, last, watermarks)
        open_ = np.flatnonzero(last > watermarks)
        self.due += int(((last - self._next_end(first, watermarks))[open_] // self.slide + 1).sum())
        numbers = times[open_] // self.pane
        if len(numbers) > 1 and bool((np.diff(numbers) < 0).any()):
            order = np.argsort(numbers, kind="stable")
            open_, numbers = open_[order], numbers[order]
        batch = chosen(batch, rows[open_])
        if self._held_schema is not self.schema:
            batch = pa.record_batch([*batch.columns, pa.array(watermarks[open_])], schema=self._held_schema)
        for number, start, stop in runs(numbers):
            self._panes.setdefault(number, []).append(compact(batch.slice(start, stop - start), batch.num_rows))

    def _next_end(self, first: Times, after: Times) -> Times:
        """(n,) the first end on the grid that is ``first`` or later, and later than ``after``."""
        ends: Times = first + np.maximum(0, (after - first) // self.slide + 1) * self.slide
        return ends

    def _correct(self, batch: pa.RecordBatch, rows: Rows, first: Times, last: Times, watermarks: Times) -> None:
        for number in range(-(-self.size // self.slide)):
            ends = first + number * self.slide
            late = np.flatnonzero((ends <= last) & (ends <= watermarks) & (ends + self.lateness > watermarks))
            if len(late):
                ends = ends[late]
                self._corrections.append(Corrections(chosen(batch, rows[late]), ends - self.size, ends))
                self.due += len(late)

    def close(self, watermark: int, now: bool) -> list[Closed]:
        ends = {end for pane in self._panes for end in self._ends(pane, watermark)}
        closed = [window for end in sorted(ends) if (window := self._window(end)) is not None]
        self._closed_to = max(self._closed_to, watermark if watermark < FOREVER else max(ends, default=NEVER))
        if ends:
            self._panes = {
                pane: pieces
                for pane, pieces in self._panes.items()
                if pane * self.pane // self.slide * self.slide + self.size > self._closed_to
            }
        return closed

    def _ends(self, pane: int, watermark: int) -> range:
        """Ends of the windows over a pane that are open, and closed by the watermark."""
        start = pane * self.pane
        after = max(self._closed_to, start)
        first = (after - self.size) // self.slide + 1  # the first window that ends after that
        last = min(start // self.slide, (watermark - self.size) // self.slide)
        return range(first * self.slide + self.size, last * self.slide + self.size + 1, self.slide)

    def _window(self, end: int) -> Closed | None:
        numbers = range((end - self.size) // self.pane, end // self.pane)
        if len(numbers) > len(self._panes):
            found = [pane for pane in sorted(self._panes) if pane in numbers]
        else:
            found = [pane for pane in numbers if pane in self._panes]
        batch = joined([piece for pane in found for piece in self._panes[pane]], self._held_schema)
        if self._held_schema is not self.schema:
            in_time = np.asarray(batch.column(ARRIVAL)) < end
            batch = (batch if in_time.all() else batch.filter(pa.array(in_time))).drop_columns([ARRIVAL])
        return Closed(end - self.size, end, in_order(batch, self.timestamp)) if batch.num_rows else None

    def corrections(self) -> list[Corrections]:
        found, self._corrections = self._corrections, []
        return found

    def rows(self) -> int:
        return sum(piece.num_rows for pieces in self._panes.values() for piece in pieces)

    def waiting(self) -> int:
        count = sum(len(correction.starts) for correction in self._corrections)
        for pieces in self._panes.values():
            for piece in pieces:
                times = times_of(piece, self.timestamp)
                after = np.full(len(times), self._closed_to)
                if self._held_schema is not self.schema:
                    after = np.maximum(after, np.asarray(piece.column(ARRIVAL)))
                ends = self._next_end(self.first_end(times), after)
                count += int(np.maximum(0, (self.last_end(times) - ends) // self.slide + 1).sum())
        return count

    def state(self) -> tuple[dict[str, Any], dict[str, pa.RecordBatch]]:
        pieces = [piece for pane in sorted(self._panes) for piece in self._panes[pane]]
        return {"closed_to": self._closed_to, "due": self.due}, {"held": joined(pieces, self._held_schema)}

    def restore(self, values: dict[str, Any], batches: dict[str, pa.RecordBatch]) -> None:
        self._closed_to, self.due = values["closed_to"], values["due"]
        held = batches["held"]
        for number, start, stop in runs(times_of(held, self.timestamp) // self.pane):
            self._panes.setdefault(number, []).append(compact(held.slice(start, stop - start), held.num_rows))
