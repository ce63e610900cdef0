"""Step `validate`: the arrivals → rows that may be used, rows that are refused and why, or a stop."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.errors import BadInputError
from evergreen.files import remove, sha256_json, write_atomically, write_json
from evergreen.images.accepted import ACCEPTED_FILE, write_accepted
from evergreen.images.arrays import INDEX_FILE, INDEX_SCHEMA, FolderWriter, open_folder, read_index, to_table
from evergreen.images.days import day_folders, read_gone
from evergreen.images.expectations import SET_ASIDE, ValidateConfig, folder_suite, index_suite, statistics_suite
from evergreen.images.labels import known_classes
from evergreen.images.layout import ImageLayout
from evergreen.images.stream_rows import StreamRows, folder_rows, stream_rows
from evergreen.progress import track
from evergreen.stream.suites import SuiteRun, run_suite
from evergreen.stream.validation_result import check_counts, facts_of, stop, write_result

COPIED_AT_ONCE = 1024

QUARANTINE_SCHEMA = INDEX_SCHEMA.append(pa.field("reason", pa.string(), nullable=False))


@dataclass(frozen=True)
class Validation:
    """What came out.

    Attributes:
        runs: of the suites, in order; where a whole folder is unfit, the later ones are missing.
        rows: day, row, image_id and ``reason``, null where the row is accepted; one row for each that was read.
        failed: what stops the stream, a line each; empty if nothing does.
        broken: checks that could not be evaluated, a line each.
        whole: no check of the data set as a whole failed, so that rows can be told apart.
    """

    runs: tuple[SuiteRun, ...]
    rows: pd.DataFrame
    failed: tuple[str, ...]
    broken: tuple[str, ...]
    whole: bool

    def summary(self) -> dict[str, Any]:
        """The content of result.json: plain values and their hash."""
        refused = self.rows["reason"].dropna()
        result: dict[str, Any] = {
            "passed": not self.failed and not self.broken,
            "rows_read": len(self.rows),
            "rows_accepted": len(self.rows) - len(refused),
            "rows_quarantined": len(refused),
            "reasons": {str(reason): int(count) for reason, count in refused.value_counts().sort_index().items()},
            "expectations": [outcome.summary() for run in self.runs for outcome in run.outcomes],
            "failed": [*self.broken, *self.failed],
        }
        return {**result, "hash": sha256_json(result)}


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Check the arrivals; write result.json, Data Docs, quarantine and, if the stream may go on, accepted.parquet.

    Raises:
        BadInputError: there are no arrivals, or a parameter does not fit.
        StoppedError: a check of the data set failed, or more rows are bad than the limits allow.
        BrokenExpectationError: a check could not be evaluated.
    """
    config = ValidateConfig.read(params["validate"], "params.yaml: images.validate")
    layout, size = ImageLayout(workspace), int(params["ingest"]["image_size"])
    started = time.perf_counter()
    days = day_folders(layout.raw)
    if not days:
        raise BadInputError(f"There are no arrivals in {layout.raw}. Run `evergreen step images ingest` first.")
    tests = sorted(path for path in layout.test.glob("*") if path.is_dir())
    folders = run_suite("folders", folder_suite(size), folder_rows([*days, *tests]))
    rows, classes, reading, own = None, config.classes, 0.0, params["ingest"]["source"] == "folder"
    if folders.result.success:
        with track("validate", total=_count(days), unit="images") as progress:
            before = time.perf_counter()
            rows = stream_rows(days, tests, progress, read_gone(layout.raw) if own else None)
            reading = time.perf_counter() - before
        if classes is None and not own:
            classes = tuple(known_classes(read_index(test) for test in tests))
    validation = judge(folders, rows, classes, config)
    _write(layout, validation, size)
    seconds = time.perf_counter() - started
    timing = {"seconds": seconds, "great_expectations_seconds": seconds - reading}  # import, suites and Data Docs
    write_json(layout.metrics / "validate.timing.json", timing)
    _stop(layout, validation)


