"""A process that changes four times, small enough to be checked by hand.

The example that motivates DARWIN (Pasquadibisceglie et al. 2023): 260 traces of five variants, one variant after the
other. A model that stays as it was after the first of them knows neither that cases begin to go on after ``F`` nor
that ``E`` and later ``C`` are left out.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

VARIANTS = (("ABCDEF", 70), ("ABCDEFG", 10), ("ABCDF", 50), ("ABDF", 50), ("ABDFG", 80))
"""The activities of each variant, a letter each, and how many traces follow it."""

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)


def events() -> pd.DataFrame:
    """The event log: one event an hour, a trace begins when the one before it is over.

    Returns:
        Columns event_index, case_id, activity, timestamp (UTC) and resource (all null), in the order of time.
    """
    traces = [variant for variant, times in VARIANTS for _ in range(times)]
    activity = [letter for trace in traces for letter in trace]
    case = np.repeat(np.arange(1, len(traces) + 1), [len(trace) for trace in traces])
    return pd.DataFrame(
        {
            "event_index": np.arange(len(activity)),
            "case_id": [f"case {number:03d}" for number in case],
            "activity": activity,
            "timestamp": pd.date_range(FIRST, periods=len(activity), freq=STEP, unit="us"),
            "resource": pd.Series([None] * len(activity), dtype="str"),
        }
    )


def changes() -> list[int]:
    """The event_index of the first event of each variant but the first: where the process changes."""
    lengths = [len(variant) * times for variant, times in VARIANTS]
    return [int(place) for place in np.cumsum(lengths)[:-1]]
