"""The JSON files of a run that its report reads: those that it needs and those that may be missing."""

from pathlib import Path
from typing import Any

from evergreen.errors import BadInputError
from evergreen.files import read_json


def read_needed(path: Path, step: str, domain: str) -> Any:
    """Read a file without which there is no report.

    Raises:
        BadInputError: it is missing; the message says which step writes it.
    """
    if not path.is_file():
        raise BadInputError(
            f"The report needs {path}, which the step {step!r} writes. Run `evergreen run {domain}`, "
            "or `dvc repro` in the workspace, so that the earlier steps come first."
        )
    return read_json(path)


def read_if_there(path: Path) -> Any:
    """Read a file, None if it is missing."""
    return read_json(path) if path.is_file() else None
