"""Points in time as receipts spell them, and what 3/4/2011 means."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Times = NDArray[np.datetime64]

TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp])?(?:\.?[Mm]\.?)?)?(?:\s*(?:Z|[+-]\d{2}:?\d{2}|UTC))?$"
)
YEAR_FIRST = r"^(?P<year>\d{4})(?P<gap>[-/.]?)(?P<month>\d{1,2})(?P=gap)(?P<day>\d{1,2})" + TIME
YEAR_LAST = r"^(?P<a>\d{1,2})(?P<gap>[-/.])(?P<b>\d{1,2})(?P=gap)(?P<year>\d{4}|\d{2})" + TIME
MONTH_NAME = r"^(?P<day>\d{1,2})[-/. ](?P<name>[A-Za-z]{3})[a-z]*[-/., ]+(?P<year>\d{4}|\d{2})" + TIME
FAST = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?"
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, 1)}

STRAY = 0.01
"""Below this share of the dates that can be read in one order only, those of the other order are typing errors."""


@dataclass(frozen=True)
class Dates:
    """What a column of dates says.

    Attributes:
        values: datetime64[us] (N,), NaT where the date is missing, not understood or ambiguous.
        day_first: reading of an ambiguous date with the day first, NaT elsewhere.
        month_first: the other reading.
        missing: where there is nothing to read.
        formats: number of dates in each format that was found.
    """

    values: Times
    day_first: Times
    month_first: Times
    missing: NDArray[np.bool_]
    formats: dict[str, int]

    @property
    def ambiguous(self) -> NDArray[np.bool_]:
        return ~np.isnat(self.day_first)


def parse_dates(column: "pd.Series[Any]", order: Literal["dmy", "mdy"] | None = None) -> Dates:
    """Read a column of dates, with or without times of day; an offset from UTC is dropped, the wall clock stays.

    Formats: ISO 8601 and other dates with the year first, 20091201, 1/12/2009 and 1-12-09 (day or month first), 1 Dec
    2009, seconds or milliseconds since 1970. The column as a whole decides between day first and month first: dates
    with a part above twelve are the evidence. With evidence for both, or for none, the dates that could be either stay
    ambiguous; :func:`settle` may know more.

    Args:
        column: of whatever type the source has.
        order: what ambiguous dates mean; None lets the column decide.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        values = column.to_numpy().astype("datetime64[us]")
        return Dates(values, _nat(len(values)), _nat(len(values)), np.isnat(values), {"typed": len(values)})
    codes, unique = pd.factorize(column)  # the work is done once for each different date
    texts = pd.Series([_spelt(value) for value in unique], dtype="str").str.strip()
    weights = np.bincount(codes[codes >= 0], minlength=len(unique))
    found = _parse_texts(texts, weights, order)

    def spread(values: Times) -> Times:
        return np.append(values, np.datetime64("NaT"))[codes]  # code -1 is the last entry: missing

    return Dates(spread(found.values), spread(found.day_first), spread(found.month_first), codes < 0, found.formats)


