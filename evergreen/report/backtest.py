"""The figure of a backtest: accuracy over time of each policy, and what it cost."""

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evergreen.files import read_json, write_atomically
from evergreen.report.time_axis import date_axis, moment

COLOURS = ("#555555", "#56B4E9", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
"""Okabe & Ito's palette: told apart whatever the reader's colour vision."""
MARKERS = "osD^vPX*"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "evergreen",
    "text.parse_math": False,
}


def draw(folder: Path) -> None:
    """Draw ``timeline.svg`` and ``timeline.png`` beside the backtest.json in ``folder``."""
    result = read_json(folder / "backtest.json")
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure = Figure(figsize=(11, 7))
        top, bottom = figure.subplots(2, 1, height_ratios=(3, 1.3))
        accuracy_over_time(top, result)
        cost(bottom, result)
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            write_atomically(
                folder / f"timeline.{suffix}",
                partial(figure.savefig, format=suffix, dpi=150, metadata=metadata),
            )


def accuracy_over_time(axes: Axes, result: dict[str, Any]) -> None:
    """A line for each policy; rings where a challenger took over; the windows that drifted are shaded."""
    for number, contender in enumerate(result["contenders"]):
        rows = [row for row in contender["windows"] if row["accuracy"] is not None]
        times = [moment(row["start"]) for row in rows]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        shares = [100 * row["accuracy"] for row in rows]
        # the first ones are wider: policies that did the same stay visible behind each other
        width = 1.5 + 1.1 * (len(result["contenders"]) - 1 - number)
        axes.plot(times, shares, color=colour, marker=marker, linewidth=width, markersize=5, label=contender["name"])
        promoted = [n for n, row in enumerate(rows) if row["action"] == "promoted"]
        axes.plot(
            [times[n] for n in promoted], [shares[n] for n in promoted],
            "o", markersize=13, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.5,
        )  # fmt: skip
    axes.plot(
        [],
        [],
        "o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor="#555555",
        label="challenger promoted after it",
    )
    windows = result["contenders"][0]["windows"] if result["contenders"] else []
    for row in windows:
        if row["drift"]:
            axes.axvspan(moment(row["start"]), moment(row["end"]), color="#D55E00", alpha=0.07, linewidth=0)
    axes.set_ylabel("accuracy of the answers given, %")
    axes.set_title("What each policy would have answered (shaded: the first champion's windows with drift)", loc="left")
    date_axis(axes, 3, 12)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def cost(axes: Axes, result: dict[str, Any]) -> None:
    """CPU seconds of adaptation for each policy, with how often it adapted and was promoted."""
    contenders = result["contenders"][::-1]
    for row, contender in enumerate(contenders):
        number = len(contenders) - 1 - row
        axes.barh(row, contender["cpu_seconds"], color=COLOURS[number % len(COLOURS)])
        told = f" {contender['adaptations']} adapted, {contender['promotions']} promoted"
        axes.text(contender["cpu_seconds"], row, told, va="center", fontsize=9)
    axes.set_yticks(range(len(contenders)), [contender["name"] for contender in contenders])
    axes.margins(x=0.25)
    axes.set_xlabel("CPU seconds spent on adaptation")
    axes.grid(axis="y", visible=False)
