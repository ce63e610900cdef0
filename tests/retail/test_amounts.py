import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.retail.amounts import AMBIGUOUS, MIXED_CURRENCIES, NOT_A_NUMBER, parse_numbers


def read(*values):
    found = parse_numbers(pd.Series(list(values), dtype=object))
    return [None if math.isnan(value) else value for value in found.values]


def problems(*values):
    return parse_numbers(pd.Series(list(values), dtype=object)).problems.tolist()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["12.50", "1,234.56", "7"], [12.5, 1234.56, 7]),
        (["12,50", "1.234,56", "1.234", "7"], [12.5, 1234.56, 1234, 7]),
        (["1.234", "2.5", "1,234"], [1.234, 2.5, 1234]),
        (["0.125", "1.234"], [0.125, 1.234]),
        (["£3.20", "£ 1,000.00", "4"], [3.2, 1000, 4]),
        (["R$ 12,50", "R$ 1.200,00"], [12.5, 1200]),
        (["12,50 €", "-3,00 €"], [12.5, -3]),
        (["EUR 12.50", "12.50 EUR"], [12.5, 12.5]),
        (["(3.20)", "-£4.00", "£-5.00", "+6"], [-3.2, -4, -5, 6]),
        (["1 234.5", "1\u00a0234.5", "1'234.5"], [1234.5, 1234.5, 1234.5]),
        (["1e3", "2.5E-1", "1."], [1000, 0.25, 1]),
        ([12, 2.5, Decimal("3.20"), None, "4"], [12, 2.5, 3.2, None, 4]),
    ],
)
def test_what_can_be_read(texts, expected):
    assert read(*texts) == expected
    assert not any(problems(*texts))


@pytest.mark.parametrize("text", ["abc", "12abc", "1.2.3", "12,3,4", "--1", ".", "£", "1,23.5", "x12", "inf", "12-3"])
def test_what_is_no_number(text):
    assert problems(text, "5.50") == [NOT_A_NUMBER, None]


def test_with_both_decimal_separators_only_clear_values_are_read():
    texts = ["12,50", "12.50", "1.234", "1,234", "7", "1.234,56"]
    assert read(*texts) == [12.5, 12.5, None, None, 7, 1234.56]
    assert problems(*texts) == [None, None, AMBIGUOUS, AMBIGUOUS, None, None]


def test_several_currencies_cannot_be_added_up():
    found = parse_numbers(pd.Series(["R$ 12,50", "£3.20", "4", "abc", "US$ 5"], dtype=object))
    assert found.currencies == ("BRL", "GBP", "USD")
    assert found.problems.tolist() == [MIXED_CURRENCIES, MIXED_CURRENCIES, None, NOT_A_NUMBER, MIXED_CURRENCIES]
    assert np.isnan(found.values[[0, 1, 4]]).all()


def test_one_currency_in_two_spellings_is_one():
    found = parse_numbers(pd.Series(["£3.20", "GBP 4"], dtype=object))
    assert found.values.tolist() == [3.2, 4]
    assert found.currencies == ("GBP",)


def test_missing_is_not_a_problem_of_reading():
    found = parse_numbers(pd.Series(["1", None, np.nan], dtype=object))
    assert np.isnan(found.values[1:]).all()
    assert found.problems.tolist() == [None, None, None]


def test_infinity_is_no_number():
    found = parse_numbers(pd.Series([1.0, np.inf, np.nan]))
    assert found.problems.tolist() == [None, NOT_A_NUMBER, None]
    assert np.isnan(found.values[1])


@settings(deadline=None, max_examples=15)
@given(st.lists(st.decimals(-(10**9), 10**9, places=2, allow_nan=False), min_size=1))
def test_two_decimals_come_back_in_either_spelling(values):
    expected = [float(value) for value in values]
    english = [f"{value:,.2f}" for value in values]
    continental = [text.translate(str.maketrans(",.", ".,")) for text in english]
    for texts in (english, continental, [f"{value:.2f}" for value in values]):
        assert read(*texts) == expected
