"""How records are cut into event-time windows, and how long a window waits for them."""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
import pyarrow as pa
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.stream.records import Times
from evergreen.stream.row_hash import hash_rows

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MOST_OVERLAPPING = 1000
Rows = NDArray[np.int64]
NEVER = -(2**62)  # a watermark before all times
FOREVER = 2**62  # one after all times


def microseconds(value: Any) -> int:
    """A duration: ``90s``, ``1h30m``, ``500ms``, a timedelta, or a number of seconds.

    >>> microseconds("1h30m") == microseconds(5400) == 5_400_000_000
    True
    """
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return round(value * 1_000_000)
    text = str(value).strip().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|[smhdw])", text)
    if text == "0":
        return 0
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("no duration; expected for example 30s, 10m, 1h30m, 2d")
    return round(sum(float(number) * SECONDS[unit] * 1_000_000 for number, unit in parts))


def spelled(duration: int) -> str:
    """A duration in its largest whole unit.

    >>> spelled(5_400_000_000), spelled(1_500)
    ('90m', '1500us')
    """
    for unit in ("d", "h", "m", "s", "ms"):
        whole = round(SECONDS[unit] * 1_000_000)
        if duration and duration % whole == 0:
            return f"{duration // whole}{unit}"
    return f"{duration}us" if duration else "0"


Duration = Annotated[
    int, pydantic.PlainValidator(microseconds), pydantic.PlainSerializer(spelled, return_type=str, when_used="json")
]


class EventWindows(Config):
    """How a stream is cut, and what becomes of records that come early, late, or twice.

    Durations are written ``30s``, ``10m``, ``1h30m``, ``2d``, or as seconds; here they are microseconds.

    - ``tumbling``: [k·size, (k+1)·size) since 1970-01-01T00:00Z, so that 1 d is a day of UTC.
    - ``sliding``: [k·slide, k·slide + size); a record is in every window that covers it.
    - ``session``: the records of a key, each less than ``gap`` after the one before; [first, last + gap).
    - ``count``: ``rows`` records in the order of event time; [first, last], the last window of all may hold fewer.

    Attributes:
        kind: which of them.
        size: width of a window.
        slide: from the start of a window to the start of the next.
        gap: silence that ends a session.
        rows: records in a window.
        disorder: how much earlier than the latest record one may come and still be in time: windows wait that long.
        lateness: how long after its window has closed a record is still kept, as a correction of the window.
        ahead: how much later than the latest record one may be; a later one is taken for a clock that jumped.
        votes: so many records in a row that are ahead show that the stream itself has moved on.
        duplicates: what makes a record a duplicate: the same ``id``, the same ``content`` (all but the id), or both.
    """

    kind: Literal["tumbling", "sliding", "session", "count"] = "tumbling"
    size: Duration = microseconds("1h")
    slide: Duration = microseconds("10m")
    gap: Duration = microseconds("30m")
    rows: int = pydantic.Field(10_000, ge=1)
    disorder: Duration = 0
    lateness: Duration = microseconds("1h")
    ahead: Duration = microseconds("30d")
    votes: int = pydantic.Field(100, ge=1)
    duplicates: tuple[Literal["id", "content"], ...] = ()

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> Self:
        for name in ("size", "slide", "gap", "ahead"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be longer than nothing")
        for name in ("disorder", "lateness"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("size", "slide", "gap", "disorder", "lateness", "ahead"):
            if getattr(self, name) > microseconds("36525d"):
                raise ValueError(f"{name} must be at most a hundred years (36525d)")
        if self.kind == "sliding" and self.slide > self.size:
            raise ValueError("slide must not be longer than size, or records between windows would be lost")
        if self.kind == "sliding" and self.size > MOST_OVERLAPPING * self.slide:
            raise ValueError(f"size must be at most {MOST_OVERLAPPING} times slide: every record is in so many windows")
        return self


@dataclass(frozen=True)
class Closed:
    """A window that has closed.

    Attributes:
        start: microseconds since 1970.
        end: not part of the window, except by count.
        batch: its rows in the order of event time; ties in the order of their hash.
        key: whose session it is; None for other windows.
        number: of a window by count, which may share its bounds with the next; else 0.
    """

    start: int
    end: int
    batch: pa.RecordBatch
    key: str | None = None
    number: int = 0

    @property
    def place(self) -> tuple[int, int, str, int]:
        """Orders the windows of a stream, and tells them apart."""
        return self.end, self.start, self.key or "", self.number


@dataclass(frozen=True)
class Corrections:
    """Records that came after their window had closed.

    Attributes:
        batch: n rows.
        starts: (n,) of their windows.
        ends: (n,)
    """

    batch: pa.RecordBatch
    starts: Times
    ends: Times


class Windows(Protocol):
    """The open windows of a stream. All decisions are by record: how records are batched changes nothing.

    Attributes:
        due: places in windows and corrections that records have got so far.
    """

    due: int

    def last_end(self, times: Times) -> Times:
        """(n,) the watermark that closes the last window which a record of each time alone could be in."""

    def add(self, batch: pa.RecordBatch, rows: Rows, times: Times, watermarks: Times) -> None:
        """Take accepted records in the order of arrival.

        Args:
            batch: holds them, and perhaps others.
            rows: (n,) where.
            times: (n,) of their events.
            watermarks: (n,) when each came, non-decreasing.
        """

    def close(self, watermark: int, now: bool) -> list[Closed]:
        """Windows that the watermark has reached. Without ``now`` some may wait for a later call."""

    def corrections(self) -> list[Corrections]:
        """Corrections since the last call, of windows that have closed."""

    def rows(self) -> int:
        """Records in memory."""

    def waiting(self) -> int:
        """Places in windows that are not closed yet, and corrections not yet given out."""

    def state(self) -> tuple[dict[str, Any], dict[str, pa.RecordBatch]]:
        """Everything, to be restored exactly."""

    def restore(self, values: dict[str, Any], batches: dict[str, pa.RecordBatch]) -> None:
        """The opposite."""


def in_order(batch: pa.RecordBatch, timestamp: str) -> pa.RecordBatch:
    """Rows by event time, ties by the hash of the row: an order that does not depend on that of arrival."""
    times = times_of(batch, timestamp)
    steps = np.diff(times)
    if len(steps) == 0 or steps.min() > 0:
        return batch
    order = np.arange(len(times)) if steps.min() >= 0 else np.argsort(times, kind="stable")
    tied = np.diff(times[order]) == 0
    if tied.any():
        slots = np.flatnonzero(np.concatenate([[False], tied]) | np.concatenate([tied, [False]]))
        rows = order[slots]
        order[slots] = rows[np.lexsort((hash_rows(batch.take(pa.array(rows))), times[rows]))]
    return batch.take(pa.array(order))


def times_of(batch: pa.RecordBatch, timestamp: str) -> Times:
    """(n,) event times of normalised records, a view."""
    return np.asarray(batch.column(timestamp).view(pa.int64()))


def compact(part: pa.RecordBatch, whole: int) -> pa.RecordBatch:
    """A slice that keeps no much larger batch of ``whole`` rows in memory: copied if it is less than half of it."""
    return part if 2 * part.num_rows >= whole else part.take(pa.array(np.arange(part.num_rows)))


def chosen(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
    """Some rows, given in any order: the batch itself where they are all of it in its own."""
    if len(rows) == batch.num_rows and (len(rows) == 0 or (rows[0] == 0 and bool((np.diff(rows) == 1).all()))):
        return batch
    return batch.take(pa.array(rows))


def joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Batches as one."""
    return pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], schema=schema)
