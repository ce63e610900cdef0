"""Numbers as receipts spell them: 12.50, 12,50, 1.234,56, R$ 12,50, (3.20)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NOT_A_NUMBER = "is no number"
AMBIGUOUS = "has an ambiguous separator"
MIXED_CURRENCIES = "is in one of several currencies"
PROBLEMS = (NOT_A_NUMBER, AMBIGUOUS, MIXED_CURRENCIES)

CODES = (
    "AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PEN|PHP|PLN|RON|"
    "RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
SIGNS = {"£": "GBP", "€": "EUR", "R$": "BRL", "US$": "USD"}
CURRENCY = rf"(?:[A-Z]{{0,3}}[$¢£¤¥\u20a0-\u20bf]|{CODES})"
PIECES = rf"^(?P<minus>-?)\+?(?P<before>{CURRENCY})?(?P<inner>-?)(?P<digits>[\d.,]*\d[.,]?)(?P<after>{CURRENCY})?$"
POINT = r"(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d*)?|\.\d+"
COMMA = r"(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)(?:,\d*)?|,\d+"


@dataclass(frozen=True)
class Numbers:
    """What a column of numbers says.

    Attributes:
        values: float64 (N,), NaN where the value is missing or not understood.
        problems: object (N,), one of :data:`PROBLEMS` or None; None as well where the value is missing.
        currencies: found beside the numbers, sorted.
    """

    values: NDArray[np.float64]
    problems: NDArray[np.object_]
    currencies: tuple[str, ...]


def parse_numbers(column: "pd.Series[Any]") -> Numbers:
    """Read a column of numbers or of texts.

    The column as a whole decides the decimal separator: values that can be read in one way only are the evidence. With
    evidence for the comma alone, 1.234 is one thousand two hundred and thirty-four; with evidence for both, such values
    are ambiguous; otherwise the point is the decimal separator. The sign of one currency is dropped; where there are
    several, values with a sign cannot be added up and are refused.
    """
    if not pd.api.types.is_object_dtype(column.dtype) and not pd.api.types.is_string_dtype(column.dtype):
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        return _without_infinity(values, np.full(len(values), None, dtype=object), ())
    codes, unique = pd.factorize(column)  # the work is done once for each different value
    is_text = np.array([isinstance(value, str) for value in unique], dtype=bool)
    values, problems = np.full(len(unique) + 1, np.nan), np.full(len(unique) + 1, None, dtype=object)
    texts = pd.Series([str(value) for value in unique], dtype="str")
    values[:-1] = pd.to_numeric(texts.where(~is_text), errors="coerce")
    problems[:-1][~is_text & np.isnan(values[:-1])] = NOT_A_NUMBER
    weights = np.bincount(codes[codes >= 0], minlength=len(unique))
    found = _parse_texts(texts[is_text], weights[is_text])
    values[:-1][is_text], problems[:-1][is_text] = found.values, found.problems
    return _without_infinity(values[codes], problems[codes], found.currencies)  # code -1 is the last entry: missing


def _parse_texts(texts: "pd.Series[str]", weights: NDArray[np.int64]) -> Numbers:
    bare = texts.str.replace(r"[\s\u00a0\u202f'’]", "", regex=True)
    bare = bare.str.replace(r"^\((.*)\)$", r"-\1", regex=True)
    pieces = bare.str.extract(PIECES)
    digits = pieces["digits"].fillna("")
    point, comma = digits.str.fullmatch(POINT).to_numpy(bool), digits.str.fullmatch(COMMA).to_numpy(bool)
    as_point = pd.to_numeric(digits.str.replace(",", "").where(point), errors="coerce").to_numpy(np.float64)
    as_comma = pd.to_numeric(
        digits.str.replace(".", "", regex=False).str.replace(",", ".", regex=False).where(comma), errors="coerce"
    ).to_numpy(np.float64)
    ambiguous = point & comma & (as_point != as_comma)
    point_seen, comma_seen = bool((point & ~comma).any()), bool((comma & ~point).any())
    values = np.where(point & ~(comma_seen & ~point_seen & comma), as_point, as_comma)
    minuses = (pieces["minus"].fillna("") + pieces["inner"].fillna("")).str.len().to_numpy()
    values = np.select([minuses == 0, minuses == 1], [values, -values], np.nan)
    scientific = bare.str.fullmatch(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d+").to_numpy(bool)
    values[scientific] = pd.to_numeric(bare[scientific])
    problems = np.full(len(values), None, dtype=object)
    problems[np.isnan(values)] = NOT_A_NUMBER
    if point_seen and comma_seen:
        problems[ambiguous] = AMBIGUOUS
    signs = pieces["before"].fillna(pieces["after"]).replace(SIGNS)
    currencies = tuple(sorted(signs.dropna().unique()))
    if len(currencies) > 1:
        problems[signs.notna().to_numpy() & ~np.isnan(values)] = MIXED_CURRENCIES
    values[problems != None] = np.nan  # noqa: E711 - elementwise
    return Numbers(values, problems, currencies)


def _without_infinity(
    values: NDArray[np.float64], problems: NDArray[np.object_], currencies: tuple[str, ...]
) -> Numbers:
    infinite = np.isinf(values)
    return Numbers(np.where(infinite, np.nan, values), np.where(infinite, NOT_A_NUMBER, problems), currencies)
