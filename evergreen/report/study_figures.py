"""The figures of sweeps and studies, as SVG and PNG files beside their tables."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from evergreen.files import read_json, write_atomically
from evergreen.report.backtest import COLOURS, MARKERS, STYLE

Row = dict[str, Any]


def draw_sweep(folder: Path, study: str) -> list[Path]:
    """Draw ``<study>.svg`` and ``.png`` from the ``<study>.json`` of a sweep; returns both paths."""
    result = read_json(folder / f"{study}.json")
    rows = [row for row in result["settings"] if row["f1"] is not None]
    if study == "augmentations":
        return save(folder / study, (7.5, 6.5), partial(heat_map, rows=rows))
    if study in ("temperature", "batch"):
        key = "batch_size" if study == "batch" else study
        return save(folder / study, (6.5, 4), partial(curve, rows=rows, key=key))
    return save(folder / study, (8, 1.2 + 0.3 * len(rows)), partial(bars, rows=rows))


def draw_label_efficiency(folder: Path) -> list[Path]:
    """Draw ``label-efficiency.svg`` and ``.png`` from label-efficiency.json."""
    result = read_json(folder / "label-efficiency.json")
    return save(folder / "label-efficiency", (7.5, 4.5), partial(efficiency, rows=result["points"]))


def save(path: Path, inches: tuple[float, float], paint: Callable[[Axes], None]) -> list[Path]:
    """Draw one pair of axes and write it as SVG and PNG, without dates: the same data give the same bytes."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure = Figure(figsize=inches)
        paint(figure.subplots())
        paths = []
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            paths.append(path.with_name(f"{path.name}.{suffix}"))
            write_atomically(paths[-1], partial(figure.savefig, format=suffix, dpi=150, metadata=metadata))
    return paths


def heat_map(axes: Axes, rows: Sequence[Row]) -> None:
    """F1 of pairs of operations, each one alone on the diagonal; the best has a frame."""
    pairs = {tuple(row["operations"].split("+")): 100 * row["f1"] for row in rows}
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    grid = np.full((len(names), len(names)), np.nan)
    for pair, value in pairs.items():
        first, second = names.index(pair[0]), names.index(pair[-1])
        grid[first, second] = grid[second, first] = value
    image = axes.imshow(grid, cmap="Blues")
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for (y, x), value in np.ndenumerate(grid):
        if not np.isnan(value):
            axes.text(x, y, f"{value:.1f}", ha="center", va="center", color="white" if value > middle else "black")
    for y, x in {tuple(place) for place in np.argwhere(grid == np.nanmax(grid)).tolist()}:
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#D55E00", lw=2.5))
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_title("F1 on validation labels, %; alone on the diagonal", loc="left")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def curve(axes: Axes, rows: Sequence[Row], key: str) -> None:
    """F1 over a setting on a logarithmic axis, with the spread over the seeds."""
    x = [row[key] for row in rows]
    spreads = [100 * (row["f1_sd"] or 0.0) for row in rows]
    axes.errorbar(x, [100 * row["f1"] for row in rows], spreads, marker="o", color=COLOURS[2], capsize=3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(x))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{value:g}" for value in x])
    axes.set_xlabel(key.replace("_", " "))
    axes.set_ylabel("F1 on validation labels, %")


def bars(axes: Axes, rows: Sequence[Row]) -> None:
    """F1 of each setting as a bar, in the table's order, with the spread over the seeds."""
    for place, row in enumerate(reversed(rows)):
        error = 100 * row["f1_sd"] if row["f1_sd"] is not None else None
        axes.barh(place, 100 * row["f1"], xerr=error, color=COLOURS[1], capsize=3)
        axes.text(1, place, f"{100 * row['f1']:.1f}", va="center", fontsize=9)
    names = [row["trial"].removeprefix("encoder ").replace("_", " ") for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel("F1 on validation labels, %")
    axes.grid(axis="y", visible=False)


def efficiency(axes: Axes, rows: Sequence[Row]) -> None:
    """Accuracy over the number of labels, a line for each way of learning, with the spread over the seeds."""
    for number, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        own = [row for row in rows if row["method"] == method]
        spreads = [100 * (row["accuracy_sd"] or 0.0) for row in own]
        axes.errorbar(
            [row["labels"] for row in own], [100 * row["accuracy"] for row in own], spreads,
            marker=MARKERS[number % len(MARKERS)], color=COLOURS[(number + 2) % len(COLOURS)], capsize=3,
            label=method.replace("_", " "),
        )  # fmt: skip
    ticks = sorted({row["labels"] for row in rows})
    share = {row["labels"]: row["label_fraction"] for row in rows}
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{labels:,}\n{percent(share[labels])}" for labels in ticks])
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on the test set, %")
    axes.legend()


def percent(share: float) -> str:
    """A share in percent, short enough to stand beside others.

    >>> [percent(share) for share in (0.00057, 0.0113, 0.1, 1.0)]
    ['0.057 %', '1.1 %', '10 %', '100 %']
    """
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
