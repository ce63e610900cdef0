"""The curve of the process report: how good each model is over time, and when the process drifted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evergreen.report.process_scores import Curve
from evergreen.report.svg import PAINT, SERIES, drawing, to_svg

DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
MOST_NUMBERED = 40
"""Drifts that carry their number in the drawing."""


def f_over_time(
    curves: Mapping[str, Curve], main: str | None, drifts: Sequence[tuple[int, bool]], description: str
) -> Markup:
    """Draw macro-F in the sliding window, a line a model.

    Args:
        curves: by model; empty ones are left out.
        main: the model to stand out.
        drifts: for each, the number of events scored before it, and whether a new model took over.
        description: for readers who do not see the drawing.
    """
    names = sorted((name for name in curves if len(curves[name].scored)), key=lambda name: (name == main, name))
    with drawing(1060, 330) as figure:
        axes = figure.subplots()
        for number, name in enumerate(names):
            curve = curves[name]
            own = name == main
            axes.plot(
                curve.scored, curve.macro_f1, label=name, color=PAINT["accent" if own else f"series-{number % SERIES}"],
                linewidth=2.2 if own else 1.2, linestyle="-" if own else DASHES[number // SERIES % len(DASHES)],
                alpha=1 if own else 0.9,
            )  # fmt: skip
        for number, (place, promoted) in enumerate(drifts, start=1):
            if len(drifts) <= MOST_NUMBERED:
                axes.annotate(
                    str(number), (place, 1), (0, -1), xycoords=("data", "axes fraction"), textcoords="offset points",
                    ha="center", va="top", color=PAINT["alarm"], fontweight="bold", fontsize=8,
                    bbox={"boxstyle": "round,pad=0.15", "facecolor": PAINT["surface"], "edgecolor": "none"},
                )  # fmt: skip
            axes.axvline(
                place, color=PAINT["alarm"], linewidth=1, linestyle="-" if promoted else (0, (2, 2)), alpha=0.8
            )
        longest = max((curves[name] for name in names), key=lambda curve: int(curve.scored[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _tick(at, longest)))
        axes.set_xlabel("events scored, and when")
        axes.set_ylabel("macro-F")
        axes.set_ylim(0, min(1.0, 1.08 * max(float(curves[name].macro_f1.max()) for name in names) + 0.02))
        axes.set_xlim(0, int(longest.scored[-1]))
        axes.grid(axis="x", visible=False)
        axes.tick_params(length=0)
        axes.legend(ncol=6, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1.2)
        return to_svg(figure, "f-over-time", description)


def _tick(at: float, curve: Curve) -> str:
    if not 0 <= at <= curve.scored[-1]:
        return ""
    near = int(abs(curve.scored - at).argmin())
    day = datetime.fromtimestamp(int(curve.moment[near]) / 1e6, UTC)
    return f"{at:,.0f}\n{day:%Y-%m-%d}" if at >= curve.scored[0] else f"{at:,.0f}"
