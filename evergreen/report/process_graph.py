"""Two directly-follows graphs side by side, what changed between them in colour."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from markupsafe import Markup

from evergreen.process.compare_graphs import changed
from evergreen.report.acyclic_order import Edge
from evergreen.report.change_words import Record
from evergreen.report.graph_side import MARGIN, Side, node_size, wrap
from evergreen.report.layered_layout import lay_out

FLOW = 0.95
"""Share of all transitions that the edges drawn make up, at least, on either side."""
MOST_CHANGED = 40
"""Changed edges drawn; more than that and none of them is seen."""


@dataclass(frozen=True)
class Picture:
    """The two drawings, their size in pixels, and what was left out of them."""

    before: Markup
    after: Markup
    width: int
    height: int
    hidden_edges: int
    hidden_activities: tuple[str, ...]


def draw(found: Record) -> Picture | None:
    """Draw the graphs before and after a drift, every activity in the same place.

    Edges are drawn that changed (the largest differences first, up to :data:`MOST_CHANGED`), and the strongest others,
    until :data:`FLOW` of all transitions are shown.

    Args:
        found: a record that the step ``discovery`` wrote.

    Returns:
        None if there is no event on either side.
    """
    if not found["edges"]:
        return None
    edges = choose(found["edges"])
    named = sorted({name for edge in edges for name in (edge["source"], edge["target"]) if name is not None})
    number = {name: at for at, name in enumerate(named, start=1)}
    last = len(named) + 1
    lines = [[], *(wrap(name) for name in named), []]
    sizes = np.array([node_size(text, 0 < at < last) for at, text in enumerate(lines)])
    wired = [
        Edge(
            0 if edge["source"] is None else number[edge["source"]],
            last if edge["target"] is None else number[edge["target"]],
            max(edge["flow_before"], edge["flow_after"]),
        )
        for edge in edges
    ]
    layout = lay_out(sizes, wired, 0, last)
    records = {record["activity"]: record for record in found["activities"]}
    nodes = [None, *(records[name] for name in named), None]
    before, after = (Side(side, edges, wired, nodes, lines, sizes, layout).svg() for side in ("before", "after"))
    width, height = (round(edge + 2 * MARGIN) for edge in (layout.width, layout.height))
    hidden = tuple(sorted(set(records) - set(named)))
    return Picture(before, after, width, height, len(found["edges"]) - len(edges), hidden)


def standalone(picture: Picture) -> str:
    """Both drawings as one SVG file, in the light colours of the pages."""
    style = resources.files("evergreen.report").joinpath("style.css").read_text()
    light = re.findall(r"--[a-z0-9-]+: #[0-9a-f]{6};", style.split("}", 1)[0])
    halves = [
        str(drawing).replace(
            'class="drawing"', f'x="{at * picture.width}" width="{picture.width}" height="{picture.height}"'
        )
        for at, drawing in enumerate((picture.before, picture.after))
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * picture.width} {picture.height}" '
        f'width="{2 * picture.width}" height="{picture.height}" font-family="system-ui, sans-serif">\n'
        f"<style>:root {{ {' '.join(light)} }}</style>\n"
        '<rect width="100%" height="100%" fill="var(--surface)"/>\n' + "\n".join(halves) + "\n</svg>\n"
    )


def choose(edges: Sequence[Record]) -> list[Record]:
    """The edges to draw, in the order given."""
    kept = {at for at, edge in enumerate(edges) if changed(edge)}
    kept = set(sorted(kept, key=lambda at: -abs(edges[at]["flow_after"] - edges[at]["flow_before"]))[:MOST_CHANGED])
    for side in ("flow_before", "flow_after"):
        shown = sum(edges[at][side] for at in kept)
        total = sum(edge[side] for edge in edges)
        for at in sorted(range(len(edges)), key=lambda at: -edges[at][side]):
            if shown >= FLOW * total:
                break
            if at not in kept:
                kept.add(at)
                shown += edges[at][side]
    return [edges[at] for at in sorted(kept | _lifelines(edges, kept))]


def _lifelines(edges: Sequence[Record], kept: set[int]) -> set[int]:
    """For each activity with an edge the strongest one into it and the strongest one out of it, so that none floats.

    The same for the start and the end; what they are tied to is tied in turn.
    """
    flow = [edge["flow_before"] + edge["flow_after"] for edge in edges]
    best: dict[tuple[str, str | None], int] = {}
    for at in sorted(range(len(edges)), key=lambda at: flow[at]):
        if edges[at]["source"] != edges[at]["target"]:
            best["from", edges[at]["source"]] = best["to", edges[at]["target"]] = at
    tied: set[int] = set()
    while True:
        named = {edges[at][end] for at in kept | tied for end in ("source", "target")} | {None}
        found = {best[way, name] for way in ("from", "to") for name in named if (way, name) in best}
        if found <= tied:
            return tied
        tied |= found
