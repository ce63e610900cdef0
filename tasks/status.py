"""How a step ended, told outside DVC, whose own exit status knows only success and 255."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from evergreen.files import read_json, write_json

VARIABLE = "EVERGREEN_STATUS_FILE"


@dataclass(frozen=True)
class StepStatus:
    """The end of a step, or of DVC where no step came to run.

    Attributes:
        code: exit status: 0, 2 for bad input, 1 otherwise.
        message: what went wrong and what to do; None where nothing did.
        seconds: run time of the step itself, None where it failed.
        busy: whether DVC found the workspace in use by another process.
    """

    code: int
    message: str | None = None
    seconds: float | None = None
    busy: bool = False

    @classmethod
    def read(cls, path: Path | None = None) -> "StepStatus | None":
        """The status in a file, by default the one named in the environment; None if nothing was written."""
        path = path or _file()
        return cls(**read_json(path)) if path is not None and path.is_file() else None

    def write(self) -> bool:
        """Write to the file named in the environment; False where none is, because nobody asked."""
        path = _file()
        if path is not None:
            write_json(path, asdict(self))
        return path is not None


def _file() -> Path | None:
    name = os.environ.get(VARIABLE)
    return Path(name) if name else None
