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


class ValidateConfig(Config):
    """The limits of validation.

    Attributes:
        max_quarantined_fraction: largest share of refused events, for each check and in all.
        max_backwards_fraction: largest share of events that are older than the one before them in their case and file.
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

    Columns: unreadable (set where it is), case_id and activity (null where they are missing), year, seconds_back (how
    much older than the event before it in its case it is; null where it is not), duplicate_of (the row of the file that
    says the same).

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
            "unreadable": _null_unless(log.malformed),
            "case_id": _null_unless(log.malformed | (log.case >= 0)),
            "activity": _null_unless(log.malformed | (log.activity >= 0)),
            "year": years,
            "seconds_back": seconds_back(log.case, log.time_us, timed & (log.case >= 0)),
            "duplicate_of": duplicates(log, there),
        }
    )


def _null_unless(condition: Flags) -> "NDArray[np.float32]":
    return np.where(condition, np.float32(1), np.float32(np.nan))


def seconds_back(case: Codes, time_us: Times, rows: Flags) -> "NDArray[np.float32]":
    """(N,) by how many seconds an event is older than the one before it in its case in the file; null if it is not.

    Args:
        case: (N,) codes.
        time_us: (N,) microseconds.
        rows: (N,) events with a case and a time.
    """
    result = np.full(len(case), np.nan, np.float32)
    own = np.flatnonzero(rows)
    order = own[np.argsort(case[own], kind="stable")]
    same = case[order[1:]] == case[order[:-1]]
    fall = (time_us[order[:-1]] - time_us[order[1:]]) / SECOND_US
    back = same & (fall > 0)
    result[order[1:][back]] = fall[back]
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
