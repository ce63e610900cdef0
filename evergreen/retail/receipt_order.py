"""The order of receipt numbers against the order of dates: what tells day from month."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.retail.dates import Dates, Times

NUMBERED = 0.9
"""The numbers say something about order where at least this share of the receipts has one, after a letter or not."""

RUNS_FORWARD = 0.01
"""Lines are in the order of time if at most this share of them is earlier than the line before."""

DAY = np.timedelta64(1, "D")
FIRST, LAST = pd.Timestamp("0001-01-01"), pd.Timestamp("9999-12-30")


@dataclass(frozen=True)
class OrderCheck:
    """What the order of receipt numbers says of the dates.

    Attributes:
        possible: whether receipts are numbered at all; all else is 0 or False if not.
        inversions: neighbours in the order of numbers of which the later one has the earlier time.
        inversions_if_swapped: the same after swapping day and month of every date whose day is at most 12.
        swapped: whether day and month are swapped in the source: swapping back removes most inversions.
    """

    possible: bool
    inversions: int
    inversions_if_swapped: int
    swapped: bool


def receipt_numbers(receipt_id: "pd.Series[str]") -> NDArray[np.float64] | None:
    """The numbers of receipts, NaN where one is no number; None if too few are numbers to speak of an order.

    A number after a letter (C489449, a cancelled invoice) belongs to the numbering, but tells no order here.
    """
    codes, receipts = pd.factorize(receipt_id)
    texts = pd.Series(receipts, dtype="str")
    digits = texts.str.fullmatch(r"\d{1,15}").to_numpy(bool)
    letters = texts.str.fullmatch(r"[A-Za-z]\d{1,15}").to_numpy(bool)
    if digits.sum() <= letters.sum() or (digits | letters).sum() < NUMBERED * len(texts):
        return None
    numbers = np.full(len(texts) + 1, np.nan)  # the last one stands for a missing receipt, whose code is -1
    numbers[:-1][digits] = texts[digits].astype("int64")
    return numbers[codes]


def count_inversions(numbers: NDArray[np.float64], times: Times) -> int:
    """Neighbours in the order of receipt numbers of which the later one has the earlier time.

    A number that occurs several times, on the lines of a basket, counts with its first line.

    >>> count_inversions(np.array([3.0, 1, 2]), np.array(["2009-12-03", "2009-12-02", "2009-12-01"], "M8[D]"))
    1
    """
    known = np.flatnonzero(~np.isnan(numbers) & ~np.isnat(times))
    _, first = np.unique(numbers[known], return_index=True)
    ordered = times[known[first]]
    return int((ordered[1:] < ordered[:-1]).sum())


def swap_day_and_month(times: Times) -> Times:
    """Every date whose day is at most 12 with day and month swapped; the others as they are.

    >>> swap_day_and_month(np.array(["2009-01-12T07:45", "2009-01-13T07:45"], "M8[us]")).astype("M8[m]")
    array(['2009-12-01T07:45', '2009-01-13T07:45'], dtype='datetime64[m]')
    """
    months, days = times.astype("datetime64[M]"), times.astype("datetime64[D]")
    years = times.astype("datetime64[Y]")
    month = (months - years.astype("datetime64[M]")).astype(np.int64)
    day = (days - months.astype("datetime64[D]")).astype(np.int64)  # from 0
    swapped_month = years.astype("datetime64[M]") + np.where(np.isnat(times), 0, day)
    swapped = swapped_month.astype("datetime64[D]") + np.where(np.isnat(times), 0, month)
    result: Times = np.where(day < 12, swapped.astype("datetime64[us]") + (times - days), times)
    return result


def check_order(numbers: NDArray[np.float64] | None, times: Times) -> OrderCheck:
    """Count inversions as the dates are and with day and month swapped."""
    if numbers is None:
        return OrderCheck(False, 0, 0, False)
    now, then = count_inversions(numbers, times), count_inversions(numbers, swap_day_and_month(times))
    return OrderCheck(True, now, then, now - then > 2 and 2 * then < now)


def settle(dates: Dates, numbers: NDArray[np.float64] | None) -> Times:
    """The dates with every ambiguous one decided that the order of receipts decides.

    If all dates of the column with the year last are ambiguous, the order (day or month first) with fewer inversions
    holds for all. Otherwise a reading must lie between the times of the nearest receipts whose dates are certain, give
    or take a day; where both or neither do, the date stays open.

    Args:
        dates: as they are read.
        numbers: of the receipts; None if they have none. Then the order of the lines stands in, but only if it is an
            order of time.
    """
    if not dates.ambiguous.any():
        return dates.values
    if {"day first", "month first"}.isdisjoint(dates.formats):
        readings = [np.where(dates.ambiguous, each, dates.values) for each in (dates.day_first, dates.month_first)]
        best = _forward(readings) if numbers is None else _better(readings, numbers)
        return dates.values if best is None else best
    order = _line_order(dates.values) if numbers is None else numbers
    if order is None:
        return dates.values
    earlier, later = _neighbours(order, dates.values)
    fits = [
        ~np.isnan(order) & (earlier - DAY <= reading) & (reading <= later + DAY)
        for reading in (dates.day_first, dates.month_first)
    ]
    values = np.where(fits[0] & ~fits[1], dates.day_first, dates.values)
    settled: Times = np.where(fits[1] & ~fits[0], dates.month_first, values)
    return settled


def _better(readings: list[Times], numbers: NDArray[np.float64]) -> Times | None:
    """The reading with fewer inversions; None in a draw."""
    first, second = (count_inversions(numbers, reading) for reading in readings)
    return None if first == second else readings[int(second < first)]


def _forward(readings: list[Times]) -> Times | None:
    """The one reading in which the lines are in the order of time; None if none or both are."""
    forward = [reading for reading in readings if _line_order(reading) is not None]
    return forward[0] if len(forward) == 1 else None


def _line_order(times: Times) -> NDArray[np.float64] | None:
    """The lines numbered, if they are in the order of time."""
    lines = np.arange(len(times), dtype=np.float64)
    known = int((~np.isnat(times)).sum())
    return lines if known > 1 and count_inversions(lines, times) <= RUNS_FORWARD * known else None


def _neighbours(numbers: NDArray[np.float64], times: Times) -> tuple[Times, Times]:
    """For every line the time of the nearest receipt with a known date, not after and not before it in number."""
    order = np.lexsort((np.arange(len(numbers)), numbers))
    ordered = pd.Series(np.where(np.isnan(numbers), np.datetime64("NaT"), times)[order])
    earlier, later = np.empty_like(times), np.empty_like(times)
    earlier[order] = ordered.ffill().fillna(FIRST).to_numpy().astype("datetime64[us]")
    later[order] = ordered.bfill().fillna(LAST).to_numpy().astype("datetime64[us]")
    return earlier, later
