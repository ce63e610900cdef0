"""Step `discovery`: for each drift, the process before it, the process after it, and what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_atomically, write_json
from evergreen.process.activity_scores import Answers, f_by_activity, read_answers
from evergreen.process.compare_graphs import APPEARED, VANISHED, CompareConfig, changed, compare
from evergreen.process.directly_follows import Codes, Transitions, transitions
from evergreen.progress import track

COLUMNS = ["event_index", "case_id", "activity", "timestamp"]
IDENTITY = ("event_index", "timestamp")
"""What a comparison repeats of its drift."""


class DiscoveryConfig(CompareConfig):
    """How much of the stream is compared, and when a difference counts."""

    cases: int = Field(default=300, ge=1)
    """Different cases in the stretch on each side of a drift; fewer where another drift is nearer."""
    model: str | None = None
    """Whose drifts are explained, and whose answers tell how well each activity was foreseen; None: the run's own."""


@dataclass(frozen=True)
class Log:
    """An event log as codes, in the order of the stream.

    Attributes:
        event_index: (N,) row of the input file.
        case: (N,) code of the case.
        micros: (N,) moments, microseconds since 1970 (UTC).
        steps: its transitions.
    """

    event_index: Codes
    case: Codes
    micros: Codes
    steps: Transitions


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Compare the process before and after each drift.

    Reads ``data/process/events.parquet``, ``drifts.json`` (of entries that name a model only those of the one in
    question) and, where they are there, ``metrics.json`` and ``predictions.parquet``. Writes the folder
    ``data/process/discovery``: ``drifts.json``, a list of what was compared, and for each its ``<number>.json``;
    numbers are places in the list of drifts.

    Raises:
        BadInputError: a file is missing or a drift is not of this log.
    """
    config = DiscoveryConfig.read(params.get("discovery", {}), "params.yaml: process.discovery")
    events = _needed(workspace / "data" / "process" / "events.parquet", "ingest")
    drifts = read_json(_needed(workspace / "drifts.json", "online"))
    metrics = workspace / "metrics.json"
    model = config.model or shown_model(read_json(metrics) if metrics.is_file() else {}) or ""
    numbers = drifts_of(drifts, model)
    folder = workspace / "data" / "process" / "discovery"
    chosen = [drifts[number] for number in numbers]
    found = compare_drifts(workspace / "predictions.parquet", model, read_log(events), chosen, config) if chosen else []

    def write(part: Path) -> None:
        part.mkdir(parents=True)
        for number, record in zip(numbers, found, strict=True):
            write_json(part / f"{number}.json", record)
        listed = [
            {"number": number, **{key: record[key] for key in IDENTITY}, "file": f"{number}.json", **summarise(record)}
            for number, record in zip(numbers, found, strict=True)
        ]
        write_json(part / "drifts.json", listed)

    write_atomically(folder, write)


def compare_drifts(
    ledger: Path, model: str, log: Log, drifts: Sequence[dict[str, Any]], config: DiscoveryConfig
) -> list[dict[str, Any]]:
    """Compare the process before and after each of these drifts, and the answers of a model to it."""
    answers = read_answers(ledger, model, log.event_index, log.micros)
    places = change_places(log, drifts)
    bounds = sorted({0, len(log.case), *places})

    records = []
    with track("discovery", total=len(drifts), unit="drifts") as progress:
        for drift, place in zip(drifts, places, strict=True):
            identity = {key: drift.get(key) for key in IDENTITY}
            records.append({**identity, **explain(log, place, bounds, answers, config)})
            progress.advance()
    return records


def _needed(path: Path, step: str) -> Path:
    if not path.is_file():
        raise BadInputError(f"Discovery needs {path}, which the step {step!r} writes. Run `evergreen run process`.")
    return path


def shown_model(metrics: Mapping[str, Any]) -> str | None:
    """The model that a run is about: the one metrics.json says, else Evergreen's, else the best; None if none ran."""
    models = metrics.get("models", {})
    if not models:
        return None
    named = metrics.get("drifts", {}).get("model")
    if named in models:
        return str(named)
    best = max(models, key=lambda name: models[name].get("macro_f1") or 0.0)
    return "evergreen" if "evergreen" in models else str(best)


