"""The other drawings of the image report: loss curves, labels by day, the map, a large confusion matrix."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from evergreen.report.inputs import Record
from evergreen.report.scores import Confusion
from evergreen.report.spots import name_spots
from evergreen.report.svg import PAINT, SERIES, drawing, to_svg
from evergreen.report.time_axis import date_axis, moment

Style = dict[str, Any]

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
"""A shape for each series colour: classes differ in both."""
BLUE = (0, 114, 178)
"""Of Okabe & Ito's palette: legible on white and on black."""
FEW_DAYS = 5
"""Up to here every day has its date below it."""
LONGEST_NAME = 22
"""Characters of a class name in a drawing; the tables have it whole."""

CURVES = (
    ("loss", "NT-Xent loss", "falls as views of one image move together and others apart"),
    ("alignment", "Alignment", "squared distance between two views of one image: lower is better"),
    ("uniformity", "Uniformity", "how evenly the features fill the sphere: lower is better"),
    ("learning_rate", "Learning rate", "warm-up, then cosine"),
)


def curves(epochs: Sequence[Record]) -> list[tuple[Markup, str, str]]:
    """One small drawing for each quantity of the pretraining history: (drawing, title, what it means)."""
    drawn = []
    for key, title, meaning in CURVES:
        known = [(e["epoch"], e[key]) for e in epochs if e.get(key) is not None]
        if not known:
            continue
        x, y = zip(*known, strict=True)
        description = f"{title} by epoch: from {y[0]:.4g} in epoch {x[0]} to {y[-1]:.4g} in epoch {x[-1]}."
        with drawing(250, 165) as figure:
            axes = figure.subplots()
            few = len(x) <= 40
            axes.plot(x, y, "o-" if few else "-", color=PAINT["accent"], markersize=4)
            at_end = f"{y[-1]:.3g}".replace("-", "−")
            if key != "learning_rate":
                axes.annotate(at_end, (x[-1], y[-1]), (0, 7), textcoords="offset points", ha="right", fontweight="bold")
            axes.margins(y=0.18)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.set_xlabel("epoch")
            axes.grid(axis="x", visible=False)
            axes.tick_params(length=0)
            drawn.append((to_svg(figure, f"curve-{key.replace('_', '-')}", description), title, meaning))
    return drawn


def labels_by_day(days: pd.DataFrame, description: str) -> Markup:
    """Images of each day by what is known about their label, and the few known ones on a scale of their own.

    Args:
        days: as from :func:`evergreen.report.inputs.labels_by_day`.
        description: for readers who do not see the drawing.
    """
    layers = [
        ("known", "known", "accent"),
        ("gate", "for the gate only", "series-1"),
        ("hidden", "exists, hidden", "calm"),
        ("none", "no label", "line"),
    ]
    x = [moment(day) for day in days["day"]]
    with drawing(1060, 220) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        bottom = np.zeros(len(days))
        for key, name, colour in layers:
            height = days[key].to_numpy(float)
            if height.any():
                left.bar(x, height, 0.8, bottom, color=PAINT[colour], label=name, linewidth=0)
            bottom += height
        left.legend(ncol=4, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1)
        left.set_ylabel("images")
        right.bar(x, days["known"].to_numpy(float), 0.8, color=PAINT["accent"], linewidth=0)
        right.set_title("Known labels alone", fontsize=9)
        right.set_ylim(bottom=0, top=None if days["known"].any() else 1)
        for axes in (left, right):
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.grid(axis="x", visible=False)
            axes.tick_params(length=0)
            if len(x) <= FEW_DAYS:
                axes.set_xticks(x, [f"{day:%Y-%m-%d}" for day in days["day"]])
                continue
            date_axis(axes, 3, 8)
        return to_svg(figure, "labels", description)


