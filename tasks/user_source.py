"""A user's own data as the source of a stream: named in the parameters, with the hash of what it holds now."""

from pathlib import Path
from typing import Any

from evergreen.errors import BadInputError
from evergreen.files import sha256_file, sha256_json
from evergreen.images.folder import folder_digest
from tasks.workspace import Workspace

FILES = {"retail": "receipts", "process": "log"}
"""Domain → the parameter that names its source."""


def folder_values(folder: Path) -> dict[str, Any]:
    """The image parameters that make a folder the source.

    Raises:
        BadInputError: there is no such folder, or it cannot be read.
    """
    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise BadInputError(f"--folder {folder} is no folder. Name one that holds images, in sub-folders or not.")
    return {"ingest": {"source": "folder", "folder": str(path), "folder_digest": folder_digest(path)}}


def file_values(domain: str, source: str) -> dict[str, Any]:
    """The parameters that make a file, a folder of files or a database (an SQLAlchemy URL) the source of a domain.

    Raises:
        BadInputError: there is no such file.
    """
    name = FILES[domain]
    if "://" in source:
        return {"source": {name: source, "sha256": None}}
    path = Path(source).expanduser().resolve()
    if not path.exists():
        raise BadInputError(f"--{name} {source} does not exist. Name a file that holds the {name}.")
    return {"source": {name: str(path), "sha256": _digest(path)}}


def look_again(workspace: Workspace) -> None:
    """Note what the source holds now: new rows in it are new data."""
    if workspace.domain == "images":
        ingest = workspace.section["ingest"]
        if ingest["source"] == "folder" and ingest["folder"]:
            workspace.update("images", folder_values(Path(ingest["folder"])))
        return
    source = workspace.section["source"][FILES[workspace.domain]]
    if source is None:
        raise BadInputError(
            f"{workspace.root} has no source yet. Name one: evergreen run {workspace.domain} "
            f"--{FILES[workspace.domain]} FILE --workdir {workspace.root}"
        )
    workspace.update(workspace.domain, file_values(workspace.domain, source))


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256_json([[str(file.relative_to(path)), sha256_file(file)] for file in files])
