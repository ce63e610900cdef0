"""Receipt lines as they are understood: identifiers, numbers and times, and what could not be understood."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.retail import amounts
from evergreen.retail.dates import Times, parse_dates
from evergreen.retail.identifiers import as_text
from evergreen.retail.ingest_config import SourceConfig
from evergreen.retail.raw_lines import RawLines
from evergreen.retail.receipt_order import OrderCheck, check_order, receipt_numbers, settle, swap_day_and_month

CANCELLED = ("canceled", "cancelled")
NUMBER_FAULTS = {
    amounts.NOT_A_NUMBER: "amount_unreadable",
    amounts.AMBIGUOUS: "amount_ambiguous",
    amounts.MIXED_CURRENCIES: "amount_currency",
}


@dataclass(frozen=True)
class Lines:
    """What the lines of a source say.

    Attributes:
        frame: one row a line, index 0 to N - 1: receipt_id, customer_id, product_id (null where there is none),
            quantity, amount (NaN), timestamp (NaT) and, null where all is well, what is wrong as text: unsplit,
            date_unreadable, date_ambiguous, the values of :data:`NUMBER_FAULTS`, quantity_unreadable, returned,
            cancelled; ``date_given`` and ``amount_given`` are null where the source has nothing there.
        has_ids: whether the source has receipt numbers; if not, they are made here.
        has_products: whether it has products, so that a receipt may have several lines.
        order: of receipt numbers against dates, before any repair.
        swapped_back: dates that were repaired.
        formats: number of dates in each format.
        currencies: found beside the amounts.
    """

    frame: pd.DataFrame
    has_ids: bool
    has_products: bool
    order: OrderCheck
    swapped_back: int
    formats: dict[str, int]
    currencies: tuple[str, ...]


def understand(raw: RawLines, columns: dict[str, str], config: SourceConfig) -> Lines:
    """Read identifiers, numbers and times.

    Args:
        raw: the lines.
        columns: field → column, of :func:`evergreen.retail.columns.match_columns`.
        config: how to decide between day and month.
    """
    source = {field: _plain(raw.frame[name]) for field, name in columns.items()}
    frame = pd.DataFrame(index=raw.frame.index)
    for name in ("receipt_id", "customer_id", "product_id"):
        frame[name] = as_text(source[name]) if name in source else None
    dates = parse_dates(source["timestamp"], config.date_order)
    numbers = receipt_numbers(frame["receipt_id"]) if "receipt_id" in source else None
    times = settle(dates, numbers)
    order = check_order(numbers, times)
    repaired = swap_day_and_month(times) if config.repair_dates and order.swapped else times
    frame["timestamp"] = repaired
    unread = np.isnat(times)
    frame["date_given"] = source["timestamp"]
    frame["date_unreadable"] = text_where(source["timestamp"], unread & ~dates.missing & ~dates.ambiguous)
    frame["date_ambiguous"] = text_where(source["timestamp"], unread & dates.ambiguous)
    currencies = _numbers(frame, source)
    frame["returned"] = _returned(frame, numbers is not None)
    frame["cancelled"] = _cancelled(source["status"]) if "status" in source else None
    frame["unsplit"] = pd.Series(raw.unsplit, dtype=object).reindex(frame.index)
    if "receipt_id" not in source:
        frame["receipt_id"] = made_ids(frame, "product_id" in source)
    swapped_back = int((repaired != times)[~unread].sum())
    return Lines(frame, "receipt_id" in source, "product_id" in source, order, swapped_back, dates.formats, currencies)


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The values of a column with categories; any other column as it is."""
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _numbers(frame: pd.DataFrame, source: dict[str, "pd.Series[Any]"]) -> tuple[str, ...]:
    """Add quantity and amount, and what is wrong with them; returns the currencies."""
    name = "amount" if "amount" in source else "unit_price"
    money = amounts.parse_numbers(source[name])
    if "quantity" in source:
        quantity = amounts.parse_numbers(source["quantity"])
        missing = np.isnan(quantity.values)
        frame["quantity"] = quantity.values
        frame["quantity_unreadable"] = text_where(source["quantity"], missing)
    else:
        frame["quantity"], frame["quantity_unreadable"] = 1.0, None
    frame["amount"] = money.values if name == "amount" else money.values * frame["quantity"]
    frame["amount_given"] = source[name]
    for problem, column in NUMBER_FAULTS.items():
        frame[column] = text_where(source[name], money.problems == problem)
    return money.currencies


def _returned(frame: pd.DataFrame, numbered: bool) -> NDArray[np.object_]:
    """What makes a line a return: a negative amount or quantity, or the letter C before a number among numbers."""
    reasons = np.full(len(frame), None, dtype=object)
    if numbered:
        codes, receipts = pd.factorize(frame["receipt_id"])
        cancelled = pd.Series(receipts, dtype="str").str.fullmatch(r"[Cc]\d+").to_numpy(bool)
        reasons[np.append(cancelled, False)[codes]] = "receipt number with a C"
    reasons[(frame["quantity"] < 0).to_numpy()] = "negative quantity"
    reasons[(frame["amount"] < 0).to_numpy()] = "negative amount"
    return reasons


def _cancelled(status: "pd.Series[Any]") -> NDArray[np.object_]:
    return text_where(status, status.astype("str").str.lower().isin(CANCELLED).to_numpy(bool))


def made_ids(frame: pd.DataFrame, baskets: bool) -> "pd.Series[str]":
    """Receipt numbers for a source without: customer, time and, for receipts alike in both, their number in order.

    They depend on the receipts alone, not on where they stand in the file.

    Args:
        frame: customer_id and timestamp of each line.
        baskets: lines of one customer at one time, to the second, are one receipt; otherwise each line is one.

    Returns:
        the numbers; null where customer or time is not known.
    """
    time = frame["timestamp"].dt.strftime("%Y%m%dT%H%M%S")
    ids: pd.Series[str] = frame["customer_id"] + "-" + time
    if baskets:
        return ids
    ids += "-" + (ids.groupby(ids, dropna=False).cumcount() + 1).astype("str")
    return ids


def text_where(column: "pd.Series[Any]", where: NDArray[np.bool_]) -> NDArray[np.object_]:
    """The values of a column as text where a condition holds, None elsewhere."""
    texts = np.full(len(column), None, dtype=object)
    texts[where] = [str(value) for value in column[where]]
    return texts


def times_of(frame: pd.DataFrame) -> Times:
    """The timestamps of lines, datetime64[us] (N,)."""
    return frame["timestamp"].to_numpy().astype("datetime64[us]")
