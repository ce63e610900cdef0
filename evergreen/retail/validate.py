"""Receipt lines → lines that may be used, lines that are refused and why, or a stop."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from evergreen.files import sha256_json
from evergreen.retail.expectations import (
    ADVISORY,
    LINE_COLUMNS,
    SET_ASIDE,
    SWAPPED,
    UNUSABLE,
    line_suite,
    receipts_suite,
)
from evergreen.retail.faults import absurd_above, add_faults
from evergreen.retail.ingest_config import LimitsConfig
from evergreen.retail.lines import Lines
from evergreen.retail.raw_lines import RawLines
from evergreen.stream.suites import Outcome, SuiteRun, run_suite

Mode = Literal["default", "published"]


@dataclass(frozen=True)
class Validation:
    """What came out.

    Attributes:
        runs: of the suites; where no line was accepted, that of the receipts is missing.
        reasons: object (N,): why a line is refused, null where it is accepted.
        failed: what stops the stream, a line each; in mode ``published`` it is only reported.
        broken: checks that could not be evaluated, a line each.
        warnings: what the user should know, a line each.
        stopped: whether the receipts must not be used.
    """

    runs: tuple[SuiteRun, ...]
    reasons: "pd.Series[str]"
    failed: tuple[str, ...]
    broken: tuple[str, ...]
    warnings: tuple[str, ...]
    stopped: bool

    def summary(self) -> dict[str, Any]:
        """The content of result.json: plain values and their hash."""
        refused = self.reasons.dropna()
        result: dict[str, Any] = {
            "passed": not self.failed and not self.broken,
            "rows_read": len(self.reasons),
            "rows_accepted": len(self.reasons) - len(refused),
            "rows_quarantined": len(refused),
            "reasons": {str(reason): int(count) for reason, count in refused.value_counts().sort_index().items()},
            "expectations": [outcome.summary() for run in self.runs for outcome in run.outcomes],
            "failed": [*self.broken, *self.failed],
            "warnings": list(self.warnings),
        }
        return {**result, "hash": sha256_json(result)}


def validate(lines: Lines, raw: RawLines, limits: LimitsConfig, repair: bool, mode: Mode) -> Validation:
    """Check the lines one by one, then what the accepted ones amount to.

    Args:
        lines: as they are understood.
        raw: as they stand in the source.
        limits: of validation.
        repair: whether swapped dates were to be repaired.
        mode: ``published`` refuses only lines that cannot be used at all, and never stops over the others.
    """
    frame = add_faults(lines, raw)
    bought = frame.loc[frame["returned"].isna() & frame["cancelled"].isna(), "amount"].dropna()
    checks = line_suite(limits, absurd_above(bought.to_numpy()))
    run = run_suite("lines", checks, frame[list(LINE_COLUMNS)])
    reasons = _reasons(run, len(frame), mode)
    runs = [run]
    accepted = frame[reasons.isna()]
    if len(accepted):
        runs.append(run_suite("receipts", receipts_suite(), _facts(accepted, lines.order.swapped and not repair)))
    outcomes = [outcome for each in runs for outcome in each.outcomes]
    broken = tuple(outcome.message() for outcome in outcomes if outcome.broken)
    bad = [each for each in outcomes if not each.success and not each.broken and each.check not in ADVISORY]
    failed = (*(outcome.message() for outcome in bad), *_shares(reasons, limits))
    stopped = bool(broken) or not len(accepted) or (mode == "default" and bool(failed))
    return Validation(tuple(runs), reasons, failed, broken, tuple(_warnings(lines, outcomes, repair)), stopped)


def _reasons(run: SuiteRun, count: int, mode: Mode) -> "pd.Series[str]":
    """The first check that refuses a line gives the reason."""
    reasons = np.full(count, None, dtype=object)
    for outcome in run.outcomes:
        if outcome.level != "row" or (mode == "published" and outcome.check not in UNUSABLE):
            continue
        positions = np.array(outcome.rows, dtype=np.int64)
        reasons[positions[pd.isna(reasons[positions])]] = outcome.check
    return pd.Series(reasons)


def _facts(accepted: pd.DataFrame, swapped: bool) -> pd.DataFrame:
    customers, days = accepted["customer_id"].nunique(), accepted["timestamp"].dt.floor("D").nunique()
    return pd.DataFrame({"customers": [customers], "days": [days], "swapped": [swapped]})


def _shares(reasons: "pd.Series[str]", limits: LimitsConfig) -> list[str]:
    """The limits on all broken lines together; lines that are set aside are neither broken nor counted."""
    current = reasons[~reasons.isin(SET_ASIDE)]
    refused = int(current.notna().sum())
    if refused == len(current):
        return ["no line was accepted"]
    if refused > limits.max_quarantined_fraction * len(current):
        share = f"{refused:,} of {len(current):,} lines ({refused / len(current):.2%})"
        return [f"all checks: {share} broken, at most {limits.max_quarantined_fraction:.2%} allowed"]
    return []


def _warnings(lines: Lines, outcomes: list[Outcome], repair: bool) -> list[str]:
    order, warnings = lines.order, []
    if any(not outcome.success and outcome.check == SWAPPED for outcome in outcomes):
        warnings.append(
            f"Day and month seem to be swapped for days 1 to 12: along the receipt numbers time runs backwards "
            f"{order.inversions} times, after swapping back {order.inversions_if_swapped} times. To swap them back set "
            "params.yaml: retail.source.repair_dates: true"
        )
    if repair and not order.swapped:
        found = "shows no swapped dates" if order.possible else "cannot be judged, for they are not numbers"
        warnings.append(f"repair_dates is set, but the order of the receipt numbers {found}: nothing was changed.")
    ambiguous = int(lines.frame["date_ambiguous"].notna().sum())
    if ambiguous:
        warnings.append(
            f"{ambiguous:,} dates could have the day or the month first, and the order of the receipts does not tell. "
            "If all dates are alike, set params.yaml: retail.source.date_order to dmy or mdy."
        )
    if len(lines.currencies) > 1:
        warnings.append(f"Amounts in several currencies: {', '.join(lines.currencies)}. Convert them to one.")
    return warnings
