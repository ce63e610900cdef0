"""The reasons of many decisions in one drawing: a dot a decision and feature, a swarm a feature."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from evergreen.report.svg import PAINT, drawing, to_svg
from evergreen.retail.explained_run import SHAP

SHADES = ("#0072b2", "#6b93ab", "#8d8d8d", "#b97b4a", "#d55e00")
"""Low to high values of a feature: blue to vermilion of Okabe & Ito's palette, over grey."""
COLUMNS = 120
"""Columns in which dots are stacked, over the width of the drawing."""
HALF = 0.42
"""How far the thickest swarm reaches from its line, in lines."""


def beeswarm(decisions: pd.DataFrame, labels: Mapping[str, str], name: str, title: str, description: str) -> Markup:
    """Draw the Shapley values of decisions, the most important feature on top.

    Args:
        decisions: the features, and ``shap_`` + each of them.
        labels: by feature.
        name: of the drawing on the page.
        title: above it.
        description: for readers who do not see it.
    """
    values = decisions[[f"{SHAP}{feature}" for feature in labels]].to_numpy(np.float64)
    order = np.argsort(np.abs(values).mean(axis=0), kind="stable")
    width = float(np.abs(values).max(initial=1e-9))
    features = list(labels)
    with drawing(520, 70 + 30 * len(features)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=PAINT["muted"], linewidth=1)
        for line, column in enumerate(order.tolist()):
            known = decisions[features[column]].to_numpy(np.float64)
            _swarm(axes, values[:, column], shades(known), line, width)
        axes.set_yticks(range(len(features)), [labels[features[column]] for column in order.tolist()])
        axes.set_ylim(-0.6, len(features) - 0.4)
        axes.set_xlabel("moves the risk by")
        axes.set_title(title)
        axes.grid(axis="y", visible=False)
        axes.tick_params(length=0)
        return to_svg(figure, name, description)


def _swarm(axes: Axes, values: NDArray[np.float64], shade: NDArray[np.int64], line: int, width: float) -> None:
    places = line + offsets(values, width)
    for number, colour in enumerate(SHADES):
        chosen = shade == number
        if chosen.any():
            axes.plot(
                values[chosen], places[chosen], "o", color=to_hex(colour), markersize=2.6, markeredgewidth=0, alpha=0.75
            )


def offsets(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """How far each dot is moved off its line so that near ones do not cover each other, within ±:data:`HALF`.

    Args:
        values: (n,) along the line.
        width: the largest absolute value of the drawing.
    """
    column = np.round(values / width * COLUMNS / 2).astype(np.int64)
    order = np.lexsort((values, column))
    starts = np.flatnonzero(np.append(True, np.diff(column[order]) != 0))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    side = np.where(place % 2, 1, -1) * ((place + 1) // 2)
    deepest = max(1, int(np.abs(side).max(initial=1)))
    moved = np.empty(len(values))
    moved[order] = side * min(HALF / deepest, HALF / 6)
    return moved


def shades(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """A shade for each value by its rank among all, equal values alike: 0 the lowest, (n,)."""
    if not len(values):
        return np.zeros(0, np.int64)
    ranked = np.sort(values)
    middle = (np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")) / (2 * len(values))
    return np.minimum((middle * len(SHADES)).astype(np.int64), len(SHADES) - 1)
