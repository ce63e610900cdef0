"""What is wrong with receipt lines that are understood one by one, but do not fit together."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.retail.lines import Lines, text_where, times_of
from evergreen.retail.raw_lines import RawLines

DAY = np.timedelta64(1, "D")

SPREADS, FACTOR = 10.0, 1000.0
"""An amount is absurd beyond this many standard deviations of the logarithms (measured by their quartiles) above the
median, but never below this many times the median amount."""

FAR_SHARE, FAR_FROM = 0.01, 20
"""At most this share of the lines, but always one, can be far from all others in time; with fewer lines none is."""


def add_faults(lines: Lines, raw: RawLines) -> pd.DataFrame:
    """The lines' frame with further columns, null where all is well: far_date, several_customers, several_times,
    duplicate_of (the earlier line).
    """
    frame = lines.frame.copy()
    times = times_of(frame)
    frame["far_date"] = text_where(frame["timestamp"], far_dates(times))
    usable = ~np.isnat(times) & (frame["amount"].notna() & frame["receipt_id"].notna()).to_numpy()
    frame["duplicate_of"] = _duplicates(lines, raw, usable)
    several, late = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
    if lines.has_ids:
        fresh = np.flatnonzero(usable & frame["duplicate_of"].isna().to_numpy())
        several[fresh], late[fresh] = _contradictory(frame.iloc[fresh])
    frame["several_customers"] = text_where(frame["receipt_id"], several)
    frame["several_times"] = text_where(frame["receipt_id"], late & ~several)
    return frame


def _contradictory(lines: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the receipt of a line has several customers, and where its lines are more than a day apart."""
    receipts, customers = pd.factorize(lines["receipt_id"])[0], pd.factorize(lines["customer_id"])[0]
    known = pd.Series(customers, dtype="float64").where(customers >= 0).groupby(receipts)  # null: no customer given
    times = pd.Series(times_of(lines)).groupby(receipts)
    several, late = known.max() != known.min(), times.max() - times.min() > DAY
    return (several & known.max().notna()).to_numpy()[receipts], late.to_numpy()[receipts]


def absurd_above(amounts: NDArray[np.float64]) -> float:
    """The largest amount that is not absurd, judged by the positive amounts themselves; infinite if there are none.

    >>> round(absurd_above(np.array([1.0, 2.0, 4.0])))
    2000
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
    if len(ordered) < FAR_FROM:
        return far
    few = max(1, int(FAR_SHARE * len(ordered)))
    span = max(ordered[-few - 1] - ordered[few], 365 * DAY)
    before, after = np.diff(ordered[: few + 1]), np.diff(ordered[-few - 1 :])
    gaps = np.flatnonzero(before > span)
    if len(gaps):
        far |= times <= ordered[gaps[-1]]
    gaps = np.flatnonzero(after > span)
    if len(gaps):
        far |= times >= ordered[len(ordered) - few + gaps[0]]
    return far


def _duplicates(lines: Lines, raw: RawLines, usable: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The earlier line of which a line is a copy, as text.

    A copy has the same receipt number and the same values in every column of the source. Without products, that is
    enough. With products, a basket may hold the same line twice: then a copy is a line of a receipt that appears anew,
    on another sheet or after lines of other receipts. Receipts without numbers cannot be told from copies.
    """
    result = np.full(len(usable), None, dtype=object)
    if not lines.has_ids:
        return result
    receipts = pd.factorize(lines.frame["receipt_id"])[0]
    appearance = _appearances(receipts, raw.parts) if lines.has_products else np.arange(len(receipts))
    again = pd.Series(appearance).groupby(receipts).transform("min").to_numpy() != appearance
    receipts_again = np.unique(receipts[again])
    positions = np.flatnonzero(usable & np.isin(receipts, receipts_again))  # all others appear once
    values = pd.DataFrame({name: _codes(column) for name, column in raw.frame.iloc[positions].items()})
    content = values.groupby(list(values.columns), sort=False).ngroup().to_numpy()
    first = positions[pd.Series(np.arange(len(positions))).groupby(content).transform("min").to_numpy()]
    copies = appearance[first] != appearance[positions]
    result[positions[copies]] = [f"line {line}" for line in first[copies]]
    return result


def _codes(column: "pd.Series[Any]") -> NDArray[np.int64]:
    """A number for each different value, -1 for missing ones; lists and the like are compared by their text."""
    return pd.factorize(column.astype("str") if column.dtype == object else column)[0]


def _appearances(receipts: NDArray[np.int64], parts: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Number of the run of lines with the same receipt that a line is in; a new sheet begins a new run."""
    new = np.ones(len(receipts), dtype=bool)
    new[1:] = receipts[1:] != receipts[:-1]
    if parts is not None:
        new[1:] |= parts[1:] != parts[:-1]
    return np.cumsum(new)
