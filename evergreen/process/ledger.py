"""A model's answers as rows of the prediction ledger."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.process.protocol import RunOutput
from evergreen.process.stream import EventStream
from evergreen.stream.predictions import PROCESS_SCHEMA


def ledger_of(model: str, stream: EventStream, output: RunOutput, ahead: bool) -> pa.Table:
    """The answers of one run, their labels joined.

    Args:
        model: its name.
        stream: that it followed.
        output: what it said.
        ahead: whether it answered right after the event before in the case, or with all earlier events known.

    Returns:
        n rows; ``event_index`` is null for closing events, which are no rows of the input.
    """
    rows = output.rows
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
        "model_version": pa.array(output.versions.astype(str)),
        "predicted_at": pa.array(stream.time_us[asked_at], time),
        "prediction": names.take(pa.array(output.predictions)),
        "score": pa.array(output.scores, pa.float64(), from_pandas=True),
        "label": names.take(pa.array(stream.activity[rows])),
        "label_at": pa.array(stream.time_us[rows], time),
        "event_index": pa.array(index, pa.int64(), mask=index < 0),
        "case_id": cases,
    }
    return pa.table(columns).cast(PROCESS_SCHEMA)


def join(tables: list[pa.Table]) -> pa.Table:
    """The ledgers of several models, one after the other."""
    return pa.concat_tables(tables)
