"""A user's own data as the source of a stream: named in the parameters, with the hash of what it holds now."""

import os
from pathlib import Path
from typing import Any

from evergreen.errors import BadInputError
from evergreen.files import sha256_file, sha256_json
from evergreen.images.folder import folder_digest
from tasks.settings import Settings
from tasks.workspace import Workspace

FILES = {"retail": "receipts", "process": "log"}
"""Domain → the parameter that names its source."""
OUT_OF_THE_BOX = {"retail": "cdnow", "process": "receipt-phase"}
"""Domain → a data set that is fetched from the package registry."""


def folder_values(folder: Path) -> dict[str, Any]:
    """The image parameters that make a folder the source.

    Raises:
        BadInputError: there is no such folder, or it cannot be read.
    """
    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise BadInputError(f"--folder {folder} is no folder. Name one that holds images, in sub-folders or not.")
    return {"ingest": {"source": "folder", "folder": str(path), "folder_digest": folder_digest(path)}}


def source_values(domain: str, source: str) -> dict[str, Any]:
    """The parameters that make a file, a folder of files or a database (an SQLAlchemy URL) the source of a domain.

    Raises:
        BadInputError: there is no such file.
    """
    name = FILES[domain]
    if source == OUT_OF_THE_BOX[domain]:
        if domain == "retail":  # its reader fetches it
            return {name: source, "sha256": None}
        from evergreen.process.receipt_log import load_receipt_log

        source = str(load_receipt_log(Settings.load().home / "downloads"))
    if "://" in source:
        place = {"log": None, "database": source} if domain == "process" else {name: source}
        return place | {"sha256": None}
    path = Path(source).expanduser().resolve()
    if not path.exists():
        raise BadInputError(f"--{name} {source} does not exist. Name a file that holds the {name}.")
    return {name: str(path), "sha256": _digest(path)}


def look_again(workspace: Workspace) -> None:
    """Note what the source holds now: new rows in it are new data.

    Raises:
        BadInputError: there is no source yet, or it is gone.
    """
    if workspace.domain == "images":
        ingest = workspace.section["ingest"]
        if ingest["source"] == "folder" and ingest["folder"]:
            workspace.update("images", folder_values(Path(ingest["folder"])))
        return
    source = workspace.section["source"]
    if (named := source[FILES[workspace.domain]]) is not None:
        found = source_values(workspace.domain, named)
        url = named if "://" in named else None
    elif (url := source.get("database")) or source.get("topic"):
        found = {}
    else:
        raise BadInputError(
            f"{workspace.root} has no source yet. Name one: evergreen run {workspace.domain} "
            f"--{FILES[workspace.domain]} FILE --workdir {workspace.root}"
        )
    if url is not None:
        found["sha256"] = table_digest(url, source.get("table"))
    workspace.update(workspace.domain, {"source": found})


def table_digest(url: str, name: str | None) -> str | None:
    """A hash that changes when rows are added to a table: of their number, and each column's least and greatest value.

    None where the table cannot be looked at: reading it will say why.
    """
    import sqlalchemy as sa

    engine = None
    try:
        engine = sa.create_engine(os.path.expandvars(url))
        schema, _, bare = (name or "").rpartition(".")
        table = sa.Table(bare, sa.MetaData(), schema=schema or None, autoload_with=engine)
        ends = [end(column) for column in table.columns for end in (sa.func.min, sa.func.max)]
        with engine.connect() as connection:
            found = connection.execute(sa.select(sa.func.count(), *ends).select_from(table)).one()
    except (sa.exc.SQLAlchemyError, ModuleNotFoundError):
        return None
    finally:
        if engine is not None:
            engine.dispose()
    return sha256_json([str(value) for value in found])


def _digest(path: Path) -> str:
    """As the domains' readers compare it: of a file's bytes, or of the known files of a folder of receipts."""
    if path.is_file():
        return sha256_file(path)
    from evergreen.retail.receipt_source import source_sha256

    return source_sha256(str(path)) or ""
