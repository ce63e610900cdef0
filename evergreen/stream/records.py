"""Records of a stream: which columns name them, and event times made comparable."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import field_validator

from evergreen.config import Config
from evergreen.errors import BadInputError

Times = NDArray[np.int64]
Flags = NDArray[np.bool_]
INSTANT = pa.timestamp("us", "UTC")
EARLIEST = -62_135_596_800_000_000  # 0001-01-01T00:00Z in microseconds
LATEST = 253_402_300_799_999_999  # the last microsecond of the year 9999
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Reason(IntEnum):
    """Why a record is set aside; ACCEPTED is the one that is not."""

    ACCEPTED = 0
    MALFORMED = 1  # the source could not make a row of it
    NO_TIME = 2  # no event time, or none between the years 1 and 9999
    NO_ID = 3
    NO_KEY = 4
    AHEAD_OF_TIME = 5  # the clock that stamped it jumped
    TOO_LATE = 6  # its windows have been closed for longer than the allowed lateness
    DUPLICATE_ID = 7
    DUPLICATE_CONTENT = 8


Codes = NDArray[np.uint8]


class Columns(Config):
    """Which columns say what a record is.

    Attributes:
        timestamp: the event time: a timestamp, an ISO 8601 text, or a number of ``unit`` since 1970 in UTC.
        id: tells records apart; None if nothing does.
        key: what records are about: sessions are per key, and partitions share out keys. None if there is none.
        timezone: of timestamps that name none, e.g. ``Europe/Rome``. Where clocks go back, the earlier of the two
            moments is meant; a time that clocks skipped is no time.
        unit: of timestamps that are numbers.
    """

    timestamp: str = "timestamp"
    id: str | None = None
    key: str | None = None
    timezone: str = "UTC"
    unit: Literal["s", "ms", "us", "ns"] = "ms"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no such time zone; expected a name like UTC or Europe/Rome") from error
        return name

    def check(self, schema: pa.Schema) -> None:
        """Check that a stream has the columns, and a timestamp that can be one.

        Raises:
            BadInputError: it has not.
        """
        for role in ("timestamp", "id", "key"):
            name = getattr(self, role)
            if name is not None and name not in schema.names:
                raise BadInputError(
                    f"The stream has no column {name!r} for the {role}. It has: {', '.join(schema.names)}. "
                    f"Name the right one with --{role}."
                )
        kind = schema.field(self.timestamp).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not (
            _is_text(kind) or pa.types.is_date(kind) or pa.types.is_null(kind)
        ):
            raise BadInputError(
                f"Column {self.timestamp!r} holds {kind}; expected timestamps, ISO 8601 texts, or numbers of "
                f"{self.unit} since 1970."
            )

    def normal_schema(self, schema: pa.Schema) -> pa.Schema:
        """The stream's schema with the event time in microseconds of UTC: what windows hold."""
        position = schema.get_field_index(self.timestamp)
        return schema.set(position, pa.field(self.timestamp, INSTANT)).remove_metadata()


@dataclass(frozen=True)
class Normal:
    """Records with comparable times.

    Attributes:
        batch: n rows, schema as of :meth:`Columns.normal_schema`.
        times: (n,) event times, microseconds since 1970; 0 where there is none.
        codes: (n,) a :class:`Reason` each.
    """

    batch: pa.RecordBatch
    times: Times
    codes: Codes


def normalise(batch: pa.RecordBatch, raw: pa.Array | None, columns: Columns) -> Normal:
    """Bring event times to UTC and find the records that lack what a record needs.

    Args:
        batch: n rows as the source gave them.
        raw: (n,) text of the rows that the source could not read, null elsewhere; None if it could read all.
        columns: which column is what.
    """
    codes = np.zeros(batch.num_rows, dtype=np.uint8)
    position = batch.schema.get_field_index(columns.timestamp)
    given = batch.column(position)
    instants = given if given.type == INSTANT else to_utc(given, columns)
    numbers = instants.view(pa.int64())
    times = np.asarray(pc.fill_null(numbers, 0) if numbers.null_count else numbers)
    wrong = np.asarray(instants.is_null()) if instants.null_count else np.zeros(len(times), dtype=bool)
    if len(times) and (times.min() < EARLIEST or times.max() > LATEST):
        outside = (times < EARLIEST) | (times > LATEST)
        times = np.where(outside, 0, times)
        wrong |= outside
    for name, reason in ((columns.key, Reason.NO_KEY), (columns.id, Reason.NO_ID)):
        if name is not None and (column := batch.column(name)).null_count:
            codes[np.asarray(column.is_null())] = reason
    codes[wrong] = Reason.NO_TIME
    if raw is not None:
        codes[np.asarray(raw.is_valid())] = Reason.MALFORMED
    arrays = [instants if number == position else column for number, column in enumerate(batch.columns)]
    return Normal(pa.record_batch(arrays, schema=columns.normal_schema(batch.schema)), times, codes)


