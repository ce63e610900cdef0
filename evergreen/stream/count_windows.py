"""Windows by count: so many records in the order of event time."""

from typing import Any

import numpy as np
import pyarrow as pa

from evergreen.stream.event_windows import (
    FOREVER,
    Closed,
    Corrections,
    EventWindows,
    compact,
    in_order,
    joined,
    times_of,
)
from evergreen.stream.held_records import HeldRecords
from evergreen.stream.records import Times


class CountWindows(HeldRecords):
    """Records wait until no earlier one can come, then fill one window after the other.

    A late record corrects the first window that ends when it happened or later. Records of one moment are always
    released together, so windows do not depend on the order of arrival; the hash of the row decides between them.
    """

    def __init__(self, config: EventWindows, schema: pa.Schema, timestamp: str) -> None:
        super().__init__(config, schema, timestamp)
        self.size = config.rows
        self._filling = joined([], schema)  # released, in order, fewer than a window
        self._closed: list[tuple[int, int]] = []  # bounds of closed windows that may be corrected, in order
        self._number = 0

    def last_end(self, times: Times) -> Times:
        return times + 1

    def close(self, watermark: int, now: bool) -> list[Closed]:
        if not now and self._held_rows < max(self.size, 2 * self._settled):
            return []  # looking again costs time in proportion to what is held: only when that has doubled
        closed = self._cut(self._release(watermark), watermark == FOREVER)
        self._closed += [(window.start, window.end) for window in closed]
        self._resolve(watermark)
        reached = watermark if watermark < FOREVER or not self._closed else self._closed[-1][1]
        self._closed = [bounds for bounds in self._closed if bounds[1] >= reached - self.lateness]
        return closed

    def _release(self, watermark: int) -> pa.RecordBatch:
        held = in_order(joined(self._held, self.schema), self.timestamp)
        ready = int(np.searchsorted(times_of(held, self.timestamp), watermark))
        left = compact(held.slice(ready), held.num_rows)
        self._held = [left] if left.num_rows else []
        self._held_rows = self._settled = left.num_rows
        return held.slice(0, ready)

    def _cut(self, released: pa.RecordBatch, all_: bool) -> list[Closed]:
        room = self.size - self._filling.num_rows
        if self._filling.num_rows:
            self._filling = joined([self._filling, released.slice(0, room)], self.schema)
            released = released.slice(room)
            full = [self._filling] if self._filling.num_rows == self.size or all_ else []
        else:
            full = []
        if full or not self._filling.num_rows:
            whole = released.num_rows if all_ else released.num_rows // self.size * self.size
            full += [released.slice(start, self.size) for start in range(0, whole, self.size)]
            self._filling = compact(released.slice(whole), released.num_rows)
        closed = []
        for number, batch in enumerate(full, self._number):
            times = times_of(batch, self.timestamp)
            closed.append(Closed(int(times[0]), int(times[-1]), batch, None, number))
        self._number += len(full)
        return closed

    def _resolve(self, watermark: int) -> None:
        """Give late records to closed windows; those of a window that is still filling wait."""
        late = joined(self._late, self.schema)
        if not late.num_rows:
            return
        times = times_of(late, self.timestamp)
        starts, ends = np.array(self._closed, dtype=np.int64).reshape(-1, 2).T
        place = np.searchsorted(ends, times)
        found = place < len(ends)
        if watermark == FOREVER and not found.all():  # no window will end later: the last one it is, or one of its own
            if not len(ends):
                starts, ends, place = times, times, np.arange(len(times))
            place = np.minimum(place, len(ends) - 1)
            found = np.ones(len(times), dtype=bool)
        if found.any():
            chosen = place[found]
            self._corrections.append(Corrections(late.filter(pa.array(found)), starts[chosen], ends[chosen]))
        self._late = [] if found.all() else [late.filter(pa.array(~found))]

    def rows(self) -> int:
        released: int = self._filling.num_rows + sum(batch.num_rows for batch in self._late)
        return self._held_rows + released

    def state(self) -> tuple[dict[str, Any], dict[str, pa.RecordBatch]]:
        values = {"due": self.due, "closed": self._closed, "number": self._number}
        batches = {
            "held": joined(self._held, self.schema),
            "filling": self._filling,
            "late": joined(self._late, self.schema),
        }
        return values, batches

    def restore(self, values: dict[str, Any], batches: dict[str, pa.RecordBatch]) -> None:
        self.due, self._number = values["due"], values["number"]
        self._closed = [(start, end) for start, end in values["closed"]]
        self._held, self._filling, self._late = [batches["held"]], batches["filling"], [batches["late"]]
        self._held_rows = self._settled = batches["held"].num_rows
