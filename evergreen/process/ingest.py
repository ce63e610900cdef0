"""Step `ingest`: an event log → its usable events in the order of time, what was refused, and the log in figures."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from evergreen.errors import BadInputError
from evergreen.files import write_atomically, write_json
from evergreen.process.event_log import EVENT_SCHEMA, EventLog, collect
from evergreen.process.expectations import ValidateConfig
from evergreen.process.layout import ProcessLayout
from evergreen.process.log_source import LogReader, SourceConfig, open_log
from evergreen.process.log_table import log_table
from evergreen.process.quarantine import write_quarantine
from evergreen.process.stream import Rows
from evergreen.process.validate import judge, stop, write_result
from evergreen.progress import track

ROW_GROUP = 1 << 18


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Read the log, check it, and write events.parquet, the quarantine, the validation's result and metrics.

    Raises:
        BadInputError: a parameter does not fit, or the log cannot be read or is empty.
        StoppedError: a check of the log failed, or more rows are bad than the limits allow.
    """
    source = SourceConfig.read(params["source"], "params.yaml: process.source")
    config = ValidateConfig.read(params.get("validate", {}), "params.yaml: process.validate")
    mode = params.get("online", {}).get("mode", "default")
    layout = ProcessLayout(workspace)
    started = time.perf_counter()
    log = read_log(open_log(source, workspace))
    read_seconds = time.perf_counter() - started
    if not len(log):
        raise BadInputError(f"{source.log or source.table or source.topic} holds no event.")
    validation = judge(log, config, mode)
    write_result(layout, validation)
    write_quarantine(layout.quarantine, log, validation)
    stop(layout, validation)
    rows = in_time(log, validation.accepted)
    write_events(layout.events, log, rows)
    figures = log_table(log.case[rows], log.activity[rows], log.resource[rows], log.time_us[rows])
    counts = {"read": len(log), "accepted": len(rows), "quarantined": len(validation.refused)}
    write_json(layout.metrics / "ingest.json", {"mode": mode, **counts, "log": figures})
    seconds = {"read_seconds": read_seconds, "seconds": time.perf_counter() - started}
    write_json(layout.metrics / "ingest.timing.json", seconds)


def read_log(reader: LogReader) -> EventLog:
    """Read a log to its end."""
    with track("read log", total=reader.total, unit=reader.unit) as bar:
        done = 0

        def tell(now: int) -> None:
            nonlocal done
            bar.advance(now - done)
            done = now

        return collect(reader.batches(tell))


def in_time(log: EventLog, rows: Rows) -> Rows:
    """Rows in the order of their times; those of one time in the order of the file."""
    return rows[np.argsort(log.time_us[rows], kind="stable")]


def write_events(path: Path, log: EventLog, rows: Rows) -> None:
    """Write rows of a log as Parquet, a row group at a time."""

    def write(part: Path) -> None:
        with pq.ParquetWriter(part, EVENT_SCHEMA, compression="zstd") as writer:
            for start in range(0, len(rows), ROW_GROUP):
                writer.write_table(log.table(rows[start : start + ROW_GROUP]))

    write_atomically(path, write)
