"""Where receipts come from: a file, a folder, a database, or the data set that is fetched."""

import re
from collections.abc import Callable
from pathlib import Path

from evergreen.errors import BadInputError
from evergreen.files import sha256_file, sha256_json
from evergreen.retail.cdnow import fetch_cdnow, is_cdnow, read_cdnow
from evergreen.retail.delimited import read_delimited
from evergreen.retail.ingest_config import SourceConfig
from evergreen.retail.olist import FILES as OLIST_FILES
from evergreen.retail.olist import read_olist
from evergreen.retail.raw_lines import RawLines
from evergreen.retail.spreadsheet import read_spreadsheet
from evergreen.retail.sql_table import read_sql_table

FETCHED = "cdnow"
PARQUET, TEXT, EXCEL = (".parquet", ".pq"), (".csv", ".tsv", ".txt"), (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
MAGIC = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip or Excel file", b"\xd0\xcf\x11\xe0": "an old Excel file"}


def is_url(receipts: str) -> bool:
    """Whether a source is a database: ``dialect://…``."""
    return re.match(r"[a-z][a-z0-9+_]*://", receipts) is not None


def source_sha256(receipts: str) -> str | None:
    """The content hash of a source, for ``source.sha256``; None where there is none: databases, what is fetched.

    Raises:
        BadInputError: there is no such file.
    """
    if is_url(receipts) or receipts == FETCHED:
        return None
    path = _existing(Path(receipts))
    if path.is_dir():
        return sha256_json({name: sha256_file(path / name) for name in OLIST_FILES if (path / name).is_file()})
    return sha256_file(path)


def read_source(config: SourceConfig, downloads: Path) -> RawLines:
    """Read the lines of a source as they stand there.

    Args:
        config: what to read.
        downloads: folder for what has to be fetched.

    Raises:
        BadInputError: it is missing, empty, changed, or not what its name says.
    """
    if is_url(config.receipts):
        return read_sql_table(config.receipts, config.table)
    path = fetch_cdnow(downloads) if config.receipts == FETCHED else _existing(Path(config.receipts))
    if config.sha256 is not None and source_sha256(str(path)) != config.sha256:
        raise BadInputError(
            f"{path} has changed since params.yaml: retail.source.sha256 was written. Name it again with "
            "`evergreen run retail --receipts`, or set sha256 to null."
        )
    if path.is_dir():
        return read_olist(path)
    if path.stat().st_size == 0:
        raise BadInputError(f"{path} is empty (0 bytes). Expected receipts with a header.")
    return _reader(path, config)()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise BadInputError(f"{path} does not exist. Name a file of receipts with --receipts.")
    return path


def _reader(path: Path, config: SourceConfig) -> Callable[[], RawLines]:
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix in PARQUET:
        return lambda: _read_parquet(path)
    if suffix in EXCEL:
        return lambda: read_spreadsheet(path, config.sheet)
    if suffix in TEXT:
        _check_text(path)
        return (lambda: read_cdnow(path)) if is_cdnow(path) else lambda: read_delimited(path)
    known = ", ".join((*PARQUET, *TEXT, *(f"{each}.gz" for each in TEXT), *EXCEL))
    raise BadInputError(
        f"{path}: the ending {path.suffix!r} is not known. Expected one of {known}. Rename or convert it."
    )


def _check_text(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(4)
    for magic, kind in MAGIC.items():
        if begin.startswith(magic):
            raise BadInputError(f"{path} is {kind}, not text as its ending says. Rename it.")


def _read_parquet(path: Path) -> RawLines:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInputError(f"{path} is no complete Parquet file: {error}") from error
    return RawLines(table.to_pandas(ignore_metadata=True).rename(columns=str))
