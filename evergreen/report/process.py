"""Step `report`: one self-contained page about a run of the process pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from evergreen.config import Config
from evergreen.process.discovery import DiscoveryConfig
from evergreen.report import process_graph, process_scores, process_words, standings
from evergreen.report.change_words import DAY, changes, duration
from evergreen.report.drift_words import drift_row, took_over
from evergreen.report.page import render, write_page
from evergreen.report.parameters import as_yaml
from evergreen.report.process_figures import f_over_time
from evergreen.report.process_inputs import ProcessInputs, Record, read_process_inputs
from evergreen.report.process_scores import sliding


class ReportConfig(Config):
    """How much the page shows."""

    graphs: int = Field(default=20, ge=0)
    """Drifts with drawn graphs: those with the most changes; of the others the changes are only listed."""
    changes: int = Field(default=12, ge=1)
    """Changes of a drift that are listed at once; the others are folded away."""
    confusion: int = Field(default=12, ge=2)
    """Activities in the confusion matrix, the most frequent ones."""


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Write ``report.html`` from what the earlier steps left.

    Raises:
        BadInputError: metrics.json is missing or a parameter does not fit.
    """
    config = ReportConfig.read(params.get("report", {}), "params.yaml: process.report")
    write_page(workspace / "report.html", build(read_process_inputs(workspace, params), config))


def build(inputs: ProcessInputs, config: ReportConfig) -> str:
    """The page as HTML. The same inputs give the same text."""
    main = inputs.main
    answers = inputs.answers.get(main or "")
    others = {name: found for name, found in inputs.answers.items() if name != main}
    context = {
        "inputs": inputs,
        "config": config,
        "main": main,
        "mode": (inputs.ingest or {}).get("mode"),
        "summary": process_words.summary(inputs),
        "cards": process_words.cards(inputs),
        "models": model_rows(inputs),
        "activities": process_scores.by_activity(answers, others) if answers else [],
        "matrix": process_scores.mixups(answers, config.confusion) if answers else None,
        "drifts": drift_rows(inputs, config),
        "alpha": alpha(inputs.params),
        "log_table": process_words.log_table(inputs.ingest["log"]) if inputs.ingest else {},
        "parameters": as_yaml(inputs.params),
        **curve_section(inputs),
    }
    return render("process.html", context)


def curve_section(inputs: ProcessInputs) -> dict[str, Any]:
    """Macro-F over time with the drifts."""
    curves = {name: sliding(answers) for name, answers in inputs.answers.items()}
    if not any(len(curve.scored) for curve in curves.values()):
        return {"curve": None, "window": 0}
    longest = max(inputs.answers, key=lambda name: len(inputs.answers[name].label))
    moments = inputs.answers[longest].moment
    marks = [
        (int(np.searchsorted(moments, pd.Timestamp(drift["timestamp"]).value // 1000)), took_over(drift))
        for drift in inputs.drifts
        if drift.get("timestamp")
    ]
    window = curves[longest].window
    description = process_words.curve_alt(inputs, window)
    return {"curve": f_over_time(curves, inputs.main, marks, description), "window": window}


def model_rows(inputs: ProcessInputs) -> list[Record]:
    """The table of models."""
    rows = standings.model_rows(inputs.models, inputs.main, ("accuracy", "outcome_auc"), process_words.note)
    for row in rows:
        found = inputs.models[row["name"]]
        row["remaining"] = _days(found.get("remaining_time_mae"))
        row["naive"] = _days(found["remaining_time_mae_naive"]) if found.get("remaining_time_mae_naive") else ""
    return rows


def _days(days: float | None) -> str:
    return duration(None if days is None else days * DAY)


def drift_rows(inputs: ProcessInputs, config: ReportConfig) -> list[Record]:
    """Every drift: what the detector said, what was done, and what changed in the process."""
    moved = [len(_changed(found)) if found else -1 for found in inputs.discovery]
    drawn = set(sorted(range(len(moved)), key=lambda at: -moved[at])[: config.graphs])
    rows = []
    for number, (drift, found) in enumerate(zip(inputs.drifts, inputs.discovery, strict=True)):
        picture = process_graph.draw(found) if found and number in drawn else None
        rows.append(
            {
                **drift_row(number + 1, drift, drift.get("cost")),
                "when": drift.get("timestamp"),
                "event": drift.get("event_index"),
                "reason": drift.get("reason") or "",
                "found": found,
                "picture": picture,
                "changed": _changed(found) if found else [],
                "changes": changes(found) if found else [],
                "before": process_words.stretch(found["before"]) if found else "",
                "after": process_words.stretch(found["after"]) if found else "",
                "left_out": process_words.left_out(picture.hidden_edges, picture.hidden_activities) if picture else "",
            }
        )
    return rows


def _changed(found: Record) -> list[Record]:
    return [edge for edge in found["edges"] if edge["direction"] != "unchanged"]


def alpha(params: Mapping[str, Any]) -> float:
    """The false discovery rate of the comparisons."""
    return DiscoveryConfig.read(params.get("discovery", {}), "params.yaml: process.discovery").alpha
