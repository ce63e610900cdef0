"""Step `ingest`: a source of receipts → receipts that may be used, quarantine, validation and the data table."""

import sys
import time
from pathlib import Path
from typing import Any, cast, get_args

from evergreen.errors import BadInputError
from evergreen.files import remove, write_atomically, write_json
from evergreen.progress import track
from evergreen.retail.columns import match_columns
from evergreen.retail.data_table import data_table
from evergreen.retail.ingest_config import LimitsConfig, SourceConfig
from evergreen.retail.lines import Lines, understand
from evergreen.retail.quarantine import write_quarantine
from evergreen.retail.raw_lines import RawLines
from evergreen.retail.receipt_source import read_source
from evergreen.retail.receipts import aggregate, write_receipts
from evergreen.retail.validate import Mode, Validation, validate
from evergreen.stream.validation_result import check_counts, facts_of, stop, write_result

FOLDER = Path("data/retail")
RECEIPTS = FOLDER / "receipts.parquet"
QUARANTINE = FOLDER / "quarantine" / "receipts.parquet"
VALIDATION = FOLDER / "validation"
METRICS = FOLDER / "metrics" / "ingest.json"
TIMING = FOLDER / "metrics" / "ingest.timing.json"
DOWNLOADS = FOLDER / "raw"

STEPS = 5


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Read, check and aggregate the receipts; without valid receipts, only quarantine and validation are written.

    Args:
        workspace: its folder.
        params: of the domain: ``source``, ``validate``, and ``mode`` of ``examples``.

    Raises:
        BadInputError: the source cannot be read, has no receipts or lacks a column, or a parameter does not fit.
        StoppedError: a check of the data set failed, or more lines are broken than the limits allow.
        BrokenExpectationError: a check could not be evaluated.
    """
    source = SourceConfig.read(params["source"], "params.yaml: retail.source")
    limits = LimitsConfig.read(params["validate"], "params.yaml: retail.validate")
    mode = _mode(params)
    started = time.perf_counter()
    for stale in (RECEIPTS, METRICS):
        remove(workspace / stale)
    with track("ingest", total=STEPS, unit="steps") as progress:
        raw = read_source(source, workspace / DOWNLOADS)
        seconds = {"read": time.perf_counter() - started}
        progress.advance()
        columns = match_columns([str(name) for name in raw.frame.columns], {**raw.known, **source.columns})
        if not len(raw.frame):
            raise BadInputError(f"{source.receipts} holds no receipts: it has a header and no lines.")
        lines = understand(raw, columns, source)
        progress.advance()
        validation = validate(lines, raw, limits, source.repair_dates, mode)
        progress.advance()
        _write(workspace, validation, raw)
        progress.advance()
        for warning in validation.warnings:
            print(f"Warning: {warning}", file=sys.stderr)
        _stop(workspace, validation)
        accepted = lines.frame[validation.reasons.isna()]
        receipts = aggregate(accepted)
        write_receipts(workspace / RECEIPTS, receipts)
        products = int(accepted["product_id"].nunique()) if lines.has_products else None
        report = _report(validation, lines, raw, columns) | {"data": data_table(receipts, products)}
        write_json(workspace / METRICS, report)
        progress.advance()
    seconds["all"] = time.perf_counter() - started
    write_json(workspace / TIMING, seconds)


def _mode(params: dict[str, Any]) -> Mode:
    mode = params.get("examples", {}).get("mode", "default")
    if mode not in get_args(Mode):
        raise BadInputError(
            f"params.yaml: retail.examples.mode is {mode!r}, expected one of {', '.join(get_args(Mode))}."
        )
    return cast(Mode, mode)


def _write(workspace: Path, validation: Validation, raw: RawLines) -> None:
    """Write result.json, Data Docs and quarantine, whatever the outcome."""
    summary = validation.summary()
    facts = facts_of(summary, "lines")
    facts |= {f"warning {number}": text for number, text in enumerate(summary["warnings"], 1)}

    def write(part: Path) -> None:
        write_result(part, "Validation of the receipts", validation.runs, summary, facts)

    write_atomically(workspace / VALIDATION, write)
    check_counts(summary, write_quarantine(workspace / QUARANTINE, raw, validation.reasons))


def _report(validation: Validation, lines: Lines, raw: RawLines, columns: dict[str, str]) -> dict[str, Any]:
    summary = validation.summary()
    counts = {name: summary[name] for name in ("rows_read", "rows_accepted", "rows_quarantined", "reasons", "warnings")}
    return {
        **counts,
        "source": raw.facts,
        "columns": columns,
        "dates": {"formats": lines.formats, **vars(lines.order), "swapped_back": lines.swapped_back},
        "currencies": list(lines.currencies),
    }


def _stop(workspace: Path, validation: Validation) -> None:
    advice = (
        "Mend the source and run again, or change the limits in params.yaml: retail.validate. "
        f"The refused lines are in {workspace / QUARANTINE}."
    )
    failed = validation.failed if validation.stopped else ()
    stop("stream", validation.broken, failed, workspace / VALIDATION, advice)
