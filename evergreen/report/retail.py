"""Step `report`: one self-contained page about a run of the retail pipeline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.report import retail_figures, retail_scores, retail_words, standings
from evergreen.report.beeswarm import SHADES, beeswarm
from evergreen.report.drift_words import drift_row, took_over
from evergreen.report.page import render, write_page
from evergreen.report.parameters import as_yaml
from evergreen.report.retail_inputs import Record, RetailInputs, read_retail_inputs
from evergreen.report.version_groups import VersionGroup, group_versions


class ReportConfig(Config):
    """How much the page shows."""

    swarms: int = Field(default=4, ge=0)
    """Groups of model versions with a drawing of their reasons, the first and the last ones among them."""
    swarm_decisions: int = Field(default=250, ge=1)
    """Decisions in such a drawing."""
    groups: int = Field(default=10, ge=1)
    """Groups that the model versions are put in; up to so many versions stay alone."""
    cards: int = Field(default=12, ge=0)
    """Drifts with a card on the page: the first ones."""


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Write ``report.html`` from what the earlier steps left.

    Raises:
        BadInputError: metrics.json is missing or a parameter does not fit.
    """
    config = ReportConfig.read(params.get("report", {}), "params.yaml: retail.report")
    write_page(workspace / "report.html", build(read_retail_inputs(workspace, params), config))


def build(inputs: RetailInputs, config: ReportConfig) -> str:
    """The page as HTML. The same inputs give the same text."""
    context = {
        "inputs": inputs,
        "config": config,
        "main": inputs.main,
        "mode": inputs.params.get("examples", {}).get("mode"),
        "summary": retail_words.summary(inputs),
        "cards": retail_words.cards(inputs),
        "models": model_rows(inputs),
        "views": view_rows(inputs),
        "drifts": drift_rows(inputs, config),
        "data_table": retail_words.data_table(inputs.ingest["data"]) if inputs.ingest else {},
        "examples_sentence": retail_words.examples_sentence(inputs.examples) if inputs.examples else "",
        "shades": SHADES,
        "window_days": retail_scores.WINDOW_DAYS,
        "parameters": as_yaml(inputs.params),
        **curve_section(inputs),
        **reasons_section(inputs, config),
    }
    return render("retail.html", context)


def curve_section(inputs: RetailInputs) -> dict[str, Any]:
    """Scores, leads, class balance and calibration."""
    main, marks = inputs.main, drift_marks(inputs)
    found: dict[str, Any] = {"curve": None, "leads": None, "balance": None, "calibration": None}
    if not any(tally.decided for tally in inputs.tallies.values()):
        return found
    recent = {name: retail_scores.windowed(tally) for name, tally in inputs.tallies.items()}
    found["curve"] = retail_figures.over_time(
        "f-over-time", recent, main, marks, "macro-F", retail_words.curve_alt(inputs, "Macro-F over the days")
    )
    overall = {name: retail_scores.cumulative(tally) for name, tally in inputs.tallies.items()}
    leads = {
        name: retail_scores.lead(overall[main], curve)
        for name, curve in overall.items()
        if main in overall and name != main
    }
    if any(len(curve.days) for curve in leads.values()):
        description = retail_words.curve_alt(inputs, f"How far {main} is ahead, over the days,")
        found["leads"] = retail_figures.over_time("leads", leads, None, marks, "ahead by, macro-F", description)
    balance = retail_scores.balance(inputs.tallies, 1)
    if len(balance.days):
        found["balance"] = retail_figures.class_balance(
            balance, marks, f"Share of churn among the labels of each day, {len(balance.days)} days."
        )
    tested = {name: retail_scores.calibration(tally) for name, tally in inputs.tallies.items()}
    known = {name: each for name, each in tested.items() if each is not None}
    if known:
        errors = ", ".join(f"{name} {each.error:.3f}" for name, each in known.items())
        found["calibration"] = retail_figures.calibration(known, main, f"Calibration. Mean distance: {errors}.")
    return found


def drift_marks(inputs: RetailInputs) -> list[retail_figures.Mark]:
    """The drifts' days and whether a new model took over."""
    return [(str(drift["day"])[:10], took_over(drift)) for drift in inputs.drifts if drift.get("day")]


def model_rows(inputs: RetailInputs) -> list[Record]:
    """The table of models."""
    also = ("f1_churn", "f1_non_churn", "auc")
    counts = inputs.metrics.get("drifts") or {}
    rows = standings.model_rows(inputs.models, inputs.main, also, retail_words.note)
    for row in rows:
        row["matured"] = (inputs.models[row["name"]].get("matured") or {}).get("macro_f1")
        row["drifts"] = counts.get(row["name"])
    return rows


