"""What open cases do next: the next activity, the time that is left, and the outcome, as the champion sees them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.process.bundle import Champion
from evergreen.process.endings import Endings, default_stream
from evergreen.process.evaluate import AT_ONCE, translated
from evergreen.process.expectations import ValidateConfig
from evergreen.process.ingest import in_time, read_log
from evergreen.process.log_source import SourceConfig, open_log
from evergreen.process.prefixes import LongPrefixes
from evergreen.process.stream import EventStream, Rows
from evergreen.process.validate import judge

INSTANT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("case_id", pa.string(), nullable=False),
        pa.field("event_index", pa.int64(), nullable=False),  # of the case's last event: its row in the input
        pa.field("activity", pa.string(), nullable=False),  # the last one
        pa.field("timestamp", INSTANT, nullable=False),
        pa.field("next_activity", pa.string(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("remaining_days", pa.float64(), nullable=False),
        pa.field("outcome", pa.string()),  # null where the model knows no outcome
        pa.field("outcome_probability", pa.float64()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("scored_at", INSTANT, nullable=False),
    ]
)
"""The columns of a score file, cases in the order of their last events."""


@dataclass(frozen=True)
class Identity:
    """Who answers, and when."""

    name: str
    version: str
    scored_at: datetime


def read_events_of(source: SourceConfig, workspace: Path) -> tuple[pa.Table, int]:
    """The events of a log that can be used, in time, and how many were read.

    Raises:
        BadInputError: the log cannot be read, or no event can be used.
    """
    log = read_log(open_log(source, workspace))
    accepted = judge(log, ValidateConfig(), "default").accepted if len(log) else np.zeros(0, np.int64)
    if not len(accepted):
        raise BadInputError(f"{source.log or source.table or source.topic} holds no event that can be used.")
    return log.table(in_time(log, accepted)), len(log)


def score_open_cases(events: pa.Table, champion: Champion, identity: Identity) -> pa.Table:
    """Answers for the cases of a log that are still open after its last event.

    A case is over after an end activity, or when it was silent for as long as the model was told.

    Args:
        events: as of events.parquet.
        champion: the model.
        identity: written beside every answer.

    Returns:
        A table of :data:`SCHEMA`.
    """
    stream = default_stream(events, endings_of(champion))
    rows = open_rows(stream)
    prefixes = LongPrefixes(stream, champion.window)
    parts = [
        _answers(stream, rows[start : start + AT_ONCE], prefixes, champion, identity)
        for start in range(0, len(rows), AT_ONCE)
    ]
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def endings_of(champion: Champion) -> Endings:
    """The rules that the model was made with."""
    found = champion.facts.get("endings")
    return Endings() if found is None else Endings.read(found, "config.json: endings")


def open_rows(stream: EventStream) -> Rows:
    """The last event of each case that is not over, in time."""
    last = np.flatnonzero(stream.next < 0)
    return last[stream.activity[last] != stream.end] if stream.end >= 0 else last


def _answers(
    stream: EventStream, rows: Rows, prefixes: LongPrefixes, champion: Champion, identity: Identity
) -> pa.Table:
    said = champion.say(translated(prefixes.at(rows), stream, champion))
    names = pa.array(champion.names, pa.string())
    at = np.arange(len(rows))
    columns = {
        "case_id": stream.cases.take(pa.array(stream.case[rows])).cast(pa.string()),
        "event_index": stream.event_index[rows],
        "activity": pa.array(stream.activities, pa.string()).take(pa.array(stream.activity[rows])),
        "timestamp": pa.array(stream.time_us[rows], INSTANT),
        "next_activity": names.take(pa.array(said.classes)),
        "probability": said.probabilities[at, said.classes].astype(np.float64),
        "remaining_days": np.maximum(said.remaining_days, 0.0),
        **_outcomes(said.outcome, champion),
        "model": [identity.name] * len(rows),
        "model_version": [identity.version] * len(rows),
        "scored_at": pa.array([identity.scored_at] * len(rows), INSTANT),
    }
    return pa.table(columns, schema=SCHEMA)


def _outcomes(probabilities: NDArray[np.float64], champion: Champion) -> dict[str, pa.Array]:
    """The most probable outcome of each case."""
    count = len(probabilities)
    if not champion.outcomes:
        return {"outcome": pa.nulls(count, pa.string()), "outcome_probability": pa.nulls(count, pa.float64())}
    best = probabilities.argmax(axis=1)
    codes = np.array(champion.outcomes)[best]
    return {
        "outcome": pa.array(champion.names, pa.string()).take(pa.array(codes)),
        "outcome_probability": pa.array(probabilities[np.arange(count), best].astype(np.float64)),
    }