def embedding_map(places: NDArray[np.float64], labels: Sequence[str | None], description: str) -> Markup:
    """Draw a map of images, their classes told apart by colour and shape.

    With more classes than colours the most frequent ones get one, the others share grey.

    Args:
        places: (N, 2).
        labels: N class names; None: no label.
        description: for readers who do not see the drawing.
    """
    with drawing(520, 560) as figure:
        axes = figure.subplots()
        _by_class(axes, places, labels)
        _frame(axes)
        return to_svg(figure, "map-classes", description)


def noise_map(places: NDArray[np.float64], noisy: NDArray[np.bool_], description: str) -> Markup:
    """Draw the same map with noisy images marked.

    Args:
        places: (N, 2).
        noisy: (N,) which images carry noise.
        description: for readers who do not see the drawing.
    """
    with drawing(520, 560) as figure:
        axes = figure.subplots()
        dots: Style = {"linestyle": "none", "markeredgewidth": 0, "markersize": 3, "alpha": 0.6}
        crosses: Style = {"linestyle": "none", "markersize": 4.5, "alpha": 0.9}
        axes.plot(*places[~noisy].T, "o", color=PAINT["calm"], label="clean", **dots)
        axes.plot(*places[noisy].T, "x", color=PAINT["alarm"], label="noisy", **crosses)
        axes.set_title("Clean and noisy images")
        axes.legend(ncol=2, loc="upper left", bbox_to_anchor=(0, 0), markerscale=1.6, handletextpad=0)
        _frame(axes)
        return to_svg(figure, "map-noise", description)


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)


def _by_class(axes: Axes, places: NDArray[np.float64], labels: Sequence[str | None]) -> None:
    counts = Counter(label for label in labels if label is not None)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    named = sorted(order) if len(order) <= SERIES else order[: SERIES - 1]
    owner = np.array([named.index(label) if label in named else -1 for label in labels], dtype=int)
    rest: Style = {"markersize": 2.6, "markeredgewidth": 0, "linestyle": "none", "alpha": 0.6}
    if (owner < 0).any():
        name = "other classes" if named else "no label"
        axes.plot(*places[owner < 0].T, "o", color=PAINT["calm"], label=name, **rest)
    for number, name in sorted(enumerate(named), key=lambda item: item[1]):
        style: Style = {**rest, "markersize": 3.8, "alpha": 0.8, "color": PAINT[f"series-{number}"]}
        axes.plot(*places[owner == number].T, MARKERS[number], label=f" {shorten(name)}", **style)
    short = [shorten(name) for name in named]
    spots = name_spots([places[owner == number] for number in range(len(named))], short) if named else []
    for name, (x, y) in zip(short, spots, strict=True):
        axes.text(
            x, y, name, ha="center", va="center", fontweight="bold", fontsize=8.5,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": PAINT["surface"], "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
    axes.set_title("Classes" if named else "Images")
    longest = max((len(name) for name in short), default=1)
    columns = max(1, min(5, 60 // (longest + 3)))
    axes.legend(
        ncol=columns, loc="upper left", bbox_to_anchor=(0, 0), markerscale=1.6, handletextpad=0, columnspacing=0.6
    )


def shorten(name: str) -> str:
    """Cut a long class name.

    >>> shorten("a very long-winded class name")
    'a very long-winded cl…'
    """
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def large_confusion(matrix: Confusion, description: str) -> Markup:
    """A confusion matrix of too many classes for a table of numbers: darker for a larger share of its row."""
    size = len(matrix.classes)
    pixels = np.zeros((size, size, 4), np.uint8)
    pixels[..., :3] = BLUE
    pixels[..., 3] = np.round(255 * np.sqrt(np.asarray(matrix.shares)))
    with drawing(640, 620) as figure:
        axes = figure.subplots()
        axes.imshow(pixels, interpolation="none")
        axes.set_xlabel("predicted class (number in the table of classes)")
        axes.set_ylabel("true class")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.grid(visible=False)
        axes.tick_params(length=0)
        return to_svg(figure, "confusion", description)