def view_rows(inputs: RetailInputs) -> list[Record]:
    """Each model's macro-F in both views, and the gap, where metrics.json has both."""
    metrics = inputs.metrics
    other = (metrics.get("other_view") or {}).get("models", {})
    own_first = metrics.get("view") != "published"
    decided, published = (inputs.models, other) if own_first else (other, inputs.models)
    return [
        {
            "name": name,
            "decided": (decided[name].get("matured") or {}).get("macro_f1"),
            "published": published[name].get("macro_f1"),
            "gap": metrics["gap"][name],
        }
        for name in inputs.models
        if name in other and (metrics.get("gap") or {}).get(name) is not None
    ]


def reasons_section(inputs: RetailInputs, config: ReportConfig) -> dict[str, Any]:
    """Swarms and importances by version, and the ranks by day."""
    found: dict[str, Any] = {"swarms": [], "importances": None, "ranks": None}
    explained = inputs.explanations
    if explained is None or not len(explained.decisions):
        return found
    labels, groups = feature_labels(inputs), group_versions(explained.summary["versions"], config.groups)
    found["importances"] = importance_table(groups, labels)
    mean = explained.ranks.groupby("feature")["rank"].mean()
    rows = {name: labels[name] for name in sorted(labels, key=lambda name: float(mean[name]))}
    described = retail_words.ranks_alt(groups, labels)
    found["ranks"] = retail_figures.rank_map(explained.ranks, rows, drift_marks(inputs), described)
    versions = explained.decisions["model_version"].astype(int)
    for place in _evenly(len(groups), config.swarms):
        group = groups[place]
        taken = explained.decisions[versions.isin(group.versions)]
        shown = taken.iloc[_evenly(len(taken), config.swarm_decisions)]
        described = retail_words.swarm_alt(group, labels)
        title = f"{group.title[0].upper()}{group.title[1:]}"
        found["swarms"].append(beeswarm(shown, labels, f"swarm-{group.versions[0]}", title, described))
    return found


def _evenly(size: int, most: int) -> NDArray[np.int64]:
    """Places 0..size − 1, all or so many evenly spread ones with the first and the last."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))


def importance_table(groups: Sequence[VersionGroup], labels: Mapping[str, str]) -> Record:
    """Importances by feature (rows) and versions (columns), the most important first, as shares of the largest too."""
    mean = {name: float(np.mean([group.importance[name] for group in groups])) for name in labels}
    order = sorted(labels, key=lambda name: -mean[name])
    largest = max((group.importance[name] for group in groups for name in order), default=0.0) or 1.0
    cells = [[group.importance[name] for group in groups] for name in order]
    return {
        "groups": groups,
        "rows": [
            {"label": labels[name], "cells": [{"value": value, "share": value / largest} for value in row]}
            for name, row in zip(order, cells, strict=True)
        ],
    }


def feature_labels(inputs: RetailInputs) -> dict[str, str]:
    """A label for each explained feature."""
    names = inputs.explanations.summary["names"] if inputs.explanations else []
    periods = max((int(name.rsplit("_", 1)[1]) for name in names), default=1)
    days = int(inputs.params.get("examples", {}).get("period_days", 120))
    return {name: retail_words.feature_label(name, periods, days) for name in names}


def drift_rows(inputs: RetailInputs, config: ReportConfig) -> list[Record]:
    """Every drift: what the detector said, what was done, and its card."""
    labels = feature_labels(inputs)
    cards = list(inputs.explanations.cards) if inputs.explanations else []
    rows = []
    for number, drift in enumerate(inputs.drifts, start=1):
        card = next((each for each in cards if each["drift"] == drift), None) if number <= config.cards else None
        rows.append(
            {
                **drift_row(number, drift, drift.get("flops")),
                "day": drift.get("day"),
                "card": card and card_words(card, labels),
            }
        )
    return rows


def card_words(card: Record, labels: Mapping[str, str]) -> Record:
    """A drift card with its sentences."""
    return {
        "customers": retail_words.customers_sentence(card),
        "changes": retail_words.changes_sentence(card, labels) if card["features"] else "",
        "cohorts": retail_words.cohorts_sentence(card) if card["features"] else "",
        "worth": retail_words.worth_sentence(card),
        "features": [{**row, "label": labels.get(row["feature"], row["feature"])} for row in card["features"] or []],
        "versions": card["versions"],
        "importance": [
            {**row, "label": labels.get(row["feature"], row["feature"])} for row in (card["importance"] or [])
        ],
    }
