"""Two directly-follows graphs side by side, what changed between them in colour."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from evergreen.process.compare_graphs import APPEARED, LESS, MORE, UNCHANGED, VANISHED, changed
from evergreen.report.layered_layout import Edge, Layout, Point, lay_out
from evergreen.report.page import percent, whole

Record = dict[str, Any]

FLOW = 0.95
"""Share of all transitions that the edges drawn make up, at least, on either side."""
MOST_CHANGED = 40
"""Changed edges drawn; more than that and none of them is seen."""
START, END = "▶", "■"
LINE, FONT, SMALL = 13.0, 11.0, 9.5
LETTER, CAPITAL = 0.63, 0.76
"""Widths of letters, on average, in a bold sans-serif font of size 1: wide ones, so that names fit on any machine."""
LONGEST_LINE, MOST_LINES = 17, 4
MARGIN = 30.0
ARROW = 7.0

COLOURS = {APPEARED: "accent", VANISHED: "alarm", MORE: "series-1", LESS: "series-5", UNCHANGED: "calm"}
DASHES = {VANISHED: (2.2, 1.1), LESS: (0.9, 0.9)}
"""Line and gap, in widths of the stroke."""
SIGNS = {APPEARED: "new ", MORE: "▲ ", LESS: "▼ "}


@dataclass(frozen=True)
class Picture:
    """The two drawings, and what was left out of them."""

    before: Markup
    after: Markup
    width: int
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
    activities = {record["activity"]: record for record in found["activities"]}
    named = {name for edge in edges for name in (edge["source"], edge["target"]) if name is not None}
    names = [START, *sorted(named), END]
    number = {name: at for at, name in enumerate(names)}
    lines = [[name] if name in (START, END) else wrap(name) for name in names]
    sizes = np.array([_size(text, name in (START, END)) for name, text in zip(names, lines, strict=True)])
    wired = [
        Edge(
            number[START if edge["source"] is None else edge["source"]],
            number[END if edge["target"] is None else edge["target"]],
            max(edge["flow_before"], edge["flow_after"]),
        )
        for edge in edges
    ]
    layout = lay_out(sizes, wired, 0, len(names) - 1)
    sides = [_Side(side, edges, wired, activities, names, lines, sizes, layout).svg() for side in ("before", "after")]
    hidden = tuple(sorted(set(activities) - named))
    return Picture(sides[0], sides[1], round(layout.width + 2 * MARGIN), len(found["edges"]) - len(edges), hidden)


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


def wrap(name: str) -> list[str]:
    """Break a name into short lines, between words where that is possible, and cut it where it is too long.

    >>> wrap("Declaration FINAL_APPROVED by SUPERVISOR")
    ['Declaration', 'FINAL_APPROVED by', 'SUPERVISOR']
    """
    words = [part for word in re.findall(r"\S+", name) for part in _pieces(word)]
    lines = [""]
    for word in words or [name]:
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= LONGEST_LINE:
            lines[-1] = joined
        else:
            lines.append(word)
    lines = [line for line in lines if line] or ["–"]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], lines[MOST_LINES - 1][: LONGEST_LINE - 1] + "…"]
    return lines


def _pieces(word: str) -> list[str]:
    """A word too long for a line, broken after - or _ or anywhere."""
    if len(word) <= LONGEST_LINE:
        return [word]
    cut = max(word.rfind(mark, 0, LONGEST_LINE) for mark in "-_") + 1 or LONGEST_LINE
    return [word[:cut], *_pieces(word[cut:])]


def _size(lines: Sequence[str], is_end: bool) -> tuple[float, float]:
    if is_end:
        return 24.0, 24.0
    return max(36.0, max(_width(line, FONT) for line in lines) + 14), len(lines) * LINE + LINE + 8


def _width(text: str, size: float) -> float:
    return size * sum(CAPITAL if letter.isupper() else LETTER for letter in text)


@dataclass(frozen=True)
class _Side:
    """One of the two drawings: ``before`` or ``after``."""

    side: str
    edges: Sequence[Record]
    wired: Sequence[Edge]
    activities: Mapping[str, Record]
    names: Sequence[str]
    lines: Sequence[Sequence[str]]
    sizes: NDArray[np.float64]
    layout: Layout

    def svg(self) -> Markup:
        strongest = max(max(edge["flow_before"], edge["flow_after"]) for edge in self.edges)
        order = sorted(range(len(self.edges)), key=lambda at: (changed(self.edges[at]), self.edges[at][self.side] > 0))
        parts = [self._edge(at, strongest) for at in order]
        parts += [self._node(at) for at in range(len(self.names))]
        parts += self._labels([at for at in reversed(order) if self.edges[at][self.side] or self._is_gone(at)])
        box = f"{-MARGIN:.0f} {-MARGIN:.0f} {self.layout.width + 2 * MARGIN:.0f} {self.layout.height + 2 * MARGIN:.0f}"
        width, height = (round(edge + 2 * MARGIN) for edge in (self.layout.width, self.layout.height))
        return Markup(
            f'<svg class="drawing" viewBox="{box}" role="img" aria-label="{escape(self._description())}" '
            f'style="--width: {width}px; --height: {height}px">' + "".join(filter(None, parts)) + "</svg>"
        )

    def _description(self) -> str:
        there = [edge for edge in self.edges if edge[self.side]]
        moved = sum(changed(edge) for edge in self.edges)
        return (
            f"Directly-follows graph {self.side} the drift: {whole(len(self.names) - 2)} activities, "
            f"{whole(len(there))} edges. {whole(moved)} edges changed; the list of changes names them."
        )

    def _is_gone(self, at: int) -> bool:
        return self.side == "after" and self.edges[at]["direction"] == VANISHED

    def _edge(self, at: int, strongest: float) -> str:
        edge = self.edges[at]
        there, direction = bool(edge[self.side]), edge["direction"]
        if not there and not changed(edge):
            return ""
        flow = edge[f"flow_{self.side}"]
        width = 0.9 + 4.6 * (flow / strongest) ** 0.5 if there else 1.2
        colour = f"var(--{COLOURS[direction]})"
        style = f'stroke="{colour}" stroke-width="{width:.1f}"'
        if not there:
            style += ' stroke-dasharray="1.5 4"'
        elif direction in DASHES:
            style += ' stroke-dasharray="{:.1f} {:.1f}"'.format(*(2 + part * width for part in DASHES[direction]))
        elif direction == UNCHANGED:
            style += ' opacity="0.75"'
        path, tip = self._path(at, there)
        head = f'<path d="{_arrow(*tip, width)}" fill="{colour}"/>' if there else ""
        return f'<g><title>{escape(sentence(edge))}</title><path d="{path}" fill="none" {style}/>{head}</g>'

    def _path(self, at: int, there: bool) -> tuple[str, tuple[Point, Point]]:
        """The line as SVG, and its tip with the direction that it points in."""
        route = self.layout.routes[at]
        if not route:
            return self._loop(self.wired[at].source)
        *rest, end = route
        upwards = end[1] < rest[-1][1]
        towards = (0.0, -1.0 if upwards else 1.0)
        stop = (end[0], end[1] - towards[1] * (ARROW if there else 0))
        pieces = [f"M{_at(route[0])}"]
        for number, (here, there_) in enumerate(itertools.pairwise([*rest, stop])):
            if number % 2 == 1:  # through a layer, straight
                pieces.append(f"L{_at(there_)}")
                continue
            middle = (here[1] + there_[1]) / 2
            pieces.append(f"C{_at((here[0], middle))} {_at((there_[0], middle))} {_at(there_)}")
        return "".join(pieces), (end, towards)

    def _loop(self, node: int) -> tuple[str, tuple[Point, Point]]:
        x, y = self.layout.places[node]
        right = x + self.sizes[node][0] / 2
        start, end = (right, y - 7), (right + ARROW, y + 7)
        path = f"M{_at(start)}C{_at((right + 22, y - 16))} {_at((right + 26, y + 10))} {_at(end)}"
        return path, ((right, y + 7), (-1.0, 0.0))

    def _node(self, at: int) -> str:
        name, lines = self.names[at], self.lines[at]
        x, y = self.layout.places[at]
        width, height = self.sizes[at]
        if name in (START, END):
            if not any(at in (edge.source, edge.target) for edge in self.wired):
                return ""  # no case begins, or ends, within both stretches
            title = "start of a case" if name == START else "end of a case"
            return (
                f'<g><title>{title}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{width / 2:.1f}" fill="var(--ink)"/>'
                + _text(x, y + 4, name, 10, "surface")
                + "</g>"
            )
        record = self.activities[name]
        direction = record["direction"] if record["direction"] in (APPEARED, VANISHED) else UNCHANGED
        there = bool(record[self.side])
        colour = "muted" if direction == UNCHANGED else COLOURS[direction]
        line = f'stroke="var(--{colour})" stroke-width="{1 if direction == UNCHANGED else 2.2}"'
        line += "" if there else ' stroke-dasharray="1 4"'
        left, top = x - width / 2, y - height / 2
        box = (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
            f'fill="var(--surface)" {line}/>'
        )
        ink = "ink" if there else "muted"
        texts = [_text(x, top + LINE * (row + 1) + 1, line, FONT, ink, bold=there) for row, line in enumerate(lines)]
        share = record[f"share_{self.side}"]
        texts.append(_text(x, top + LINE * (len(lines) + 1), share_text(share) if there else "–", SMALL, "muted"))
        return f"<g><title>{escape(activity_sentence(record))}</title>{box}{''.join(texts)}</g>"

    def _labels(self, order: Sequence[int]) -> list[str]:
        """The shares of the edges, where there is room; those of unchanged edges give way."""
        corners = self.sizes / 2
        taken = np.concatenate([self.layout.places - corners, self.layout.places + corners], axis=1)  # (K, 4)
        parts = []
        for at in order:
            edge = self.edges[at]
            share, moved = edge[f"share_{self.side}"], changed(edge)
            if not self.layout.routes[at] or (not moved and (share is None or share > 0.99 or share < 0.01)):
                continue
            text = share_text(share)
            if self.side == "after":
                text = SIGNS.get(edge["direction"], "") + text if edge["after"] else "gone"
            half = np.array([_width(text, SMALL), SMALL + 1]) / 2
            spots = np.array(_along(self.layout.routes[at]))
            boxes = np.concatenate([spots - half, spots + half], axis=1)
            covered = _covered(boxes, taken)
            best = int(np.argmin(covered))
            if covered[best] > 0 and not moved:
                continue
            taken = np.concatenate([taken, boxes[[best]]])
            place = spots[best]
            colour = COLOURS[edge["direction"]] if moved else "muted"
            parts.append(_text(place[0], place[1] + SMALL / 3, text, SMALL, colour, bold=moved, halo=True))
        return parts[::-1]


def _along(route: Sequence[Point]) -> list[Point]:
    """Places on a route for a label, the best first: near the middle."""
    places = []
    for number, (here, there) in enumerate(itertools.pairwise(route)):
        for share in (0.5, 0.35, 0.65) if number % 2 == 0 else (0.5,):
            ease = share * share * (3 - 2 * share)  # x of the curve; its y is nearly even
            places.append((here[0] + ease * (there[0] - here[0]), here[1] + share * (there[1] - here[1])))
    middle = (route[0][1] + route[-1][1]) / 2
    return sorted(places, key=lambda place: abs(place[1] - middle))


def _covered(boxes: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of each box (left, top, right, bottom) others cover.

    Args:
        boxes: (B, 4).
        taken: (K, 4).
    """
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.asarray(np.maximum(high - low, 0.0).prod(axis=2).sum(axis=1))