def drifts_of(drifts: Sequence[dict[str, Any]], model: str) -> list[int]:
    """Which of the drifts a model saw: those that name it, and those that name none."""
    return [number for number, drift in enumerate(drifts) if drift.get("model", model) == model]


def read_log(path: Path) -> Log:
    """Read the events and list their transitions."""
    table = pq.read_table(path, columns=COLUMNS, read_dictionary=["case_id", "activity"])
    case, _ = _codes(table["case_id"])
    activity, names = _codes(table["activity"])
    micros = table["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy().astype(np.int64)
    index = table["event_index"].to_numpy().astype(np.int64)
    return Log(index, case, micros, transitions(case, activity, micros / 1e6, names))


def _codes(column: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    merged = column.unify_dictionaries().combine_chunks()
    return merged.indices.to_numpy().astype(np.int64), merged.dictionary.to_pylist()


def change_places(log: Log, drifts: Sequence[dict[str, Any]]) -> list[int]:
    """Where in the stream the process changed, for each drift.

    That is the event at which the detector holds the change to have happened (``change_event_index``), where the
    record has one, else the event at which it raised the alarm.

    Raises:
        BadInputError: an event is not in the log.
    """
    wanted = np.array([drift.get("change_event_index", drift["event_index"]) for drift in drifts], np.int64)
    order = np.argsort(log.event_index, kind="stable")
    found = np.searchsorted(log.event_index[order], wanted)
    place = order[np.minimum(found, len(order) - 1)]
    if len(missing := wanted[log.event_index[place] != wanted]):
        raise BadInputError(
            f"drifts.json names event {missing[0]}, which events.parquet lacks: the two are of different runs. "
            "Run `evergreen run process` again."
        )
    return [int(value) for value in place]


def explain(
    log: Log, place: int, bounds: Sequence[int], answers: Answers | None, config: DiscoveryConfig
) -> dict[str, Any]:
    """Compare the stretches before and after a place in the stream.

    Args:
        log: the events.
        place: of the first event after the change.
        bounds: places that no stretch reaches across: the log's edges and all changes.
        answers: of a model, None if there is none.
        config: how far the stretches reach.
    """
    lowest = max((bound for bound in bounds if bound < place), default=place)
    highest = min((bound for bound in bounds if bound > place), default=place)
    first = place - _reach(log.case[lowest:place][::-1], config.cases)
    last = place + _reach(log.case[place:highest], config.cases)
    before, after = log.steps.between(first, place), log.steps.between(place, last)
    found: dict[str, Any] = {
        "before": _stretch(log, first, place),
        "after": _stretch(log, place, last),
        **compare(before, after, config),
    }
    scores = [f_by_activity(answers, low, high) for low, high in ((first, place), (place, last))]
    found["scores"] = [
        {
            "activity": name,
            **{f"{key}_{side}": value for side, score in zip(("before", "after"), scores, strict=True)
               for key, value in score.get(name, {"f1": None, "support": 0}).items()},
        }
        for name in sorted(set().union(*scores))
    ]  # fmt: skip
    return found


def _reach(case: Codes, cases: int) -> int:
    """How many of these events come before the one that begins the case number ``cases`` + 1."""
    firsts = np.sort(np.unique(case, return_index=True)[1])
    return int(firsts[cases]) if len(firsts) > cases else len(case)


def _stretch(log: Log, first: int, last: int) -> dict[str, Any]:
    if first == last:
        return {"events": 0, "cases": 0, "start": None, "end": None}
    start, end = (pd.Timestamp(int(log.micros[at]), unit="us", tz="UTC").isoformat() for at in (first, last - 1))
    return {"events": last - first, "cases": len(np.unique(log.case[first:last])), "start": start, "end": end}


def summarise(found: dict[str, Any]) -> dict[str, Any]:
    """How much of what changed, for lists of drifts."""
    directions = [edge["direction"] for edge in found["edges"] if changed(edge)]
    by_word = {
        word: [record["activity"] for record in found["activities"] if record["direction"] == word]
        for word in (APPEARED, VANISHED)
    }
    return {
        "cases_before": found["before"]["cases"],
        "cases_after": found["after"]["cases"],
        "edges": len(found["edges"]),
        "edges_changed": len(directions),
        "activities_appeared": by_word[APPEARED],
        "activities_vanished": by_word[VANISHED],
        "paces_changed": sum(edge["pace"] is not None for edge in found["edges"]),
    }
