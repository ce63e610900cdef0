"""Check an event log: rows that may be used, rows that are refused and why, or a stop."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from evergreen.files import sha256_json, write_atomically
from evergreen.process.event_log import EventLog
from evergreen.process.expectations import (
    BROKEN_TIME,
    UNUSABLE,
    ValidateConfig,
    activity_suite,
    event_frame,
    event_suite,
)
from evergreen.process.layout import ProcessLayout
from evergreen.process.stream import Codes, Rows
from evergreen.stream import validation_result
from evergreen.stream.suites import SuiteRun, run_suite

Mode = Literal["default", "published"]
EXAMPLES = 3


@dataclass(frozen=True)
class Validation:
    """What came out.

    Attributes:
        runs: of the suites.
        reason: (N,) positions in ``reasons``; -1 where the row is accepted.
        reasons: for which rows are refused.
        failed: checks that failed, a line each.
        broken: checks that could not be evaluated, a line each.
        stops: whether what failed stops the stream.
    """

    runs: tuple[SuiteRun, ...]
    reason: Codes
    reasons: tuple[str, ...]
    failed: tuple[str, ...]
    broken: tuple[str, ...]
    stops: bool

    @property
    def accepted(self) -> Rows:
        """Rows of the file that may be used."""
        return np.flatnonzero(self.reason < 0)

    @property
    def refused(self) -> Rows:
        """Rows of the file that may not."""
        return np.flatnonzero(self.reason >= 0)

    def summary(self) -> dict[str, Any]:
        """The content of result.json: plain values and their hash."""
        counts = np.bincount(self.reason[self.refused], minlength=len(self.reasons))
        result: dict[str, Any] = {
            "passed": not self.stops,
            "rows_read": len(self.reason),
            "rows_accepted": len(self.accepted),
            "rows_quarantined": len(self.refused),
            "reasons": {name: int(count) for name, count in sorted(zip(self.reasons, counts, strict=True)) if count},
            "expectations": [outcome.summary() for run in self.runs for outcome in run.outcomes],
            "failed": [*self.broken, *self.failed],
        }
        return {**result, "hash": sha256_json(result)}


def judge(log: EventLog, config: ValidateConfig, mode: Mode) -> Validation:
    """Check a log and conclude.

    In published mode the checks report and nothing stops; only rows without case, activity or time are refused, as they
    cannot be used.

    Args:
        log: all rows.
        config: the limits.
        mode: default or published.
    """
    used = np.bincount(log.activity[log.activity >= 0], minlength=len(log.activities))
    activities = pd.DataFrame({"activity": log.activities.to_pylist(), "events": used})
    runs = (
        run_suite("events", event_suite(config), event_frame(log, config)),
        run_suite("activities", activity_suite(config, len(log)), activities),
    )
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    refusing = [o for o in outcomes if o.level == "row" and (mode == "default" or o.check in UNUSABLE)]
    reason = np.full(len(log), -1, np.int32)
    for number, outcome in enumerate(refusing):
        positions = np.array(outcome.rows, dtype=np.int64)
        reason[positions[reason[positions] < 0]] = number
    failed = [outcome.message() for outcome in outcomes if not outcome.success and not outcome.broken]
    failed += _broken_times(log, {o.check for o in outcomes if not o.success})
    refused, share = int(np.sum(reason >= 0)), config.max_quarantined_fraction
    empty = refused == len(log)
    if empty:
        failed.append("no event was accepted")
    elif refused > share * len(log):
        failed.append(f"all suites: {refused:,} of {len(log):,} events refused, at most {share:.2%} allowed")
    broken = tuple(outcome.message() for outcome in outcomes if outcome.broken)
    stops = bool(broken) or empty or (mode == "default" and bool(failed))
    return Validation(runs, reason, tuple(outcome.check for outcome in refusing), tuple(failed), broken, stops)


def _broken_times(log: EventLog, failed: set[str]) -> list[str]:
    """Examples of times that could not be understood, where they are why the log is not fit."""
    texts = [text for row, text in log.unread.items() if text.strip() and not log.malformed[row]][:EXAMPLES]
    if BROKEN_TIME not in failed or not texts:
        return []
    found = ", ".join(repr(text) for text in texts)
    return [f"times that could not be understood: {found} …; expected ISO 8601, e.g. 2026-03-01T10:00:00+01:00"]


def write_result(layout: ProcessLayout, validation: Validation) -> None:
    """Write result.json and the Data Docs.

    Raises:
        EvergreenError: accepted and refused rows are not those that were read.
    """
    summary = validation.summary()
    validation_result.check_counts(summary, summary["rows_quarantined"])
    title, facts = "Validation of the event log", validation_result.facts_of(summary)
    write_atomically(
        layout.validation, lambda part: validation_result.write_result(part, title, validation.runs, summary, facts)
    )


def stop(layout: ProcessLayout, validation: Validation) -> None:
    """Stop, if the log is not fit.

    Raises:
        StoppedError: a check of the log failed, or more rows are bad than the limits allow.
        BrokenExpectationError: a check could not be evaluated.
    """
    advice = (
        "Mend the log and run again, say which column is what (--column), or change the limits in params.yaml: "
        f"process.validate. The refused rows are in {layout.quarantine}."
    )
    failed = validation.failed if validation.stops else ()
    validation_result.stop("event log", validation.broken, failed, layout.validation, advice)
