"""Records that wait for their windows: what sessions and windows by count have in common."""

from abc import ABC, abstractmethod

import pyarrow as pa

from evergreen.stream.event_windows import Corrections, EventWindows, Rows, chosen
from evergreen.stream.records import Times


class HeldRecords(ABC):
    """Records that are in time are held until their windows close; late ones wait to correct closed windows.

    A record is in time if it is not earlier than the watermark.
    """

    def __init__(self, config: EventWindows, schema: pa.Schema, timestamp: str) -> None:
        self.lateness = config.lateness
        self.timestamp = timestamp
        self.schema = schema
        self.due = 0
        self._held: list[pa.RecordBatch] = []  # a record before them, or in one session with them, may still come
        self._held_rows = 0
        self._settled = 0  # rows of those that the last look left
        self._late: list[pa.RecordBatch] = []
        self._corrections: list[Corrections] = []

    def add(self, batch: pa.RecordBatch, rows: Rows, times: Times, watermarks: Times) -> None:
        self.due += len(rows)
        late = times < watermarks
        if late.any():
            self._late.append(chosen(batch, rows[late]))
            rows = rows[~late]
        self._held.append(chosen(batch, rows))
        self._held_rows += len(rows)

    def corrections(self) -> list[Corrections]:
        found, self._corrections = self._corrections, []
        return found

    @abstractmethod
    def rows(self) -> int: ...

    def waiting(self) -> int:
        return self.rows() + sum(len(correction.starts) for correction in self._corrections)
