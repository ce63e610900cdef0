"""An event log as it is read: batches of events, collected as columns of numbers.

An event takes 29 bytes, and the names of cases, activities and resources are kept once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.process.stream import MAX_CODES, Codes, Rows, Times
from evergreen.stream.records import INSTANT, Columns, to_utc
from evergreen.stream.row_hash import Hashes

NO_TIME = np.iinfo(np.int64).min
JOINED_WITH = "-"

EVENT_SCHEMA = pa.schema(
    [
        pa.field("event_index", pa.int64(), nullable=False),
        pa.field("case_id", pa.string(), nullable=False),
        pa.field("activity", pa.string(), nullable=False),
        pa.field("timestamp", INSTANT, nullable=False),
        pa.field("resource", pa.string()),
    ]
)


@dataclass(frozen=True)
class LogBatch:
    """n events as the file gives them, in its order.

    Attributes:
        index: (n,) rows of the file.
        case_id: (n,) text, null where there is none; so are the next ones.
        activity: (n,) text, joined with the lifecycle transition if that was asked for.
        timestamp: (n,) timestamp[us, UTC], null where there is none that can be understood.
        resource: (n,) text.
        given_time: (n,) what stands there as the time, as text.
        raw: (n,) the text of rows that could not be read, null elsewhere; None if all could.
        hashes: (n,) of all that the file says of an event.
    """

    index: Rows
    case_id: pa.Array
    activity: pa.Array
    timestamp: pa.Array
    resource: pa.Array
    given_time: pa.Array
    raw: pa.Array | None
    hashes: Hashes


def make_batch(
    index: Rows, columns: dict[str, pa.Array], hashes: Hashes, timezone: str, raw: pa.Array | None = None
) -> LogBatch:
    """A batch from columns by role, of any type.

    Args:
        index: (n,) rows of the file.
        columns: case_id, activity, timestamp and, if there are any, resource and lifecycle, (n,) each.
        hashes: (n,) of all that the file says of an event.
        timezone: of times that name none.
        raw: (n,) the text of rows that could not be read.
    """
    activity = as_text(columns["activity"])
    if "lifecycle" in columns:
        activity = pc.binary_join_element_wise(
            activity, as_text(columns["lifecycle"]), JOINED_WITH, null_handling="emit_null"
        )
    given = columns["timestamp"]
    return LogBatch(
        index=index,
        case_id=as_text(columns["case_id"]),
        activity=activity,
        timestamp=read_times(given, timezone),
        resource=as_text(columns["resource"]) if "resource" in columns else pa.nulls(len(index), pa.string()),
        given_time=given.cast(pa.string()),
        raw=raw,
        hashes=hashes,
    )


def as_text(column: pa.Array) -> pa.Array:
    """Names as text: blank ones are none, and whole numbers are written without a point."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        whole = pc.fill_null(pc.equal(column, pc.floor(column)), True)
        if pc.all(whole).as_py() is not False:
            column = column.cast(pa.int64(), safe=False)
    text = column.cast(pa.string())
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(text)), 0)
    return pc.if_else(pc.fill_null(blank, True), pa.scalar(None, pa.string()), text)


def read_times(given: pa.Array, timezone: str) -> pa.Array:
    """Times as timestamp[us, UTC], null where there is none.

    Texts are ISO 8601, with slashes for hyphens allowed; digits beyond the microsecond are cut.
    """
    if pa.types.is_string(given.type) or pa.types.is_large_string(given.type):
        given = pc.replace_substring_regex(given, r"^(\s*\d{4})/(\d\d)/", r"\1-\2-")
        given = pc.replace_substring_regex(given, r"(\.\d{6})\d+", r"\1")
    return to_utc(given, Columns(timezone=timezone))


