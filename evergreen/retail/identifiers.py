"""Identifiers of receipts, customers and products as text."""

from typing import Any

import pandas as pd

WHOLE = r"-?\d+\.0"


def as_text(column: "pd.Series[Any]") -> "pd.Series[str]":
    """Identifiers as text without blanks around; null where there is none.

    Numbers that a gap in the column turned into decimals (13085.0) are whole again.

    >>> as_text(pd.Series([13085.0, None])).tolist()
    ['13085', nan]
    """
    codes, unique = pd.factorize(column)
    texts = pd.Series([str(value) for value in unique], dtype="str").str.strip()
    decimal = texts.str.fullmatch(WHOLE)
    if (decimal | texts.str.fullmatch(r"[A-Za-z]*-?\d+|")).mean() > 0.5:
        texts = texts.where(~decimal, texts.str.removesuffix(".0"))
    texts = texts.where(texts != "")
    result = texts.reindex(codes)  # code -1 is not in the index: null
    return result.set_axis(column.index)
