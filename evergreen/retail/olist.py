"""The Brazilian e-commerce data set of Olist in the files as published."""

from pathlib import Path

import pandas as pd

from evergreen.errors import BadInputError
from evergreen.retail.delimited import read_delimited
from evergreen.retail.raw_lines import RawLines

ORDERS = "olist_orders_dataset.csv"
ITEMS = "olist_order_items_dataset.csv"
CUSTOMERS = "olist_customers_dataset.csv"
FILES = (ORDERS, ITEMS, CUSTOMERS)
"""The files that are read. The payments hold the price and the freight together and are not needed."""

KNOWN = {
    "receipt_id": "order_id",
    "customer_id": "customer_unique_id",
    "amount": "price",
    "timestamp": "order_purchase_timestamp",
    "product_id": "product_id",
    "status": "order_status",
}
COLUMNS = {
    ORDERS: ("order_id", "customer_id", "order_status", "order_purchase_timestamp"),
    ITEMS: ("order_id", "product_id", "price"),
    CUSTOMERS: ("customer_id", "customer_unique_id"),
}


def read_olist(folder: Path) -> RawLines:
    """Join orders, items and customers: a line an item in the order of the items file, then the orders without items.

    An order's ``customer_id`` is new with each order; the person is ``customer_unique_id``. The amount is the price
    without freight. Orders without items (cancelled, or never delivered) have no amount.

    Raises:
        BadInputError: a file or a column is missing.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BadInputError(
            f"{folder} is a folder without {', '.join(missing)}. Expected a file of receipts or the folder with "
            f"Olist's files {', '.join(FILES)}."
        )
    orders, items, customers = (_columns(folder / name, COLUMNS[name]) for name in FILES)
    orders = orders.merge(customers.drop_duplicates("customer_id"), on="customer_id", how="left")
    orders = orders.drop(columns="customer_id")
    lines = items.merge(orders.drop_duplicates("order_id"), on="order_id", how="left")
    without = orders[~orders["order_id"].isin(items["order_id"])]
    return RawLines(pd.concat([lines, without], ignore_index=True), known=KNOWN)


def _columns(path: Path, names: tuple[str, ...]) -> pd.DataFrame:
    raw = read_delimited(path)
    absent = [name for name in names if name not in raw.frame]
    if absent or raw.unsplit:
        what = f"lacks the columns {', '.join(absent)}" if absent else f"has {len(raw.unsplit)} lines of another shape"
        raise BadInputError(f"{path} {what}. Expected the file as Olist published it.")
    return raw.frame[list(names)]
