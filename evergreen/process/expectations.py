"""What is expected of an event log: of each event, and of the log as a whole."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from evergreen.config import Config
from evergreen.process.event_log import NO_TIME, EventLog
from evergreen.process.stream import SECOND_US, Codes, Flags, Rows, Times
from evergreen.stream.suites import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNREADABLE, NO_CASE, NO_ACTIVITY, BROKEN_TIME = (
    "unreadable row",
    "missing case",
    "missing activity",
    "broken time stamp",
)
UNUSABLE = (UNREADABLE, NO_CASE, NO_ACTIVITY, BROKEN_TIME)
"""Reasons for which a row cannot be used, whatever the mode."""

FEW_ACTIVITIES = 100
NOBODY = -1


class ValidateConfig(Config):
    """The limits of validation.

    Attributes:
        max_quarantined_fraction: largest share of refused events, for each check and in all.
        max_backwards_fraction: largest share of events that are older than an earlier one of their case in the file.
            They are put in order, so that by default they are only reported.
        max_activity_fraction: largest number of distinct activities, as a share of the events;
            :data:`FEW_ACTIVITIES` are always allowed.
        first_year: times before it are broken.
        last_year: times after it are broken.
    """

    max_quarantined_fraction: float = Field(0.2, ge=0, le=1)
    max_backwards_fraction: float = Field(1.0, ge=0, le=1)
    max_activity_fraction: float = Field(0.1, ge=0, le=1)
    first_year: int = Field(1970, ge=1, le=9999)
    last_year: int = Field(2100, ge=1, le=9999)


def event_suite(config: ValidateConfig) -> list[Check]:
    """Of the frame with one row an event (:func:`event_frame`).

    Args:
        config: the limits.
    """
    import great_expectations.expectations as gxe

    share = 1 - config.max_quarantined_fraction
    years = gxe.ExpectColumnValuesToBeBetween(
        column="year", min_value=config.first_year, max_value=config.last_year, mostly=share
    )
    backwards = gxe.ExpectColumnValuesToBeNull(column="seconds_back", mostly=1 - config.max_backwards_fraction)
    return [
        Check("no event", "dataset", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        Check(UNREADABLE, "row", gxe.ExpectColumnValuesToBeNull(column="unreadable", mostly=share)),
        Check(NO_CASE, "row", gxe.ExpectColumnValuesToNotBeNull(column="case_id", mostly=share)),
        Check(NO_ACTIVITY, "row", gxe.ExpectColumnValuesToNotBeNull(column="activity", mostly=share)),
        Check(BROKEN_TIME, "row", gxe.ExpectColumnValuesToNotBeNull(column="year", mostly=share)),
        Check("implausible time", "row", years),
        Check("duplicate event", "row", gxe.ExpectColumnValuesToBeNull(column="duplicate_of", mostly=share)),
        Check("time running backwards", "dataset", backwards),
    ]


def activity_suite(config: ValidateConfig, events: int) -> list[Check]:
    """Of the frame with one row an activity (``activity``, ``events``).

    Args:
        config: the limits.
        events: how many there are.
    """
    import great_expectations.expectations as gxe

    most = max(FEW_ACTIVITIES, int(config.max_activity_fraction * events))
    return [Check("exploding number of activities", "dataset", gxe.ExpectTableRowCountToBeBetween(max_value=most))]


def event_frame(log: EventLog, config: ValidateConfig) -> pd.DataFrame:
    """One row an event, in the order of the file; a row that is none has nothing but ``unreadable``.

    Columns: unreadable (set where it is), case_id and activity (codes), year, seconds_back (how much older than an
    earlier event of its case it is; null where it is not), duplicate_of (the row of the file that says the same).

    Args:
        log: all rows.
        config: the limits.
    """
    there = ~log.malformed
    timed = there & (log.time_us != NO_TIME)
    years = np.full(len(log), np.nan, np.float32)
    years[timed] = log.time_us[timed].astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    years[~there] = config.first_year
    return pd.DataFrame(
        {
            "unreadable": np.where(there, np.nan, 1).astype(np.float32),
            "case_id": _nullable(log.case, there),
            "activity": _nullable(log.activity, there),
            "year": years,
            "seconds_back": seconds_back(log.case, log.time_us, timed & (log.case >= 0)),
            "duplicate_of": duplicates(log, there),
        }
    )


def _nullable(codes: Codes, there: Flags) -> "NDArray[np.float64]":
    """Codes as numbers, null where a name is missing; rows that are none do not count as missing one."""
    return np.where(codes >= 0, codes, np.where(there, np.nan, NOBODY))


def seconds_back(case: Codes, time_us: Times, rows: Flags) -> "NDArray[np.float64]":
    """(N,) by how many seconds an event is older than the latest one before it in its case in the file; else null.

    Args:
        case: (N,) codes.
        time_us: (N,) microseconds.
        rows: (N,) events with a case and a time.
    """
    result = np.full(len(case), np.nan)
    own = np.flatnonzero(rows)
    order = own[np.argsort(case[own], kind="stable")]
    before = _latest_before(case[order], time_us[order])
    back = before > time_us[order]
    result[order[back]] = (before[back] - time_us[order][back]) / SECOND_US
    return result


def _latest_before(case: Codes, time_us: Times) -> Times:
    """The running maximum of the times before each row within its case, rows of a case being together."""
    if not len(case):
        return time_us
    rank = np.unique(time_us, return_inverse=True)[1]  # ranks leave room to keep cases apart in one running maximum
    group = np.cumsum(np.concatenate([[0], case[1:] != case[:-1]]))
    offset = group * (int(rank.max()) + 1)
    highest = np.maximum.accumulate(rank + offset)
    levels = np.sort(np.unique(time_us))
    result = np.full(len(case), NO_TIME)
    same = group[1:] == group[:-1]
    result[1:][same] = levels[(highest[:-1] - offset[1:])[same]]
    return result


def duplicates(log: EventLog, rows: Flags) -> "NDArray[np.float64]":
    """(N,) the first row of the file that says exactly the same, null for rows without such a one.

    Rows whose hashes agree are compared by case, activity, resource and time as well.
    """
    result = np.full(len(log), np.nan)
    own: Rows = np.flatnonzero(rows)
    order = own[np.argsort(log.hashes[own], kind="stable")]
    if not len(order):
        return result
    same = log.hashes[order[1:]] == log.hashes[order[:-1]]
    for values in (log.case, log.activity, log.resource, log.time_us):
        same &= values[order[1:]] == values[order[:-1]]
    first = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), np.arange(len(order)), 0))
    again = first != np.arange(len(order))
    result[order[again]] = order[first[again]]
    return result
