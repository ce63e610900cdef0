import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.retail.columns import match_columns
from evergreen.retail.faults import absurd_above, add_faults, far_dates
from evergreen.retail.identifiers import as_text
from evergreen.retail.ingest_config import SourceConfig
from evergreen.retail.lines import understand
from evergreen.retail.raw_lines import RawLines

START = np.datetime64("2020-01-01", "us")
DAY = np.timedelta64(1, "D")


def faults_of(rows, columns="receipt_id customer_id amount timestamp", parts=None):
    frame = pd.DataFrame(rows, columns=columns.split())
    raw = RawLines(frame, parts=parts)
    config = SourceConfig(receipts="here")
    return add_faults(understand(raw, match_columns(list(frame), {}), config), raw)


def where(column):
    return column.notna().tolist()


def test_a_copy_has_the_same_number_and_the_same_content():
    rows = [
        ("1", "a", 5, "2020-01-01"),
        ("2", "a", 5, "2020-01-01"),
        ("1", "a", 5, "2020-01-01"),
        ("1", "a", 6, "2020-01-01"),
    ]
    found = faults_of(rows)["duplicate_of"]
    assert found.fillna("").tolist() == ["", "", "line 0", ""]


BASKET = "receipt_id customer_id product_id amount timestamp"


def test_a_basket_may_hold_the_same_line_twice_but_not_appear_twice():
    first = [("1", "a", "tea", 5, "2020-01-01"), ("1", "a", "tea", 5, "2020-01-01"), ("1", "a", "jam", 3, "2020-01-01")]
    rows = [*first, ("2", "b", "tea", 5, "2020-01-01"), *first]
    assert where(faults_of(rows, BASKET)["duplicate_of"]) == [False] * 4 + [True] * 3


def test_sheets_that_overlap_hold_copies():
    rows = [("1", "a", "tea", 5, "2020-01-01")] * 3
    assert where(faults_of(rows, BASKET)["duplicate_of"]) == [False] * 3
    assert where(faults_of(rows, BASKET, np.array([0, 0, 1]))["duplicate_of"]) == [False, False, True]


def test_receipts_without_numbers_are_no_copies():
    rows = [("a", 5, "2020-01-01")] * 3
    found = faults_of(rows, "customer_id amount timestamp")
    assert not any(where(found["duplicate_of"]))
    assert found["receipt_id"].is_unique


def test_baskets_without_numbers_are_what_a_customer_bought_at_one_time():
    rows = [
        ("a", "tea", 5, "2020-01-01 10:00"),
        ("a", "jam", 5, "2020-01-01 10:00"),
        ("a", "tea", 5, "2020-01-01 11:00"),
    ]
    ids = faults_of(rows, "customer_id product_id amount timestamp")["receipt_id"].tolist()
    assert ids == ["a-20200101T100000"] * 2 + ["a-20200101T110000"]


def test_numbers_made_here_depend_on_the_receipts_not_on_their_place():
    rows = [("a", 5, "2020-01-01"), ("b", 6, "2020-01-01"), ("a", 7, "2020-01-02")]
    names = "customer_id amount timestamp"
    ids = dict(zip(rows, faults_of(rows, names)["receipt_id"], strict=True))
    assert dict(zip(rows[::-1], faults_of(rows[::-1], names)["receipt_id"], strict=True)) == ids


def test_one_number_is_one_customer_at_one_time():
    rows = [
        ("1", "a", 5, "2020-01-01"),
        ("1", "b", 6, "2020-01-01"),
        ("2", "a", 5, "2020-01-01 23:59"),
        ("2", "a", 6, "2020-01-02 00:01"),
        ("3", "a", 5, "2020-01-01"),
        ("3", "a", 6, "2020-01-09"),
        ("4", "a", 5, "2020-01-01"),
        ("4", None, 6, "2020-01-01"),
    ]
    found = faults_of(rows)
    assert where(found["several_customers"]) == [True, True, *[False] * 6]
    assert where(found["several_times"]) == [False] * 4 + [True, True, False, False]


def test_a_return_has_a_minus_or_a_c_among_numbers():
    rows = [("1", "a", 5, 1), ("2", "a", -5, 1), ("3", "a", 5, -1), ("C4", "a", 5, 1), ("5", "a", 0, 1)]
    dated = [(*row, "2020-01-01") for row in rows]
    columns = "receipt_id customer_id unit_price quantity timestamp"
    assert where(faults_of(dated, columns)["returned"]) == [False, True, True, True, False]
    named = [(f"C{number}", *row[1:]) for number, row in enumerate(dated)]
    assert where(faults_of(named, columns)["returned"]) == [False, True, True, False, False]


@settings(deadline=None, max_examples=15)
@given(st.floats(1e-3, 1e6), st.integers(0, 100))
def test_what_is_absurd_does_not_depend_on_the_currency(rate, seed):
    amounts = np.exp(np.random.default_rng(seed).normal(3, 1, 500))
    assert absurd_above(amounts * rate) == pytest.approx(rate * absurd_above(amounts), rel=1e-6)
    assert absurd_above(amounts) > amounts.max()


def test_equal_amounts_leave_room():
    assert absurd_above(np.full(50, 3.0)) == pytest.approx(3000)
    assert absurd_above(np.array([0.0, -1.0])) == float("inf")


def test_a_wrong_year_is_far_from_all_others():
    times = START + np.arange(500) * DAY
    assert not far_dates(times).any()
    wrong = times.copy()
    wrong[[3, 77, 200]] = np.datetime64("1900-01-01"), np.datetime64("2091-03-01"), np.datetime64("2092-03-01")
    assert np.flatnonzero(far_dates(wrong)).tolist() == [3, 77, 200]
    assert np.flatnonzero(far_dates(np.append(wrong, np.datetime64("NaT")))).tolist() == [3, 77, 200]


def test_one_of_a_few_lines_can_be_far_and_none_of_very_few():
    times = START + np.arange(30) * DAY
    times[4] = np.datetime64("9999-12-31")
    assert np.flatnonzero(far_dates(times)).tolist() == [4]
    assert not far_dates(times[:10]).any()


def test_a_long_break_is_no_wrong_year():
    times = np.concatenate([START + np.arange(300) * DAY, START + (2000 + np.arange(300)) * DAY])
    assert not far_dates(times).any()
    assert not far_dates(times[:0]).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([13085.0, None], ["13085", None]),
        (["13085.0", "13086.0", None], ["13085", "13086", None]),
        ([489434, "C489435", None], ["489434", "C489435", None]),
        (["1.0", "2.5", "a.b"], ["1.0", "2.5", "a.b"]),
        ([" a ", "", "  "], ["a", None, None]),
    ],
)
def test_identifiers_are_text(values, expected):
    found = as_text(pd.Series(values))
    assert [None if pd.isna(value) else value for value in found] == expected
