"""Rows of an event log that were refused, with what stands in them and why."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evergreen.files import write_atomically
from evergreen.process.event_log import NO_TIME, EventLog
from evergreen.process.validate import Validation
from evergreen.stream.records import INSTANT

SCHEMA = pa.schema(
    [
        pa.field("event_index", pa.int64(), nullable=False),
        pa.field("case_id", pa.string()),
        pa.field("activity", pa.string()),
        pa.field("timestamp", pa.string()),
        pa.field("resource", pa.string()),
        pa.field("row_text", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""Times are text as the log gives them; ``row_text`` is the whole row where it could not be read."""


def write_quarantine(path: Path, log: EventLog, validation: Validation) -> None:
    """Write the refused rows of a log as Parquet."""
    rows = validation.refused
    names = log.names(rows)
    texts = pa.array([log.unread.get(int(row)) for row in rows], pa.string())
    malformed = pa.array(log.malformed[rows])
    known = pa.array(log.time_us[rows], mask=log.time_us[rows] == NO_TIME).cast(INSTANT).cast(pa.string())
    nothing = pa.scalar(None, pa.string())
    table = pa.table(
        [
            pa.array(rows),
            names["case_id"],
            names["activity"],
            pc.coalesce(known, pc.if_else(malformed, nothing, texts)),
            names["resource"],
            pc.if_else(malformed, texts, nothing),
            pa.array([validation.reasons[code] for code in validation.reason[rows]], pa.string()),
        ],
        schema=SCHEMA,
    )
    write_atomically(path, lambda part: pq.write_table(table, part))
