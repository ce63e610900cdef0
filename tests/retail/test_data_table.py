import pandas as pd
import pytest

from evergreen.retail.data_table import data_table


def receipts(rows):
    frame = pd.DataFrame(rows, columns=["customer_id", "quantity", "amount", "timestamp"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"]))


def test_the_table_by_hand():
    table = data_table(
        receipts(
            [
                ("a", 1, 10.0, "2020-01-01 12:00"),
                ("a", 3, 20.0, "2020-01-03 00:00"),
                ("b", 2, 30.0, "2020-01-03 09:00"),
                ("a", 6, 60.0, "2020-01-07 00:00"),
            ]
        ),
        products=7,
    )
    assert table == {
        "customers": 2,
        "customers_with_one_receipt": 1,
        "products": 7,
        "receipts": 4,
        "items": 12,
        "amount": 120,
        "first_day": "2020-01-01",
        "last_day": "2020-01-07",
        "days": 7,
        "days_without_receipts": 4,
        "receipts_a_day": {"mean": pytest.approx(4 / 7), "max": 2},
        "items_a_receipt": {"mean": 3, "median": 2.5},
        "amount_a_receipt": {"mean": 30, "median": 25},
        "days_between_receipts": {"mean": 2.75, "median": 2.75},
    }


def test_nobody_came_twice():
    table = data_table(receipts([("a", 1, 1.0, "2020-01-01"), ("b", 1, 1.0, "2020-01-01")]), products=None)
    assert table["days_between_receipts"] is None
    assert table["products"] is None
    assert (table["days"], table["days_without_receipts"]) == (1, 0)
