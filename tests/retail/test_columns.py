import pytest

from evergreen.errors import BadInputError
from evergreen.retail.columns import FIELDS, match_columns

CANONICAL = ["receipt_id", "customer_id", "quantity", "amount", "timestamp"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (CANONICAL, {name: name for name in CANONICAL}),
        (
            ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"],
            {
                "receipt_id": "InvoiceNo",
                "customer_id": "CustomerID",
                "quantity": "Quantity",
                "timestamp": "InvoiceDate",
                "product_id": "StockCode",
                "unit_price": "UnitPrice",
            },
        ),
        (["CLIENT ID", "Date", "Total"], {"customer_id": "CLIENT ID", "amount": "Total", "timestamp": "Date"}),
    ],
)
def test_known_spellings_need_no_mapping(columns, expected):
    assert match_columns(columns, {}) == expected


def test_the_users_mapping_comes_first():
    columns = [*CANONICAL, "timestamp_fixed"]
    assert match_columns(columns, {"timestamp": "timestamp_fixed"})["timestamp"] == "timestamp_fixed"


def test_a_mapped_column_is_not_used_twice():
    columns = ["customer", "order_date", "total", "revenue"]
    found = match_columns(columns, {"amount": "revenue", "receipt_id": "total"})
    assert found == {"receipt_id": "total", "customer_id": "customer", "amount": "revenue", "timestamp": "order_date"}


def test_unknown_columns_are_listed_with_the_way_out():
    with pytest.raises(BadInputError) as error:
        match_columns(["kunde", "datum", "betrag"], {})
    text = str(error.value)
    assert all(part in text for part in ("'kunde'", "'datum'", "'betrag'", "customer_id", "--column customer_id=NAME"))


def test_two_candidates_are_a_question():
    with pytest.raises(BadInputError, match=r"'order_date', 'invoice date' could each be the timestamp.*--column"):
        match_columns(["customer", "amount", "order_date", "invoice date"], {})


def test_a_given_name_must_be_there():
    with pytest.raises(BadInputError, match=r"no such column.*'timestamp'"):
        match_columns(CANONICAL, {"timestamp": "when"})


def test_a_given_field_must_exist():
    with pytest.raises(BadInputError, match="maps 'time'.*" + ", ".join(FIELDS)):
        match_columns(CANONICAL, {"time": "timestamp"})
