"""What open cases do next: the next activity, the time that is left, and the outcome, as the champion sees them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.process.bundle import Champion
from evergreen.process.case_memory import CaseMemory
from evergreen.process.expectations import ValidateConfig
from evergreen.process.ingest import in_time, read_log
from evergreen.process.log_source import SourceConfig, open_log
from evergreen.process.validate import judge

AT_ONCE = 4_096
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
    rules = champion.facts["endings"]
    memory = CaseMemory(int(rules["timeout_us"]), rules["activities"], champion.window)
    last = _follow(events, memory)
    cases = memory.cases()
    parts = [
        _answers(cases[start : start + AT_ONCE], last, memory, champion, identity)
        for start in range(0, len(cases), AT_ONCE)
    ]
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


@dataclass(frozen=True)
class LastEvent:
    """Of a case: its row in the input, what it was, and when."""

    event_index: int
    activity: str
    time_us: int


def _follow(events: pa.Table, memory: CaseMemory) -> dict[str, LastEvent]:
    """Take events into the memory, in time; the last one of each case that is open."""
    last: dict[str, LastEvent] = {}
    times = events["timestamp"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    columns = (events["event_index"], events["case_id"], events["activity"], times, events["resource"])
    for index, case, activity, time_us, resource in zip(*(c.to_pylist() for c in columns), strict=True):
        last[case] = LastEvent(index, activity, time_us)
        for closed in memory.add(case, activity, time_us, resource):
            if closed.case_id not in memory:
                del last[closed.case_id]
    return last


def _answers(
    cases: list[str], last: dict[str, LastEvent], memory: CaseMemory, champion: Champion, identity: Identity
) -> pa.Table:
    said = champion.say(memory.window(cases, champion.activities, champion.resources, champion.window))
    names = pa.array(champion.names, pa.string())
    rows, at = [last[case] for case in cases], np.arange(len(cases))
    columns = {
        "case_id": cases,
        "event_index": [row.event_index for row in rows],
        "activity": [row.activity for row in rows],
        "timestamp": pa.array([row.time_us for row in rows], INSTANT),
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