def _arrow(tip: Point, towards: Point, width: float) -> str:
    half = 2.6 + width * 0.7
    base = (tip[0] - towards[0] * (ARROW + 1), tip[1] - towards[1] * (ARROW + 1))
    aside = (-towards[1] * half, towards[0] * half)
    corners = ((base[0] + aside[0], base[1] + aside[1]), (base[0] - aside[0], base[1] - aside[1]))
    return f"M{_at(tip)}L{_at(corners[0])}L{_at(corners[1])}Z"


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _text(x: float, y: float, text: str, size: float, colour: str, bold: bool = False, halo: bool = False) -> str:
    style = ' font-weight="600"' if bold else ""
    if halo:
        style += ' paint-order="stroke" stroke="var(--surface)" stroke-width="3.5" stroke-linejoin="round"'
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="middle"'
    return f'<text {place} fill="var(--{colour})"{style}>{escape(text)}</text>'


def share_text(share: float | None) -> str:
    """A share without decimals, but never 0 or 100 percent where it is not.

    >>> share_text(0.004), share_text(0.321), share_text(0.9999), share_text(None)
    ('<1\u202f%', '32\u202f%', '>99\u202f%', '–')
    """
    if share is not None and 0 < share < 0.005:
        return "<1\u202f%"
    if share is not None and 0.995 <= share < 1:
        return ">99\u202f%"
    return percent(share, 0)


def sentence(edge: Record) -> str:
    """What an edge tells, in words."""
    source, target = edge["source"], edge["target"]
    shares = f"{share_text(edge['share_after'])} after, {share_text(edge['share_before'])} before"
    if source is None:
        return f"Of the cases that begin, {target} is the first activity of {shares}"
    if target is None:
        return f"{source} ends the case in {shares}"
    return f"{source} is followed by {target} in {shares}"


def activity_sentence(record: Record) -> str:
    """What an activity's record tells, in words."""
    return (
        f"{record['activity']}: {whole(record['before'])} events before ({share_text(record['share_before'])} of all), "
        f"{whole(record['after'])} after ({share_text(record['share_after'])})"
    )
