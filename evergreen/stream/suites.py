"""Expectation suites: checks of a data frame by Great Expectations, and what they found in plain values.

A check looks at single rows (a bad row is refused, the stream goes on while their share is within the limit) or at the
data set as a whole (a failure stops).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from evergreen.errors import EvergreenError

if TYPE_CHECKING:  # the import takes seconds: only a run of a suite pays for it
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation


@dataclass(frozen=True)
class Check:
    """An expectation and what its failure means.

    Attributes:
        name: in words, what is wrong where it fails: the reason a row is refused for.
        level: ``row`` refuses the unexpected rows and fails if their share is above the limit that the expectation's
            ``mostly`` leaves; ``dataset`` fails as a whole.
        expectation: of Great Expectations.
    """

    name: str
    level: Literal["row", "dataset"]
    expectation: "Expectation"


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        suite: name of the suite.
        check: name of the check.
        level: of the check.
        expectation: type of the expectation, e.g. ``expect_column_values_to_be_null``.
        column: the column it looked at, None for the whole table.
        success: whether the expectation holds, up to its limit.
        observed: what was found: a number, a list, or the first unexpected values.
        unexpected_count: rows that do not fit, None where rows are not counted.
        unexpected_fraction: their share of the rows looked at.
        limit: the largest allowed share.
        rows: positions of those rows.
        broken: why the expectation itself could not be evaluated; None if it was.
    """

    suite: str
    check: str
    level: str
    expectation: str
    column: str | None
    success: bool
    observed: Any
    unexpected_count: int | None
    unexpected_fraction: float | None
    limit: float | None
    rows: tuple[int, ...] = field(repr=False)
    broken: str | None

    def summary(self) -> dict[str, Any]:
        """The outcome as plain JSON values, without the rows' positions."""
        return {name: value for name, value in vars(self).items() if name != "rows"}

    def message(self) -> str:
        """One line for people: what failed, where, by how much."""
        where = f"{self.suite}: {self.check}" + (f" ({self.column})" if self.column else "")
        if self.broken:
            return f"{where}: the check itself broke: {self.broken}"
        if self.unexpected_count:
            share = f"{self.unexpected_count:,} unexpected, {self.unexpected_fraction:.2%}, allowed {self.limit:.2%}"
            return f"{where}: {share}; found {self.observed}"
        return f"{where}: found {self.observed}"


class BrokenExpectationError(EvergreenError):
    """A check could not be evaluated: a defect of the check, not of the data."""


@dataclass(frozen=True)
class SuiteRun:
    """The outcomes of a suite in the order of its checks, and Great Expectations' own result for the Data Docs."""

    name: str
    outcomes: tuple[Outcome, ...]
    result: "ExpectationSuiteValidationResult"


def run_suite(name: str, checks: Sequence[Check], frame: pd.DataFrame) -> SuiteRun:
    """Validate a frame in an ephemeral context: nothing is written, nothing is sent, no progress bars.

    Args:
        name: of the suite.
        checks: what to check.
        frame: the rows; its index is replaced by their positions.
    """
    import great_expectations as gx
    from great_expectations.data_context.types import base

    context = gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            # without this argument every context leaves a folder in the system's temporary one
            store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=base.ProgressBarsConfig(globally=False),
        ),
    )
    asset = context.data_sources.add_pandas("evergreen").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame.reset_index(drop=True)})
    for number, check in enumerate(checks):
        check.expectation.meta = {"number": number}
    suite = gx.ExpectationSuite(name, expectations=[check.expectation for check in checks])
    result = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    found = {number_of(single): single for single in result.results}
    return SuiteRun(name, tuple(_outcome(name, check, found[n]) for n, check in enumerate(checks)), result)


def number_of(single: "ExpectationValidationResult") -> int:
    """The position of a result's check in its suite: results come in an order of their own."""
    assert single.expectation_config is not None
    return int(single.expectation_config.meta["number"])


def _outcome(suite: str, check: Check, single: Any) -> Outcome:
    kwargs, result = single.expectation_config.kwargs, single.result
    count = result.get("unexpected_count")
    share = result.get("unexpected_percent")
    observed = result.get("observed_value", result.get("partial_unexpected_list"))
    return Outcome(
        suite=suite,
        check=check.name,
        level=check.level,
        expectation=single.expectation_config.type,
        column=kwargs.get("column"),
        success=bool(single.success),
        observed=plain(observed[:5] if isinstance(observed, list) and count is not None else observed),
        unexpected_count=None if count is None else int(count),
        unexpected_fraction=None if share is None else round(float(share) / 100, 12),
        limit=None if count is None else round(1 - float(kwargs.get("mostly", 1)), 12),
        rows=tuple(int(row) for row in result.get("unexpected_index_list") or ()),
        broken=_broken(single.exception_info),
    )


def _broken(info: dict[str, Any]) -> str | None:
    """Why an expectation could not be evaluated, e.g. a column that is not there; None if it was evaluated.

    Great Expectations reports the exception itself or, if metrics failed, one for each metric under its name.
    """
    entries = [info] if "raised_exception" in info else list(info.values())
    raised = [str(entry["exception_message"]) for entry in entries if entry["raised_exception"]]
    return "; ".join(dict.fromkeys(raised)) or None


def plain(value: Any) -> Any:
    """A value as JSON knows it: finite numbers, strings, lists; times and everything else as text.

    >>> import numpy as np
    >>> plain([np.float64(0.5), None, pd.Timestamp("2026-01-01", tz="UTC")])
    [0.5, None, '2026-01-01 00:00:00+00:00']
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
