"""Session windows: the records of a key, as long as there is no longer silence than the gap."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evergreen.stream.event_windows import (
    FOREVER,
    NEVER,
    Closed,
    Corrections,
    EventWindows,
    in_order,
    joined,
    times_of,
)
from evergreen.stream.held_records import HeldRecords
from evergreen.stream.records import Times
from evergreen.stream.row_hash import Hashes, hash_column

Bounds = NDArray[np.void]
BOUNDS = np.dtype([("key", np.uint64), ("first", np.int64), ("last", np.int64)])


class SessionWindows(HeldRecords):
    """Sessions [first, last + gap) of the records that are in time, which is: not earlier than the watermark.

    A session closes when the watermark reaches its end. Then no record that is in time can belong to it any more, so
    sessions do not depend on the order of arrival. A late record corrects the earliest session of its key that it is
    less than the gap away from, or makes a session of its own, which is nothing but the correction.
    """

    def __init__(self, config: EventWindows, schema: pa.Schema, timestamp: str, key: str | None) -> None:
        super().__init__(config, schema, timestamp)
        self.gap, self.key = config.gap, key
        self._closed = np.zeros(0, dtype=BOUNDS)  # sessions that may still be corrected

    def last_end(self, times: Times) -> Times:
        return times + self.gap

    def close(self, watermark: int, now: bool) -> list[Closed]:
        if not now and self._held_rows < max(1, 2 * self._settled):
            return []  # looking again costs time in proportion to what is held: only when that has doubled
        held = joined(self._held, self.schema)
        times, keys = times_of(held, self.timestamp), self._keys(held)
        order = np.lexsort((times, keys))
        times, keys = times[order], keys[order]
        begins = np.ones(len(times), dtype=bool)
        begins[1:] = (keys[1:] != keys[:-1]) | (np.diff(times) >= self.gap)
        starts = np.flatnonzero(begins)
        stops = np.append(starts[1:], len(times))[: len(starts)]
        sessions = np.empty(len(starts), dtype=BOUNDS)
        sessions["key"], sessions["first"], sessions["last"] = keys[starts], times[starts], times[stops - 1]
        done = sessions["last"] + self.gap <= watermark
        closed = [
            self._window(held.take(pa.array(order[start:stop])))
            for start, stop in zip(starts[done].tolist(), stops[done].tolist(), strict=True)
        ]
        left = np.repeat(~done, stops - starts)
        self._held = [held.take(pa.array(order[left]))] if left.any() else []
        self._held_rows = self._settled = int(left.sum())
        self._closed = np.concatenate([self._closed, sessions[done]])
        self._resolve(sessions[~done], watermark)
        reached = watermark if watermark < FOREVER else int(self._closed["last"].max(initial=NEVER)) + self.gap
        self._closed = self._closed[self._closed["last"] > reached - self.lateness - 2 * self.gap]
        return sorted(closed, key=lambda window: window.place)

    def _keys(self, batch: pa.RecordBatch) -> Hashes:
        if self.key is None:
            return np.zeros(batch.num_rows, dtype=np.uint64)
        return hash_column(batch.column(self.key))

    def _window(self, rows: pa.RecordBatch) -> Closed:
        times = times_of(rows, self.timestamp)
        key = None if self.key is None else str(rows.column(self.key)[0].as_py())
        return Closed(int(times[0]), int(times[-1]) + self.gap, in_order(rows, self.timestamp), key)

    def _resolve(self, open_: Bounds, watermark: int) -> None:
        """Give late records to sessions, as soon as it is certain which ones they touch and the earliest has closed."""
        late = joined(self._late, self.schema)
        if not late.num_rows:
            return
        times, keys = times_of(late, self.timestamp), self._keys(late)
        sessions = np.concatenate([self._closed, open_])
        is_open = np.repeat([False, True], [len(self._closed), len(open_)])
        order = np.lexsort((sessions["first"], sessions["key"]))
        sessions, is_open = sessions[order], is_open[order]
        lows = np.searchsorted(sessions["key"], keys, side="left")
        highs = np.searchsorted(sessions["key"], keys, side="right")
        bounds: dict[int, tuple[int, int]] = {}
        for row, (time, low, high) in enumerate(zip(times.tolist(), lows.tolist(), highs.tolist(), strict=True)):
            if watermark < time + self.gap:
                continue  # a record that touches it may still come
            own = sessions[low:high]
            touched = np.flatnonzero((own["first"] - self.gap < time) & (time < own["last"] + self.gap))
            if len(touched) == 0:
                bounds[row] = (time, time + self.gap)
            elif not is_open[low + touched[0]]:
                bounds[row] = (int(own["first"][touched[0]]), int(own["last"][touched[0]]) + self.gap)
        if bounds:
            starts, ends = (np.array(side, dtype=np.int64) for side in zip(*bounds.values(), strict=True))
            self._corrections.append(Corrections(late.take(pa.array(list(bounds))), starts, ends))
        rest = [row for row in range(len(times)) if row not in bounds]
        self._late = [late.take(pa.array(rest))] if rest else []

    def rows(self) -> int:
        late: int = sum(batch.num_rows for batch in self._late)
        return self._held_rows + late

    def state(self) -> tuple[dict[str, Any], dict[str, pa.RecordBatch]]:
        closed = pa.record_batch({name: np.ascontiguousarray(self._closed[name]) for name in BOUNDS.names or ()})
        batches = {"held": joined(self._held, self.schema), "late": joined(self._late, self.schema), "closed": closed}
        return {"due": self.due}, batches

    def restore(self, values: dict[str, Any], batches: dict[str, pa.RecordBatch]) -> None:
        self.due = values["due"]
        self._held, self._late = [batches["held"]], [batches["late"]]
        self._held_rows = self._settled = batches["held"].num_rows
        closed = batches["closed"]
        self._closed = np.zeros(closed.num_rows, dtype=BOUNDS)
        for name in BOUNDS.names or ():
            self._closed[name] = np.asarray(closed.column(name))