def judge(
    folders: SuiteRun, rows: StreamRows | None, classes: Sequence[str] | None, config: ValidateConfig
) -> Validation:
    """Check the images of a stream and conclude.

    Args:
        folders: what the suite of the array folders found.
        rows: the images; None if the folders are unfit to be read.
        classes: the class names there are; None if every tidy name is one.
        config: the limits.
    """
    if rows is None:
        return _conclude((folders,), pd.DataFrame(columns=["day", "row", "image_id", "reason"]), config)
    index = run_suite("index", index_suite(config, classes), rows.index)
    statistics = run_suite("statistics", statistics_suite(config), rows.statistics)
    return _conclude((folders, index, statistics), _verdicts(rows, (index, statistics)), config)


def _verdicts(rows: StreamRows, runs: Sequence[SuiteRun]) -> pd.DataFrame:
    """The rows with the reason of the first check that refuses them."""
    reasons = np.full(len(rows.index), None, dtype=object)
    for outcome in (outcome for run in runs for outcome in run.outcomes if outcome.level == "row"):
        positions = np.array(outcome.rows, dtype=np.int64)
        fresh = positions[pd.isna(reasons[positions])]
        reasons[fresh] = outcome.check
    return rows.index[["day", "row", "image_id"]].assign(reason=reasons)


def _conclude(runs: tuple[SuiteRun, ...], rows: pd.DataFrame, config: ValidateConfig) -> Validation:
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    broken = tuple(outcome.message() for outcome in outcomes if outcome.broken)
    failed = [outcome.message() for outcome in outcomes if not outcome.success and not outcome.broken]
    whole = all(outcome.success for outcome in outcomes if outcome.level == "dataset")
    current = rows[~rows["reason"].isin(SET_ASIDE)]
    refused = int(current["reason"].notna().sum())
    if whole and refused == len(current):
        failed.append("no image was accepted")
    elif refused > config.max_quarantined_fraction * len(current):
        share = f"{refused:,} of {len(current):,} rows ({refused / len(current):.2%})"
        failed.append(f"all suites: {share} refused, at most {config.max_quarantined_fraction:.2%} allowed")
    return Validation(runs, rows, tuple(failed), broken, whole)


def _count(days: Sequence[Path]) -> int:
    return sum(pq.read_metadata(day / INDEX_FILE).num_rows for day in days)


def _write(layout: ImageLayout, validation: Validation, size: int) -> None:
    summary = validation.summary()

    def write(part: Path) -> None:
        title = "Validation of the image stream"
        write_result(part, title, validation.runs, summary, facts_of(summary))
        if summary["passed"]:
            accepted = validation.rows[validation.rows["reason"].isna()]
            write_accepted(part / ACCEPTED_FILE, accepted)

    write_atomically(layout.validation, write)
    quarantine = layout.quarantine / "validate"
    remove(quarantine)
    if validation.whole:
        refused = validation.rows[validation.rows["reason"].notna()]
        written = write_quarantine(quarantine, layout.raw, refused, size)
        check_counts(summary, written)


def write_quarantine(path: Path, raw: Path, refused: pd.DataFrame, size: int) -> int:
    """Copy refused rows (day, row, reason) to an array folder whose index has their ``reason``; returns how many."""
    tables = [QUARANTINE_SCHEMA.empty_table()]

    def write(part: Path) -> None:
        with FolderWriter(part, size) as writer:
            for day, group in refused.groupby("day", sort=False):
                images, index = open_folder(raw / str(day))
                for start in range(0, len(group), COPIED_AT_ONCE):
                    piece = group.iloc[start : start + COPIED_AT_ONCE]
                    positions = piece["row"].to_numpy(dtype=np.int64)
                    rows = index.iloc[positions]
                    writer.append(images[positions], rows)
                    tables.append(to_table(rows.assign(reason=piece["reason"].to_numpy()), QUARANTINE_SCHEMA))
        pq.write_table(pa.concat_tables(tables), part / INDEX_FILE)

    write_atomically(path, write)
    return sum(len(table) for table in tables)


def _stop(layout: ImageLayout, validation: Validation) -> None:
    advice = (
        "Mend the source and run again, or change the limits in params.yaml: images.validate. "
        f"The refused rows are in {layout.quarantine / 'validate'}."
    )
    stop("stream", validation.broken, validation.failed, layout.validation, advice)
