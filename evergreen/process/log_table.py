"""An event log in figures: the table that papers describe their logs with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.process.stream import Codes, Rows, Times
from evergreen.stream.row_hash import mix

DAY_US = 86_400_000_000


def log_table(case: Codes, activity: Codes, resource: Codes, time_us: Times) -> dict[str, Any]:
    """Activities, resources, events, traces, variants, traces per variant, lengths and durations of a log.

    A variant is a sequence of activities. A trace's duration is the time from its first event to its last; the log's,
    from the first event of all to the last. Names are counted where they occur.

    Args:
        case: (N,) codes of N events in time order; so are the next ones.
        activity: (N,) codes.
        resource: (N,) codes, -1 where there is none.
        time_us: (N,) microseconds.
    """
    events = len(case)
    order = np.argsort(case, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], case[order[1:]] != case[order[:-1]]])[:events])
    lengths = np.diff(np.append(starts, events))
    traces = len(starts)
    variants = len(np.unique(_fingerprints(activity[order], starts, lengths)))
    durations = (time_us[order[starts + lengths - 1]] - time_us[order[starts]]) / DAY_US
    return {
        "activities": len(np.unique(activity)),
        "resources": len(np.unique(resource[resource >= 0])),
        "events": events,
        "traces": traces,
        "variants": variants,
        "traces_per_variant": traces / variants if variants else 0.0,
        "mean_length": events / traces if traces else 0.0,
        "longest": int(lengths.max(initial=0)),
        "mean_duration_days": float(durations.mean()) if traces else 0.0,
        "total_duration_days": float(time_us[-1] - time_us[0]) / DAY_US if events else 0.0,
    }


def _fingerprints(activity: Codes, starts: Rows, lengths: Rows) -> NDArray[np.uint64]:
    """A 64-bit hash of each trace's activities in their order, all traces at a time.

    Args:
        activity: codes, the events of a trace together.
        starts: (T,) where traces begin.
        lengths: (T,) how long they are.
    """
    words = mix(activity.astype(np.uint64))
    place = np.arange(len(activity)) - np.repeat(starts, lengths)
    words ^= mix(place.astype(np.uint64) + np.uint64(1 << 40))
    spread = mix(words)
    sums = np.add.reduceat(spread, starts) if len(starts) else np.zeros(0, np.uint64)
    return mix(sums + lengths.astype(np.uint64))
