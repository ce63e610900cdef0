"""What is expected of receipt lines, and of the receipts that come out."""

import math
from datetime import datetime

from evergreen.retail.ingest_config import LimitsConfig
from evergreen.stream.suites import Check

RETURN, CANCELLED, ANONYMOUS = "return", "cancelled order", "customer missing"
SET_ASIDE = (RETURN, CANCELLED, ANONYMOUS)
"""Reasons to leave out a line that is not broken: it says something else than that a customer bought."""

UNUSABLE = (
    "columns that do not fit",
    "receipt number missing",
    "date missing",
    "unreadable date",
    "ambiguous date",
    "amount missing",
    "amount is no number",
    "ambiguous amount",
    "mixed currencies",
    "quantity is no number",
    ANONYMOUS,
)
"""Reasons that leave nothing to go on with, whatever the mode."""

SWAPPED = "day and month swapped"
ADVISORY = (SWAPPED,)
"""Checks of the data set that are reported and do not stop: only the user knows whether to repair."""

FAULT_COLUMNS = (
    ("columns that do not fit", "unsplit"),
    ("unreadable date", "date_unreadable"),
    ("ambiguous date", "date_ambiguous"),
    ("amount is no number", "amount_unreadable"),
    ("ambiguous amount", "amount_ambiguous"),
    ("mixed currencies", "amount_currency"),
    ("quantity is no number", "quantity_unreadable"),
    ("date far from all others", "far_date"),
    ("receipt of several customers", "several_customers"),
    ("receipt on several days", "several_times"),
    ("duplicate receipt", "duplicate_of"),
)
LINE_COLUMNS = (
    "receipt_id",
    "customer_id",
    "quantity",
    "amount",
    "timestamp",
    "date_given",
    "amount_given",
    *(column for _, column in FAULT_COLUMNS),
    "returned",
    "cancelled",
)


def line_suite(limits: LimitsConfig, absurd_above: float) -> list[Check]:
    """Of the frame with one row a line (:data:`LINE_COLUMNS`); the first check that refuses a line gives the reason.

    Args:
        limits: of validation.
        absurd_above: the largest amount that is not absurd.
    """
    import great_expectations.expectations as gxe

    share = 1 - limits.max_quarantined_fraction
    faults = {
        name: Check(name, "row", gxe.ExpectColumnValuesToBeNull(column=column, mostly=share))
        for name, column in FAULT_COLUMNS
    }

    def given(name: str, column: str, mostly: float = share) -> Check:
        return Check(name, "row", gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=mostly))

    def set_aside(name: str, column: str) -> Check:
        return Check(name, "row", gxe.ExpectColumnValuesToBeNull(column=column, mostly=0))

    def at_most(name: str, column: str, value: float | datetime) -> Check:
        return Check(name, "row", gxe.ExpectColumnValuesToBeBetween(column=column, max_value=value, mostly=share))

    return [
        Check("columns", "dataset", gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(LINE_COLUMNS))),
        Check("no receipts", "dataset", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        faults.pop("columns that do not fit"),
        set_aside(CANCELLED, "cancelled"),
        given("date missing", "date_given"),
        given("amount missing", "amount_given"),
        *faults.values(),
        *([at_most("future date", "timestamp", limits.now)] if limits.now else []),
        *([at_most("absurd amount", "amount", absurd_above)] if math.isfinite(absurd_above) else []),
        set_aside(RETURN, "returned"),
        given(ANONYMOUS, "customer_id", 1 - limits.max_anonymous_fraction),
        given("receipt number missing", "receipt_id"),
    ]


def receipts_suite() -> list[Check]:
    """Of the frame with one row, the facts of the receipts that came out."""
    import great_expectations.expectations as gxe

    swapped = gxe.ExpectColumnValuesToBeInSet(column="swapped", value_set=[False])
    return [
        Check("only one customer", "dataset", gxe.ExpectColumnMinToBeBetween(column="customers", min_value=2)),
        Check("all receipts on one day", "dataset", gxe.ExpectColumnMinToBeBetween(column="days", min_value=2)),
        Check(SWAPPED, "dataset", swapped),
    ]