def _spelt(value: object) -> str:
    """A date of any type as text; numbers without a decimal point are dates like 20091201 or times since 1970."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _parse_texts(texts: "pd.Series[str]", weights: NDArray[np.int64], order: str | None) -> Dates:
    values, formats = _nat(len(texts)), {}
    fast = texts.str.fullmatch(FAST).to_numpy(bool)
    values[fast] = pd.to_datetime(texts[fast], format="ISO8601", errors="coerce").to_numpy().astype("datetime64[us]")
    numbers = texts.str.fullmatch(r"\d{9,10}|\d{12,13}").to_numpy(bool)
    values[numbers] = _since_1970(texts[numbers])
    formats["year first"] = int(weights[fast].sum())
    formats["since 1970"] = int(weights[numbers].sum())

    rest = np.flatnonzero(~fast & ~numbers)
    named = texts.iloc[rest].str.extract(MONTH_NAME)
    parts = texts.iloc[rest].str.extract(YEAR_FIRST)
    for pieces, month in ((parts, parts["month"]), (named, named["name"].str.lower().map(MONTHS))):
        read = _time(pieces, pieces["year"], month, pieces["day"])
        values[rest] = np.where(np.isnat(read), values[rest], read)
        name = "year first" if pieces is parts else "name of the month"
        formats[name] = formats.get(name, 0) + int(weights[rest][~np.isnat(read)].sum())

    parts = texts.iloc[rest].str.extract(YEAR_LAST)
    day_first, month_first = _nat(len(texts)), _nat(len(texts))
    day_first[rest] = _time(parts, parts["year"], parts["b"], parts["a"])
    month_first[rest] = _time(parts, parts["year"], parts["a"], parts["b"])
    order = order or _order_of(day_first, month_first, weights)
    formats |= _decide(values, day_first, month_first, weights, order)
    return Dates(values, day_first, month_first, np.zeros(0, bool), {name: n for name, n in formats.items() if n})


def _order_of(day_first: Times, month_first: Times, weights: NDArray[np.int64]) -> str | None:
    days = int(weights[np.isnat(month_first) & ~np.isnat(day_first)].sum())
    months = int(weights[np.isnat(day_first) & ~np.isnat(month_first)].sum())
    if min(days, months) <= STRAY * (days + months) and days != months:
        return "dmy" if days > months else "mdy"
    return None


def _decide(
    values: Times, day_first: Times, month_first: Times, weights: NDArray[np.int64], order: str | None
) -> dict[str, int]:
    """Write the dates with the year last into ``values``; leave in the readings only what is ambiguous."""
    days, months = ~np.isnat(day_first), ~np.isnat(month_first)
    same = days & months & (day_first == month_first)
    either = days & months & ~same
    only_days = (days & ~months & (order != "mdy")) | (either & (order == "dmy"))
    only_months = (months & ~days & (order != "dmy")) | (either & (order == "mdy"))
    open_ = either & (order is None)
    values[only_days | same] = day_first[only_days | same]
    values[only_months] = month_first[only_months]
    counts = {
        "day first": int(weights[only_days].sum()),
        "month first": int(weights[only_months].sum()),
        "day equal to month": int(weights[same].sum()),
        "day or month first": int(weights[open_].sum()),
    }
    day_first[~open_] = month_first[~open_] = np.datetime64("NaT")
    return counts


def _time(pieces: pd.DataFrame, year: Any, month: Any, day: Any) -> Times:
    """Points in time from columns of texts; NaT where a part is missing or no such day or time exists."""
    y, m, d = (_number(part) for part in (year, month, day))
    y = np.where(y < 69, y + 2000, np.where(y < 100, y + 1900, y))
    hour, minute, second = (_number(pieces[name].fillna("0")) for name in ("hour", "minute", "second"))
    half = pieces["half"].str.lower()
    hour = np.where(half.notna() & (hour == 12), 0, hour) + np.where((half == "p").to_numpy(bool), 12, 0)
    micro = _number(pieces["fraction"].fillna("0").str.slice(0, 6).str.pad(6, side="right", fillchar="0"))
    valid = (y >= 1) & (m >= 1) & (m <= 12) & (d >= 1) & (d <= 31) & (hour < 24) & (minute < 60) & (second < 60)
    whole = [np.where(valid, part, 1).astype(np.int64) for part in (y, m, d, hour, minute, second, micro)]
    months = ((whole[0] - 1970) * 12 + (whole[1] - 1)).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (whole[2] - 1)
    valid &= days.astype("datetime64[M]") == months  # 31 April is a day of May
    micros = ((whole[3] * 60 + whole[4]) * 60 + whole[5]) * 1_000_000 + whole[6]
    times = days.astype("datetime64[us]") + micros.astype("timedelta64[us]")
    return np.where(valid, times, np.datetime64("NaT"))


def _number(part: "pd.Series[Any]") -> NDArray[np.float64]:
    return pd.to_numeric(part, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _since_1970(texts: "pd.Series[str]") -> Times:
    numbers = texts.astype("int64").to_numpy()
    return np.where(numbers < 10**11, numbers * 1_000_000, numbers * 1_000).astype("datetime64[us]")


def _nat(count: int) -> Times:
    return np.full(count, np.datetime64("NaT"), dtype="datetime64[us]")
