"""Where a model's warm-up ends among the events that are predicted."""

import numpy as np

from evergreen.errors import BadInputError
from evergreen.process.protocol import Rows, RunInput


def asked_rows(run: RunInput) -> tuple[Rows, int]:
    """(P,) rows that are predicted before they are known, and how many of them the warm-up has.

    Raises:
        BadInputError: the warm-up has none.
    """
    rows = np.flatnonzero(run.stream.asked)
    first = int(np.searchsorted(rows, run.cut))
    if not first:
        raise BadInputError(
            f"None of the first {run.cut:,} events, the warm-up, follows another one of its case: there is nothing to "
            "learn from. Take a longer log or a longer warm-up."
        )
    return rows, first
