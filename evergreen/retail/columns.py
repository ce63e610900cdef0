"""Which column of a receipt file is what: names that are known, names that the user gives."""

import re
from collections.abc import Iterable, Mapping, Sequence

from evergreen.errors import BadInputError

SPELLINGS = {
    "receipt_id": "receipt_id receipt receipt_no receipt_number invoice invoice_no invoice_id invoice_number order_id "
    "order_no order_number transaction_id transaction_no basket_id ticket_id sale_id",
    "customer_id": "customer_id customer customer_no customer_number customer_unique_id client_id client user_id "
    "member_id",
    "quantity": "quantity qty units items number_of_items number_of_cds",
    "amount": "amount total total_amount amount_total sale_amount line_amount line_total total_price dollar_value "
    "revenue",
    "timestamp": "timestamp date datetime date_time invoice_date order_date receipt_date purchase_date "
    "transaction_date order_purchase_timestamp",
    "product_id": "product_id product stock_code sku item_id article_id",
    "unit_price": "unit_price price price_per_unit item_price",
    "status": "order_status",
}
"""The fields of a receipt line and the column names that mean them, whatever their case, blanks and underscores."""

FIELDS = tuple(SPELLINGS)
NEEDED = "customer_id, timestamp, and amount or unit_price"


def match_columns(columns: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Find the column of each field.

    Args:
        columns: the names in the source.
        given: field → column as the user maps them; they come before any known spelling.

    Returns:
        field → column, in the order of :data:`FIELDS`, without the fields that the source lacks.

    Raises:
        BadInputError: a given name is not there, a needed field is not found, or two columns could be it. The message
            lists the columns and says how to map one.

    >>> match_columns(["Invoice", "Quantity", "InvoiceDate", "Price", "Customer ID"], {})
    {'receipt_id': 'Invoice', 'customer_id': 'Customer ID', 'quantity': 'Quantity', 'timestamp': 'InvoiceDate', \
'unit_price': 'Price'}
    """
    _check_given(columns, given)
    taken = set(given.values())
    found = dict(given)
    for field, spellings in SPELLINGS.items():
        if field in found:
            continue
        if field in columns and field not in taken:
            found[field] = field
            continue
        known = {_plain(spelling) for spelling in spellings.split()}
        candidates = [name for name in columns if _plain(name) in known and name not in taken]
        if len(candidates) > 1:
            raise BadInputError(
                f"The columns {_listed(candidates)} could each be the {field}. Say which: --column "
                f"{field}={_quoted(candidates[0])}"
            )
        if candidates:
            found[field] = candidates[0]
    missing = [field for field in ("customer_id", "timestamp") if field not in found]
    if "amount" not in found and "unit_price" not in found:
        missing.append("amount")
    if missing:
        raise BadInputError(
            f"No column for {', '.join(missing)} was recognised. Found the columns {_listed(columns)}; needed are "
            f"{NEEDED}. Map each one, e.g. --column {missing[0]}=NAME"
        )
    return {field: found[field] for field in FIELDS if field in found}


def _check_given(columns: Sequence[str], given: Mapping[str, str]) -> None:
    unknown = [field for field in given if field not in FIELDS]
    if unknown:
        raise BadInputError(f"--column maps {_listed(unknown)}, but the fields are {', '.join(FIELDS)}.")
    for field, name in given.items():
        if name not in columns:
            raise BadInputError(f"--column {field}={_quoted(name)}: there is no such column. Found {_listed(columns)}.")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _quoted(name: str) -> str:
    return f'"{name}"' if re.search(r"\s", name) else name
