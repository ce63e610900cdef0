"""Receipts in delimited text: comma, semicolon, tab or bar, UTF-8 or Latin-1."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evergreen.errors import BadInputError
from evergreen.retail.raw_lines import RawLines

SEPARATORS = (";", "\t", ",", "|")
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
SAMPLE = 1 << 16
FIRST_NUMBER = 2  # of a line after the header, as pyarrow counts


def read_delimited(path: Path) -> RawLines:
    """Read a file with a header line; every value stays text. Lines with a wrong number of values are kept as text.

    Raises:
        BadInputError: the file has no header, or is no text.
    """
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    content = _utf8(path).lstrip(b"\r\n") + b"\n"  # pyarrow stumbles over a header that nothing follows
    if b"\0" in content[:SAMPLE]:
        raise BadInputError(f"{path} is no text: it holds zero bytes. Expected names and values, line by line.")
    separator = _separator(content[:SAMPLE].decode("utf-8", errors="ignore"), path)
    unsplit: dict[int, str] = {}

    def keep(row: Any) -> str:
        unsplit[int(row.number)] = str(row.text)
        return "skip"

    names = [name.strip() for name in next(csv.reader([_first_line(content)], delimiter=separator))]
    _check_names(names, path)
    try:
        table = pa_csv.read_csv(
            io.BytesIO(content),
            # one thread: only then does a bad line know its number
            read_options=pa_csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=list(MISSING)
            ),
        )
    except pa.ArrowInvalid as error:
        raise BadInputError(f"{path} cannot be read as text with the separator {separator!r}: {error}") from error
    return _with_unsplit(table.to_pandas(), unsplit)


def _utf8(path: Path) -> bytes:
    """The content as UTF-8. Bytes that are none are Latin-1, in the form that Windows writes where they fit it."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16").encode()
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return content.decode("cp1252").encode()
        except UnicodeDecodeError:
            return content.decode("latin-1").encode()
    return content


def _first_line(content: bytes) -> str:
    return content.split(b"\n", 1)[0].decode().rstrip("\r")


def _separator(sample: str, path: Path) -> str:
    """The separator that splits the header into most columns, in a draw the one that comes first in the list."""
    header = sample.split("\n", 1)[0]
    counts = {each: len(next(csv.reader([header], delimiter=each), [])) for each in SEPARATORS}
    best = max(counts, key=lambda each: counts[each])
    if counts[best] < 2:
        raise BadInputError(
            f"{path} has no header of several columns: its first line is {header[:80]!r}. Expected names separated by "
            "comma, semicolon, tab or bar."
        )
    return best


def _check_names(names: list[str], path: Path) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise BadInputError(f"{path} has several columns named {', '.join(map(repr, repeated))}. Rename them.")


def _with_unsplit(frame: pd.DataFrame, unsplit: dict[int, str]) -> RawLines:
    """Put empty lines where the ones that could not be split were."""
    if not unsplit:
        return RawLines(frame)
    positions = np.array(sorted(unsplit)) - FIRST_NUMBER
    total = len(frame) + len(unsplit)
    rest = np.setdiff1d(np.arange(total), positions)
    texts = dict(zip(positions.tolist(), (unsplit[number] for number in sorted(unsplit)), strict=True))
    return RawLines(frame.set_axis(rest).reindex(range(total)), unsplit=texts)
