"""Run the adaptation loop over a stream and keep what it did, so that a killed run goes on where it was.

A folder holds ``key.json`` (what the run is of), ``state.json``, a record and a table of predictions for each window.
A window's files are written first, the state that counts it last, each under a temporary name and renamed: whatever is
killed, the window is done or it is done again, with the same bytes.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.files import read_json, remove, sha256_json, write_atomically, write_json
from evergreen.progress import Progress
from evergreen.stream.loop import Loop, LoopState, Outcome

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("predicted_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("prediction", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("label_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""The columns of predictions.parquet."""


def replay(loop: Loop, start: LoopState, folder: Path, model_name: str, progress: Progress) -> list[dict[str, Any]]:
    """Process all windows that are left, or only those that an earlier, interrupted run of the same left.

    Args:
        loop: domain and configuration.
        start: where the stream begins for the model.
        folder: what the run leaves behind; the rest of another run in it is removed.
        model_name: the column ``model`` of the predictions.
        progress: told of every row.

    Returns:
        The windows' records, in order. ``predictions.parquet`` and ``timing.json`` (CPU seconds of each window) are in
        the folder.
    """
    names = [window.window_id for window in loop.domain.windows]
    identity = [start.to_json(), loop.config.model_dump(mode="json"), names[: start.processed]]
    state = _resume(folder, sha256_json(identity), start, names)
    numbers = range(start.processed, len(loop.domain.windows))
    progress.advance(sum(loop.domain.windows[number].rows for number in numbers if number < state.processed))
    used = time.process_time()
    for done, outcome in loop.run(state):
        number = done.processed - 1
        now = time.process_time()
        write_json(folder / "timing" / f"{number:05d}.json", {"cpu_seconds": now - used})
        used = now
        write_json(folder / "records" / f"{number:05d}.json", outcome.record)
        table = predictions_table(outcome, model_name)
        write_atomically(folder / "predictions" / f"{number:05d}.parquet", partial(pq.write_table, table))
        write_json(folder / "state.json", done.to_json())
        progress.advance(outcome.record["rows"], action=outcome.record["action"])
    parts = [pq.read_table(folder / "predictions" / f"{number:05d}.parquet") for number in numbers]
    whole = pa.concat_tables(parts) if parts else PREDICTIONS_SCHEMA.empty_table()
    write_atomically(folder / "predictions.parquet", lambda part: pq.write_table(whole, part))
    return [read_json(folder / "records" / f"{number:05d}.json") for number in numbers]


def final_state(folder: Path, start: LoopState) -> LoopState:
    """The state after the last window of a replay; the start where there was none."""
    path = folder / "state.json"
    return LoopState.from_json(read_json(path)) if path.is_file() else start


def cpu_seconds(folder: Path) -> float:
    """CPU seconds that a replay took, over all its interruptions."""
    return float(sum(read_json(path)["cpu_seconds"] for path in sorted((folder / "timing").glob("*.json"))))


def predictions_table(outcome: Outcome, model_name: str) -> pa.Table:
    """The answers of a window as rows of predictions.parquet; a label known on arrival is joined at that time."""
    answers = outcome.answers
    times = pa.array(answers.times, pa.timestamp("us", tz="UTC"))
    known = np.array([label is not None for label in answers.labels], dtype=bool)
    columns = [
        pa.array(answers.example_ids.tolist(), pa.string()),
        pa.array([model_name] * len(known), pa.string()),
        pa.array(outcome.models.tolist(), pa.string()),
        times,
        pa.array(answers.predictions.tolist(), pa.string()),
        pa.array(answers.scores, pa.float64()),
        pa.array(answers.labels.tolist(), pa.string()),
        pa.array(answers.times, pa.timestamp("us", tz="UTC"), mask=~known),
    ]
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)


def _resume(folder: Path, key: str, start: LoopState, names: list[str]) -> LoopState:
    """The state of an interrupted run of the same over the same windows; otherwise a clean folder and the start."""
    if (folder / "key.json").is_file() and read_json(folder / "key.json")["key"] == key:
        state = final_state(folder, start)
        done = [
            read_json(folder / "records" / f"{number:05d}.json")["window_id"]
            for number in range(start.processed, state.processed)
        ]
        if done == names[start.processed : state.processed]:  # a late record makes another window of its window
            return state
    remove(folder)
    write_json(folder / "key.json", {"key": key})
    return start
