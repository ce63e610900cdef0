"""A model's answers as rows of the prediction ledger."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.process.protocol import RunOutput
from evergreen.process.stream import EventStream
from evergreen.stream.predictions import PROCESS_SCHEMA

AT_ONCE = 200_000
"""Answers of a part of the ledger: as text they are many times larger than as numbers."""


def ledger_of(model: str, stream: EventStream, output: RunOutput, ahead: bool) -> Iterator[pa.Table]:
    """The answers of one run, their labels joined, in parts.

    Args:
        model: its name.
        stream: that it followed.
        output: what it said.
        ahead: whether it answered right after the event before in the case, or with all earlier events known.

    Yields:
        Rows of the ledger, n in all; ``event_index`` is null for closing events, which are no rows of the input.
    """
    for start in range(0, len(output.rows), AT_ONCE):
        yield _part(model, stream, output, slice(start, start + AT_ONCE), ahead)


def _part(model: str, stream: EventStream, output: RunOutput, part: slice, ahead: bool) -> pa.Table:
    rows = output.rows[part]
    before = stream.previous[rows]
    asked_at = np.maximum(before, stream.cut - 1) if ahead else rows - 1
    index = stream.event_index[rows]
    names = pa.array(stream.activities, pa.string())
    cases = pc.cast(stream.cases.take(pa.array(stream.case[rows])), pa.string())
    event = np.where(index >= 0, index, stream.event_index[before]).astype(str)
    kind = pa.array(np.where(index >= 0, "event", "end"))
    time = pa.timestamp("us", "UTC")
    columns = {
        "example_id": pc.binary_join_element_wise(cases, kind, pa.array(event), "/"),
        "model": pa.array([model] * len(rows), pa.string()),
        "model_version": pa.array(output.versions[part].astype(str)),
        "predicted_at": pa.array(stream.time_us[asked_at], time),
        "prediction": names.take(pa.array(output.predictions[part])),
        "score": pa.array(output.scores[part], pa.float64(), from_pandas=True),
        "label": names.take(pa.array(stream.activity[rows])),
        "label_at": pa.array(stream.time_us[rows], time),
        "event_index": pa.array(index, pa.int64(), mask=index < 0),
        "case_id": cases,
    }
    return pa.table(columns).cast(PROCESS_SCHEMA)
