"""The table that describes a stream of receipts."""

from typing import Any

import pandas as pd

DAY_SECONDS = 86_400


def data_table(receipts: pd.DataFrame, products: int | None) -> dict[str, Any]:
    """Customers, products, receipts, items, and how they are spread over the days.

    Args:
        receipts: customer_id, quantity, amount, timestamp.
        products: number of different products; None where the source has none.

    Returns:
        plain values. Days are calendar days from the first receipt's to the last's, both included. Days between
        receipts are between successive receipts of one customer, fractions included; null if nobody came twice.
    """
    days = receipts["timestamp"].dt.floor("D")
    by_day = days.value_counts()
    length = int((days.max() - days.min()).days) + 1
    ordered = receipts.sort_values(["customer_id", "timestamp"], kind="stable")
    gaps = ordered.groupby("customer_id", sort=False)["timestamp"].diff().dropna().dt.total_seconds() / DAY_SECONDS
    return {
        "customers": int(receipts["customer_id"].nunique()),
        "customers_with_one_receipt": int((receipts["customer_id"].value_counts() == 1).sum()),
        "products": products,
        "receipts": len(receipts),
        "items": float(receipts["quantity"].sum()),
        "amount": float(receipts["amount"].sum()),
        "first_day": str(days.min().date()),
        "last_day": str(days.max().date()),
        "days": length,
        "days_without_receipts": length - len(by_day),
        "receipts_a_day": {"mean": len(receipts) / length, "max": int(by_day.max())},
        "items_a_receipt": _spread(receipts["quantity"]),
        "amount_a_receipt": _spread(receipts["amount"]),
        "days_between_receipts": _spread(gaps) if len(gaps) else None,
    }


def _spread(values: "pd.Series[float]") -> dict[str, float]:
    return {"mean": float(values.mean()), "median": float(values.median())}
