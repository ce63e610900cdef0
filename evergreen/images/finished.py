"""Results that are kept as soon as they are there: a study that was killed goes on where it was."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evergreen.code import code_sha256
from evergreen.files import read_json, sha256_json, write_json


class Finished:
    """JSON results of long computations, each under the hash of everything that decides it.

    The code of images and training is part of the hash: other code may come to other results.

    Args:
        workspace: whose state folder is used where EVERGREEN_HOME names none.
    """

    def __init__(self, workspace: Path) -> None:
        home = Path(os.environ.get("EVERGREEN_HOME") or workspace / ".evergreen")
        self.folder = home / "studies"

    def key(self, identity: Any) -> str:
        """The name of a result: a hash of ``identity`` (JSON) and of the code."""
        return sha256_json([identity, code_sha256("images"), code_sha256("training")])[:32]

    def has(self, key: str) -> bool:
        """Whether there is a result under a key."""
        return (self.folder / f"{key}.json").is_file()

    def once(self, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result under a key, computed if it is not there yet."""
        path = self.folder / f"{key}.json"
        if not self.has(key):
            write_json(path, compute())
        found: dict[str, Any] = read_json(path)
        return found
