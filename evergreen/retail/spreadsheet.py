"""Receipts in an Excel file: one sheet, or all sheets with the same columns."""

from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.errors import BadInputError
from evergreen.retail.raw_lines import RawLines


def read_spreadsheet(path: Path, sheet: str | None) -> RawLines:
    """Read one sheet, or join all that have the columns of the largest one, in their order in the file.

    Args:
        path: of the file.
        sheet: its name; None for all.

    Raises:
        BadInputError: the file cannot be read, is without rows, or has no such sheet.
    """
    from python_calamine import CalamineError

    try:
        with pd.ExcelFile(path, engine="calamine") as file:
            names = [str(name) for name in file.sheet_names]
            if sheet is not None and sheet not in names:
                raise BadInputError(f"{path} has no sheet {sheet!r}; its sheets are {', '.join(map(repr, names))}.")
            sheets = {name: file.parse(name, dtype=object) for name in names if sheet in (None, name)}
    except (CalamineError, OSError, ValueError) as error:
        raise BadInputError(f"{path} is no Excel file that can be read: {error}") from error
    for frame in sheets.values():
        frame.columns = [str(name).strip() for name in frame.columns]
    filled = {name: frame for name, frame in sheets.items() if len(frame)}
    if not filled:
        return RawLines(next(iter(sheets.values()), pd.DataFrame()))
    columns = list(max(filled.values(), key=len).columns)
    joined = {name: frame for name, frame in filled.items() if list(frame.columns) == columns}
    parts = np.repeat(np.arange(len(joined)), [len(frame) for frame in joined.values()])
    facts: dict[str, object] = {
        "sheets": list(joined),
        "sheets_with_other_columns": [name for name in filled if name not in joined],
    }
    return RawLines(pd.concat(joined.values(), ignore_index=True), parts=parts, facts=facts)
