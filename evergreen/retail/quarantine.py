"""Refused receipt lines, with their values as the source has them and the reason."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.files import write_atomically
from evergreen.retail.raw_lines import RawLines

OWN = ("row", "reason", "text")


def write_quarantine(path: Path, raw: RawLines, reasons: "pd.Series[str]") -> int:
    """Write the refused lines; returns how many.

    Columns: ``row`` (0-based line of the source), ``reason``, ``text`` (of a line that could not be split into
    columns, else null) and the source's own columns as text; one with a name of ours is called ``source.NAME``.

    Args:
        path: of the Parquet file.
        raw: all lines.
        reasons: of each line, null where it is accepted.
    """
    refused = reasons[reasons.notna()]
    rows = refused.index.to_numpy()
    columns = {
        "row": pa.array(rows, pa.int64()),
        "reason": pa.array(refused, pa.string()),
        "text": pa.array([raw.unsplit.get(int(row)) for row in rows], pa.string()),
    }
    for name, column in raw.frame.loc[rows].items():
        shown = f"source.{name}" if name in OWN else str(name)
        columns[shown] = pa.array(column.astype("str"), pa.string(), from_pandas=True)
    table = pa.table(columns)
    write_atomically(path, lambda part: pq.write_table(table, part))
    return len(table)
