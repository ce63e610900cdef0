"""One directly-follows graph as a drawing, what changed in colour."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from evergreen.process.compare_graphs import APPEARED, LESS, MORE, UNCHANGED, VANISHED, changed
from evergreen.report.acyclic_order import Edge
from evergreen.report.change_words import Record, activity_sentence, sentence, share_text
from evergreen.report.layered_layout import Layout, Point
from evergreen.report.page import whole

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


def node_size(lines: Sequence[str], is_activity: bool) -> tuple[float, float]:
    """Width and height of a node with so many lines; the start and the end are discs."""
    if not is_activity:
        return 24.0, 24.0
    return max(36.0, max(_width(line, FONT) for line in lines) + 14), len(lines) * LINE + LINE + 8


def _width(text: str, size: float) -> float:
    return size * sum(CAPITAL if letter.isupper() else LETTER for letter in text)


@dataclass(frozen=True)
class Side:
    """One of the two drawings.

    Attributes:
        side: ``before`` or ``after``.
        edges: records of the comparison.
        wired: the same edges between nodes by number.
        nodes: records of the activities; None for the start, the first one, and for the end, the last one.
        lines: what is written in each node.
        sizes: (N, 2) of the nodes.
        layout: where they stand.
    """

    side: str
    edges: Sequence[Record]
    wired: Sequence[Edge]
    nodes: Sequence[Record | None]
    lines: Sequence[Sequence[str]]
    sizes: NDArray[np.float64]
    layout: Layout

    def svg(self) -> Markup:
        strongest = max(max(edge["flow_before"], edge["flow_after"]) for edge in self.edges)
        order = sorted(range(len(self.edges)), key=lambda at: (changed(self.edges[at]), self.edges[at][self.side] > 0))
        parts = [self._edge(at, strongest) for at in order]
        parts += [self._node(at) for at in range(len(self.nodes))]
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
            f"Directly-follows graph {self.side} the drift: {whole(len(self.nodes) - 2)} activities, "
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

    def _beside(self, node: int) -> Point:
        """Where the label of an edge from a node to itself stands."""
        x, y = self.layout.places[node]
        return float(x + self.sizes[node][0] / 2 + 34), float(y)

    def _node(self, at: int) -> str:
        record, lines = self.nodes[at], self.lines[at]
        x, y = self.layout.places[at]
        width, height = self.sizes[at]
        if record is None:
            if not any(at in (edge.source, edge.target) for edge in self.wired):
                return ""  # no case begins, or ends, within both stretches
            title, sign = ("start of a case", START) if at == 0 else ("end of a case", END)
            return (
                f'<g><title>{title}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{width / 2:.1f}" fill="var(--ink)"/>'
                + _text(x, y + 4, sign, 10, "surface")
                + "</g>"
            )
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
            route = self.layout.routes[at]
            if not moved and (not route or share is None or share > 0.99 or share < 0.01):
                continue
            text = share_text(share)
            if self.side == "after":
                text = SIGNS.get(edge["direction"], "") + text if edge["after"] else "gone"
            half = np.array([_width(text, SMALL), SMALL + 1]) / 2
            spots = np.array(_along(route) if route else [self._beside(self.wired[at].source)])
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