@dataclass(frozen=True)
class EventLog:
    """All N rows of a log in the order of the file.

    Attributes:
        case: (N,) positions in ``cases``, -1 where there is none; so are the next ones.
        activity: (N,) positions in ``activities``.
        resource: (N,) positions in ``resources``.
        time_us: (N,) microseconds since 1970, UTC; :data:`NO_TIME` where there is none.
        hashes: (N,) of all that the file says of an event.
        cases: names.
        activities: names.
        resources: names.
        unread: rows whose time or whole text could not be read: what stands there.
        malformed: (N,) whether the row is none at all.
    """

    case: Codes
    activity: Codes
    resource: Codes
    time_us: Times
    hashes: Hashes
    cases: pa.Array
    activities: pa.Array
    resources: pa.Array
    unread: dict[int, str]
    malformed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.case)

    def names(self, rows: Rows) -> dict[str, pa.Array]:
        """case_id, activity and resource of n rows as text."""
        pairs = {
            "case_id": (self.case, self.cases),
            "activity": (self.activity, self.activities),
            "resource": (self.resource, self.resources),
        }
        return {name: _decode(codes[rows], names) for name, (codes, names) in pairs.items()}

    def table(self, rows: Rows) -> pa.Table:
        """Rows that have all an event needs, as a table of :data:`EVENT_SCHEMA`."""
        names = self.names(rows)
        times = pa.array(self.time_us[rows]).cast(INSTANT)
        columns = [pa.array(rows), names["case_id"], names["activity"], times, names["resource"]]
        return pa.table(columns, schema=EVENT_SCHEMA)


@dataclass
class _Numbering:
    """Names, numbered in the order in which they come."""

    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, column: pa.Array) -> Codes:
        encoded = column.dictionary_encode()
        numbers = self.numbers
        own = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
        if len(numbers) > MAX_CODES:
            raise BadInputError(f"The log has more than {MAX_CODES:,} different names in a column.")
        table = np.array([*own, -1], np.int32)  # null is the last one
        codes: Codes = table[np.asarray(pc.fill_null(encoded.indices, -1))]
        return codes

    def names(self) -> pa.Array:
        return pa.array(list(self.numbers), pa.large_string())


def collect(batches: Iterable[LogBatch]) -> EventLog:
    """Collect a log from its batches, which come in the order of their rows without gaps."""
    numberings = {name: _Numbering() for name in ("case_id", "activity", "resource")}
    parts: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in (*numberings, "index", "time_us", "hashes", "malformed")
    }
    unread: dict[int, str] = {}
    for batch in batches:
        for name, numbering in numberings.items():
            parts[name].append(numbering.add(getattr(batch, name)))
        times = np.asarray(pc.fill_null(batch.timestamp.cast(pa.int64()), NO_TIME))
        malformed = np.zeros(len(times), np.bool_)
        if batch.raw is not None:
            malformed = np.asarray(batch.raw.is_valid())
            unread |= _texts(batch.raw, malformed, batch.index)
        unread |= _texts(batch.given_time, (times == NO_TIME) & ~malformed, batch.index)
        for name, values in (("index", batch.index), ("time_us", times), ("hashes", batch.hashes)):
            parts[name].append(values)
        parts["malformed"].append(malformed)
    joined = {name: _join(arrays) for name, arrays in parts.items()}
    order = joined.pop("index")
    if len(order) and not np.array_equal(order, np.arange(len(order))):
        place = np.argsort(order)
        joined = {name: values[place] for name, values in joined.items()}
    return EventLog(
        case=joined["case_id"].astype(np.int32, copy=False),
        activity=joined["activity"].astype(np.int32, copy=False),
        resource=joined["resource"].astype(np.int32, copy=False),
        time_us=joined["time_us"].astype(np.int64, copy=False),
        hashes=joined["hashes"].astype(np.uint64, copy=False),
        malformed=joined["malformed"].astype(np.bool_, copy=False),
        cases=numberings["case_id"].names(),
        activities=numberings["activity"].names(),
        resources=numberings["resource"].names(),
        unread=unread,
    )


def _join(arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """One array; the parts are let go of, so that memory never holds a column twice for long."""
    joined = np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
    arrays.clear()
    return joined


def _texts(column: pa.Array, where: NDArray[np.bool_], index: Rows) -> dict[int, str]:
    rows = np.flatnonzero(where)
    if not len(rows):
        return {}
    texts = column.take(pa.array(rows)).to_pylist()
    return {int(index[row]): text for row, text in zip(rows, texts, strict=True) if text is not None}


def _decode(codes: Codes, names: pa.Array) -> pa.Array:
    return names.take(pa.array(codes, mask=codes < 0)).cast(pa.string())
