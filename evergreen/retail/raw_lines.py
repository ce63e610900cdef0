"""The lines of a receipt source as they stand there, before anything is understood."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class RawLines:
    """What a reader hands on.

    Attributes:
        frame: the N lines with the source's own columns, index 0 to N - 1. A line that could not be split into columns
            is there, empty.
        known: field → column as the format defines it; the user's mapping comes before it.
        parts: int (N,): the sheet of a line. The same line in two parts is an overlap of them.
        unsplit: position of a line that could not be split → its text.
        facts: what else to report of the source.
    """

    frame: pd.DataFrame
    known: dict[str, str] = field(default_factory=dict)
    parts: NDArray[np.int64] | None = None
    unsplit: dict[int, str] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