def to_utc(given: pa.Array, columns: Columns) -> pa.Array:
    """Event times as timestamp[us, UTC]; null where there is none. Finer times are cut to the microsecond."""
    kind = given.type
    if pa.types.is_null(kind):
        return pa.nulls(len(given), INSTANT)
    if pa.types.is_timestamp(kind):
        if kind.unit == "ns":  # floor, before 1970 too: a cast would go towards zero
            whole = np.asarray(pc.fill_null(given.cast(pa.int64()), 0)) // 1_000
            given = pa.array(whole, mask=np.asarray(given.is_null())).cast(pa.timestamp("us", kind.tz))
        exact = _cast_or_null(given, pa.timestamp("us", kind.tz))
        return exact.cast(INSTANT) if kind.tz else _localise(exact, columns.timezone)
    if pa.types.is_date(kind):
        return _localise(given.cast(pa.timestamp("us")), columns.timezone)
    if _is_text(kind):
        return _parse(given, columns.timezone)
    return _from_numbers(given, columns.unit)


def _from_numbers(given: pa.Array, unit: str) -> pa.Array:
    numbers = np.asarray(pc.fill_null(given, 0))
    missing = np.asarray(given.is_null())
    factor = 1_000_000 / PER_SECOND[unit]
    span = numbers.astype(np.float64) * factor
    bad = missing | ~np.isfinite(span) | (np.abs(span) > float(LATEST))
    safe = np.where(bad, 0, numbers)
    if np.issubdtype(safe.dtype, np.integer):
        whole = safe.astype(np.int64)
        micros = whole * int(factor) if factor >= 1 else whole // int(1 / factor)
    else:
        micros = np.floor(safe * factor).astype(np.int64)
    return pa.array(micros, mask=bad).cast(INSTANT)


def _parse(given: pa.Array, timezone: str) -> pa.Array:
    """ISO 8601 texts: with an offset or Z as they say, without in ``timezone``."""
    text = pc.utf8_trim_whitespace(given.cast(pa.large_string()).cast(pa.string()))
    zoned = pc.fill_null(pc.match_substring_regex(text, r"(?i)[T ]\d.*(Z|[+-]\d\d:?(\d\d)?)$"), False)
    with_zone = _cast_or_null(pc.if_else(zoned, text, None), INSTANT)
    without = _cast_or_null(pc.if_else(zoned, None, text), pa.timestamp("us"))
    return pc.coalesce(with_zone, _localise(without, timezone))


def _localise(naive: pa.Array, timezone: str) -> pa.Array:
    if timezone == "UTC":
        return pc.assume_timezone(naive, "UTC")
    moments = pc.assume_timezone(naive, timezone, ambiguous="earliest", nonexistent="earliest").cast(INSTANT)
    back = pc.local_timestamp(moments.cast(pa.timestamp("us", timezone)))
    return pc.if_else(pc.equal(back, naive), moments, None)  # a skipped time does not come back as itself


def _cast_or_null(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast; values that cannot be cast become null. One bad value costs a walk over the batch."""
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.concat_arrays([_one(values[row : row + 1], kind) for row in range(len(values))])


def _one(value: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return value.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(1, kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def schema_text(schema: pa.Schema) -> list[list[str]]:
    """A schema as JSON can hold it, to compare and to show: [name, type] each."""
    return [[field.name, str(field.type)] for field in schema]


def python_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as plain dictionaries, for small batches."""
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows
