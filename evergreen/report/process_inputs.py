"""What the report of the process domain reads: the files of the earlier steps, those that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.process.discovery import drifts_of, shown_model
from evergreen.process.layout import ProcessLayout
from evergreen.report.run_files import read_if_there, read_needed

Record = dict[str, Any]

COLUMNS = ["event_index", "model", "prediction", "label", "label_at"]


@dataclass(frozen=True)
class ModelAnswers:
    """What a model answered about the next activity, where the truth is known, in the order of the stream.

    Attributes:
        classes: names of the activities, of all models alike.
        prediction: (N,) codes.
        label: (N,) codes.
        moment: (N,) when the truth was known, microseconds since 1970 (UTC), ascending.
    """

    classes: tuple[str, ...]
    prediction: NDArray[np.int64]
    label: NDArray[np.int64]
    moment: NDArray[np.int64]


@dataclass(frozen=True)
class ProcessInputs:
    """The results of a run.

    Attributes:
        params: of the process domain.
        ingest: counts and the log in figures; None if the step left none, and so for the next one.
        validation: result.json.
        models: metrics by name of the model.
        main: the model that the report is about, None if none ran.
        drifts: that it saw, in the order of the stream.
        discovery: for each drift what changed in the process; None where that was not asked.
        answers: by name of the model.
    """

    params: Mapping[str, Any]
    ingest: Record | None
    validation: Record | None
    models: Mapping[str, Record]
    main: str | None
    drifts: Sequence[Record]
    discovery: Sequence[Record | None]
    answers: Mapping[str, ModelAnswers]


def read_process_inputs(workspace: Path, params: Mapping[str, Any]) -> ProcessInputs:
    """Read what there is; only ``metrics.json`` must be there.

    Raises:
        BadInputError: metrics.json is missing.
    """
    layout = ProcessLayout(workspace)
    found = read_needed(workspace / "metrics.json", "online", "process")
    models, answers = found.get("models", {}), read_answers(workspace / "predictions.parquet")
    main = shown_model(found) or next(iter(answers), None)
    drifts = read_if_there(workspace / "drifts.json") or []
    numbers = drifts_of(drifts, main or "")
    return ProcessInputs(
        params=params,
        ingest=read_if_there(layout.metrics / "ingest.json"),
        validation=read_if_there(layout.validation / "result.json"),
        models=models,
        main=main,
        drifts=[drifts[number] for number in numbers],
        discovery=_discovery(layout.data / "discovery", drifts, numbers),
        answers=answers,
    )


def _discovery(folder: Path, drifts: Sequence[Record], numbers: Sequence[int]) -> list[Record | None]:
    """The comparison of each drift, if it is there and about the same event."""
    listed = {entry["number"]: entry for entry in read_if_there(folder / "drifts.json") or []}
    return [
        read_if_there(folder / listed[number]["file"])
        if number in listed and listed[number]["event_index"] == drifts[number]["event_index"]
        else None
        for number in numbers
    ]


def read_answers(path: Path) -> dict[str, ModelAnswers]:
    """Read the ledger: every model's answers whose truth is known."""
    if not path.is_file():
        return {}
    table = pq.read_table(path, columns=COLUMNS, read_dictionary=["model", "prediction", "label"]).to_pandas()
    table = table[table["label"].notna() & table["prediction"].notna()]
    classes = pd.Index(sorted({str(name) for column in ("label", "prediction") for name in table[column].unique()}))
    table["moment"] = pd.to_datetime(table["label_at"], utc=True).astype("datetime64[us, UTC]").astype("int64")
    answers = {}
    for name, rows in table.groupby("model", observed=True, sort=True):
        rows = rows.sort_values(["moment", "event_index"], kind="stable", na_position="last")
        codes = [classes.get_indexer(rows[column].astype(str)).astype(np.int64) for column in ("prediction", "label")]
        moment = rows["moment"].to_numpy(np.int64)
        answers[str(name)] = ModelAnswers(tuple(str(c) for c in classes), codes[0], codes[1], moment)
    return answers
