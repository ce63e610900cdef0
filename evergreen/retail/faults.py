"""What is wrong with receipt lines that are understood one by one, but do not fit together."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.retail.lines import Lines, times_of
from evergreen.retail.raw_lines import RawLines

DAY = np.timedelta64(1, "D")

SPREADS, FACTOR = 10.0, 1000.0
"""An amount is absurd beyond this many standard deviations of the logarithms (measured by their quartiles) above the
median, but never below this many times the median amount."""

FAR_SHARE = 0.01
"""At most this share of the lines can be far from all others in time."""


def add_faults(lines: Lines, raw: RawLines) -> pd.DataFrame:
    """The lines' frame with further columns, null where all is well: far_date, several_customers, several_times,
    duplicate_of (the earlier line).
    """
    frame = lines.frame.copy()
    frame["far_date"] = frame["timestamp"].astype("str").where(far_dates(times_of(frame)))
    usable = frame["timestamp"].notna() & frame["amount"].notna() & frame["receipt_id"].notna()
    frame["duplicate_of"] = _duplicates(lines, raw, usable)
    if lines.has_ids:
        fresh = frame[usable & frame["duplicate_of"].isna()]
        groups = fresh.groupby("receipt_id", sort=False)
        several = groups["customer_id"].transform("nunique") > 1
        late = groups["timestamp"].transform("max") - groups["timestamp"].transform("min") > DAY
    else:
        several = late = pd.Series(dtype=bool)
    for name, where in (("several_customers", several), ("several_times", late & ~several)):
        frame[name] = frame["receipt_id"].where(where.reindex(frame.index, fill_value=False))
    return frame


def absurd_above(amounts: NDArray[np.float64]) -> float:
    """The largest amount that is not absurd, judged by the positive amounts themselves; infinite if there are none.

    >>> absurd_above(np.array([1.0, 2.0, 4.0]))
    2000.0
    """
    logs = np.log(amounts[amounts > 0])
    if not len(logs):
        return float("inf")
    low, middle, high = np.quantile(logs, (0.25, 0.5, 0.75))
    spread = (high - low) / 1.349  # what the quartiles of a normal distribution are apart
    return float(np.exp(middle + max(SPREADS * spread, np.log(FACTOR))))


def far_dates(times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Where a few lines at either end are separated from the rest by more time than the rest spans, and by a year.

    A year typed wrong would otherwise add decades without receipts.
    """
    far = np.zeros(len(times), dtype=bool)
    ordered = np.sort(times[~np.isnat(times)])
    few = int(FAR_SHARE * len(ordered))
    if not few:
        return far
    span = max(ordered[-few - 1] - ordered[few], 365 * DAY)
    before, after = np.diff(ordered[: few + 1]), np.diff(ordered[-few - 1 :])
    gaps = np.flatnonzero(before > span)
    if len(gaps):
        far |= times <= ordered[gaps[-1]]
    gaps = np.flatnonzero(after > span)
    if len(gaps):
        far |= times >= ordered[len(ordered) - few + gaps[0]]
    return far


def _duplicates(lines: Lines, raw: RawLines, usable: "pd.Series[bool]") -> NDArray[np.object_]:
    """The earlier line of which a line is a copy, as text.

    A copy has the same receipt number and the same values in every column of the source. Without products, that is
    enough. With products, a basket may hold the same line twice: then a copy is a line of a receipt that appears anew,
    on another sheet or after lines of other receipts. Receipts without numbers cannot be told from copies.
    """
    result = np.full(len(lines.frame), None, dtype=object)
    if not lines.has_ids or not len(result):
        return result
    values = pd.DataFrame({name: pd.factorize(raw.frame[name])[0] for name in raw.frame.columns})
    values = values[usable.to_numpy()]
    content = values.groupby(list(values.columns), sort=False, dropna=False).ngroup().to_numpy()
    positions = values.index.to_numpy()
    first_of = pd.Series(positions).groupby(content).transform("first").to_numpy()
    again = first_of != positions
    if lines.has_products:
        appearance = _appearances(lines.frame["receipt_id"], raw.parts)
        again &= appearance[first_of] != appearance[positions]
    result[positions[again]] = [f"line {line}" for line in first_of[again]]
    return result


def _appearances(receipt_id: "pd.Series[str]", parts: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Number of the run of lines with the same receipt number that a line is in; a new sheet begins a new run."""
    codes = pd.factorize(receipt_id)[0]
    new = np.r_[True, codes[1:] != codes[:-1]]
    if parts is not None:
        new[1:] |= parts[1:] != parts[:-1]
    return np.cumsum(new)
