"""A folder of someone's own images as the source of the stream: named in the parameters, with what it holds now."""

from pathlib import Path
from typing import Any

from evergreen.errors import BadInputError
from evergreen.images.folder import folder_digest
from tasks.workspace import Workspace


def folder_values(folder: Path) -> dict[str, Any]:
    """The image parameters that make a folder the source.

    Raises:
        BadInputError: there is no such folder, or it cannot be read.
    """
    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise BadInputError(f"--folder {folder} is no folder. Name one that holds images, in sub-folders or not.")
    return {"ingest": {"source": "folder", "folder": str(path), "folder_digest": folder_digest(path)}}


def look_again(workspace: Workspace) -> None:
    """Note what the source folder holds now, where the source is one: new files in it are new data."""
    ingest = workspace.params["images"]["ingest"]
    if ingest["source"] == "folder" and ingest["folder"]:
        workspace.update("images", folder_values(Path(ingest["folder"])))
