"""The drawings of the churn report over time: scores, leads, class balance, calibration, ranks of the features."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from evergreen.report.retail_scores import Calibration, DailyCurve
from evergreen.report.svg import PAINT, SERIES, drawing, to_svg
from evergreen.report.time_axis import date_axis, moment

EPOCH = date(1970, 1, 1)
DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
BLUE = (0, 114, 178)
"""Of Okabe & Ito's palette, as in the other heat maps of the reports."""
MOST_NUMBERED = 30
"""Drifts that carry their number in a drawing."""

Mark = tuple[str, bool]
"""A drift: its day, and whether a new model took over."""


def over_time(
    name: str, curves: Mapping[str, DailyCurve], main: str | None, drifts: Sequence[Mark], label: str, description: str
) -> Markup:
    """Draw a line a model over the days, with the drifts.

    Args:
        name: of the drawing on the page.
        curves: by model; empty ones are left out.
        main: the model to stand out.
        drifts: to be marked.
        label: of the y axis.
        description: for readers who do not see the drawing.
    """
    names = sorted((model for model in curves if len(curves[model].days)), key=lambda model: (model == main, model))
    with drawing(1060, 320) as figure:
        axes = figure.subplots()
        for number, model in enumerate(names):
            own = model == main
            axes.plot(
                _moments(curves[model]), curves[model].values, label=model,
                color=PAINT["accent" if own else f"series-{number % SERIES}"], linewidth=2.2 if own else 1.3,
                linestyle="-" if own else DASHES[number % len(DASHES)],
            )  # fmt: skip
        if main not in names:  # leads: above the line the main model is better
            axes.axhline(0, color=PAINT["muted"], linewidth=1)
        _mark(axes, drifts)
        axes.set_ylabel(label)
        _tidy(axes)
        axes.legend(ncol=6, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1.2)
        return to_svg(figure, name, description)


def class_balance(curve: DailyCurve, drifts: Sequence[Mark], description: str) -> Markup:
    """Draw the share of churn among the labels that became known, over the days."""
    with drawing(1060, 200) as figure:
        axes = figure.subplots()
        axes.fill_between(_moments(curve), curve.values, color=PAINT["accent"], alpha=0.25, linewidth=0)
        axes.plot(_moments(curve), curve.values, color=PAINT["accent"])
        _mark(axes, drifts)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylabel("churned")
        _tidy(axes)
        return to_svg(figure, "class-balance", description)


def calibration(found: Mapping[str, Calibration], main: str | None, description: str) -> Markup:
    """Draw the share of churn against the score, a line a model."""
    names = sorted(found, key=lambda model: (model == main, model))
    with drawing(760, 430) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=PAINT["muted"], linewidth=1, linestyle=(0, (4, 3)))
        for number, model in enumerate(names):
            own, each = model == main, found[model]
            axes.plot(
                each.score, each.churned, "o-", label=f"{model} ({each.error:.3f})", markersize=4.5 if own else 3,
                color=PAINT["accent" if own else f"series-{number % SERIES}"], linewidth=2 if own else 1.1,
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("score")
        axes.set_ylabel("churned")
        axes.tick_params(length=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
        return to_svg(figure, "calibration", description)


def rank_map(ranks: pd.DataFrame, labels: Mapping[str, str], drifts: Sequence[Mark], description: str) -> Markup:
    """Draw the rank of each feature's importance by day: the darker, the more important.

    Args:
        ranks: day, feature, rank.
        labels: by feature, in the order of the rows.
        drifts: to be marked.
        description: for readers who do not see the drawing.
    """
    table = ranks.pivot(index="feature", columns="day", values="rank").reindex(list(labels))
    days = pd.date_range(table.columns.min(), table.columns.max(), freq="D")
    table = table.reindex(columns=days)  # days without decisions stay blank
    pixels = np.zeros((*table.shape, 4), np.uint8)
    pixels[..., :3] = BLUE
    strength = (len(table) - table.to_numpy(np.float64)) / max(1, len(table) - 1)
    pixels[..., 3] = np.round(255 * np.nan_to_num(strength))
    with drawing(1060, 70 + 24 * len(table)) as figure:
        axes = figure.subplots()
        edges = (moment(days[0]), moment(days[-1]) + 1)
        axes.imshow(pixels, aspect="auto", interpolation="none", extent=(*edges, len(table) - 0.5, -0.5))
        axes.set_yticks(range(len(table)), list(labels.values()))
        _mark(axes, drifts)
        date_axis(axes, 4, 12)
        axes.set_xlim(*edges)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        return to_svg(figure, "ranks", description)


def _moments(curve: DailyCurve) -> list[float]:
    return [moment((EPOCH + timedelta(days=day)).isoformat()) for day in curve.days.tolist()]


def _mark(axes: Axes, drifts: Sequence[Mark]) -> None:
    """A numbered line at each drift: whole where a new model took over, broken where the old one stayed."""
    for number, (day, promoted) in enumerate(drifts, start=1):
        style: Any = "-" if promoted else (0, (2, 2))
        axes.axvline(moment(day), color=PAINT["alarm"], linewidth=1, linestyle=style, alpha=0.85)
        if len(drifts) <= MOST_NUMBERED:
            axes.annotate(
                str(number), (moment(day), 1), (0, -1), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", va="top", color=PAINT["alarm"], fontweight="bold", fontsize=8,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": PAINT["surface"], "edgecolor": "none"},
            )  # fmt: skip


def _tidy(axes: Axes) -> None:
    date_axis(axes, 4, 12)
    axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x", visible=False)
    axes.tick_params(length=0)
