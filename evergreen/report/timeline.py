"""The stream through time: its windows, what they are used for, and when they drifted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from evergreen.report.inputs import Record
from evergreen.report.svg import PAINT, drawing, to_svg
from evergreen.report.time_axis import date_axis, moment

CEILING = 12.0
"""−log10 p beyond which a point is drawn at the edge: 1e-12 and 1e-300 both mean no doubt."""
ROWS = 16
"""Tests in the heat map: those with the smallest p-value."""
NAMES = {"mmd": "all together (MMD)"}
HEAT = (213, 94, 0)
"""Vermilion of Okabe & Ito's palette: stands out on white and on black, whatever the reader's colour vision."""


def evidence(p_value: float | None) -> float | None:
    """−log10 p, cut at :data:`CEILING`."""
    if p_value is None:
        return None
    return min(CEILING, float(-np.log10(max(p_value, 10**-CEILING))))


def first_drift(drift: Sequence[Record]) -> Record | None:
    """The first window, in time order, that drifted."""
    return next((record for record in drift if record["drift"]), None)


def timeline(
    drift: Sequence[Record], training: set[str], alpha: float | None, noise_start: datetime | None, description: str
) -> Markup:
    """Draw every window: how strong the evidence of drift is, the statistic, and what the window is used for.

    Args:
        drift: the drift records in time order.
        training: ids of the windows that pretraining used.
        alpha: level of the decision, None if it is not known.
        noise_start: when a simulated stream turns noisy.
        description: for readers who do not see the drawing.
    """
    with drawing(1060, 410) as figure:
        top, middle, strip = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 1.6))
        _marks(top, drift, [evidence(record["p_value"]) for record in drift])
        _marks(middle, drift, [record["statistic"] for record in drift])
        if alpha is not None:
            top.axhline(-np.log10(alpha), color=PAINT["muted"], linewidth=1, linestyle=(0, (4, 3)))
            top.annotate(
                f"alarm level, p = {alpha:g}", (0, -np.log10(alpha)), (4, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", color=PAINT["muted"],
            )  # fmt: skip
        top.set_ylabel("evidence, −log₁₀ p")
        middle.set_ylabel("statistic")
        top.set_ylim(bottom=0)
        _events(top, drift, noise_start)
        top.legend(
            ncol=4, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, handletextpad=0.1, columnspacing=1
        )
        top.set_yticks(*_evidence_ticks(drift))
        _use(strip, drift, training, noise_start)
        date_axis(strip, 4, 12)
        for axes in (top, middle):
            axes.grid(axis="x", visible=False)
            axes.tick_params(length=0)
        figure.align_ylabels([top, middle])
        return to_svg(figure, "timeline", description)


KINDS = {
    "reference": ("s", "calm", "surface"),
    "no drift": ("o", "accent", "accent"),
    "drift": ("^", "alarm", "alarm"),
    "not tested": ("o", "calm", "surface"),
}
"""Marker, colour and face of a window: three ways to tell what was found in it."""


def _kind(record: Record) -> str:
    if record["drift"]:
        return "drift"
    if record["reference"]:
        return "reference"
    return "not tested" if record["p_value"] is None else "no drift"


def _middle(record: Record) -> float:
    return (moment(record["start"]) + moment(record["end"])) / 2


def _marks(axes: Axes, drift: Sequence[Record], values: Sequence[float | None]) -> None:
    """A stem with a head for each window; one without a value, because it was not tested, lies on the base line."""
    for kind, (marker, colour, face) in KINDS.items():
        chosen = [(_middle(r), value or 0.0) for r, value in zip(drift, values, strict=True) if _kind(r) == kind]
        if not chosen and kind == "not tested":
            continue
        x, y = [place[0] for place in chosen], [place[1] for place in chosen]
        axes.vlines(x, 0, y, color=PAINT[colour], linewidth=1.2, alpha=0.7)
        style: dict[str, Any] = {"color": PAINT[colour], "markerfacecolor": PAINT[face], "clip_on": False}
        (heads,) = axes.plot(x, y, marker, markersize=7 if kind == "drift" else 5.5, label=kind, **style)
        heads.set_in_layout(False)  # heads of no window would be a box at the drawing's corner


def _evidence_ticks(drift: Sequence[Record]) -> tuple[list[float], list[str]]:
    """Whole numbers on the axis of evidence; the ceiling says that it is one."""
    highest = max((evidence(record["p_value"]) or 0.0 for record in drift), default=0.0)
    step = 3 if highest > 6 else 1
    ticks = [float(tick) for tick in range(0, max(4, int(highest) + 1), step)]
    return ticks, [f"≥ {tick:.0f}" if tick >= CEILING else f"{tick:.0f}" for tick in ticks]


def _events(axes: Axes, drift: Sequence[Record], noise_start: datetime | None) -> None:
    """Lines where the noise is known to start and where drift was first reported, named above the plot."""
    found = first_drift(drift)
    if found is not None:
        x = _middle(found)
        top = evidence(found["p_value"]) or 0.0
        axes.annotate(
            f"first drift: {str(found['start'])[:10]}", (x, top), (-10, 0), textcoords="offset points",
            ha="right", va="center", color=PAINT["alarm"], fontweight="bold",
        )  # fmt: skip
    if noise_start is not None and drift and moment(noise_start) <= moment(drift[-1]["end"]):
        axes.axvline(moment(noise_start), color=PAINT["muted"], linewidth=1, linestyle=(0, (1, 2)))


def _use(axes: Axes, drift: Sequence[Record], training: set[str], noise_start: datetime | None) -> None:
    """A strip with a bar for each stretch of windows that serves as reference, trains the encoder, or is noisy."""
    reference = [r for r in drift if r["reference"]]
    trained = [r for r in drift if r["window_id"] in training]
    bars = [("reference", reference, "calm"), ("pretraining", trained, "accent")]
    axes.set_ylim(-0.6, 2.6)
    for row, (_, records, colour) in enumerate(bars):
        for record in records:
            start, end = moment(record["start"]), moment(record["end"])
            axes.barh(2 - row, end - start, left=start, height=0.62, color=PAINT[colour], linewidth=0)
    if noise_start is not None and drift and (end := moment(drift[-1]["end"])) > moment(noise_start):
        start = moment(noise_start)
        axes.barh(0, end - start, left=start, height=0.62, color=PAINT["alarm"], linewidth=0, alpha=0.75)
    axes.set_yticks([2, 1, 0], ["reference", "pretraining", "known noise"])
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def heat_map(drift: Sequence[Record], description: str) -> Markup | None:
    """Which tests see the drift: one row a test, one column a window, darker for smaller adjusted p-values.

    Returns:
        None if no window has tests.
    """
    names = list(dict.fromkeys(test["name"] for record in drift for test in record.get("tests", [])))
    if not names:
        return None
    values = np.zeros((len(names), len(drift)))
    for column, record in enumerate(drift):
        for test in record.get("tests", []):
            p_value = test["p_value"] if test.get("p_adjusted") is None else test["p_adjusted"]
            values[names.index(test["name"]), column] = evidence(p_value) or 0.0
    keep = sorted(np.argsort(-values.max(axis=1), kind="stable")[:ROWS])
    shown = values[keep]
    pixels = np.zeros((*shown.shape, 4), np.uint8)
    pixels[..., :3] = HEAT
    pixels[..., 3] = np.round(255 * np.clip(shown / 6, 0, 1))
    with drawing(1060, 90 + 22 * len(keep)) as figure:
        axes = figure.subplots()
        axes.imshow(pixels, aspect="auto", interpolation="none")
        axes.set_yticks(range(len(keep)), [NAMES.get(names[row], names[row].replace("_", " ")) for row in keep])
        step = max(1, -(-len(drift) // 14))
        axes.set_xticks(range(0, len(drift), step), [str(r["start"])[5:10] for r in drift[::step]])
        axes.set_xticks(np.arange(len(drift) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(keep) + 1) - 0.5, minor=True)
        axes.grid(visible=False)
        axes.grid(which="minor", color=PAINT["line"], linewidth=0.5)
        axes.tick_params(which="both", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return to_svg(figure, "tests", description)
