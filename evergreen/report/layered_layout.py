"""Places for the nodes and edges of a directed graph, in layers from top to bottom.

Sugiyama, Tagawa & Toda (1981, IEEE SMC 11:109) in four steps: turn some edges round so that no cycle is left, put each
node one layer below its lowest predecessor, order each layer by the barycentres of its neighbours, and choose
coordinates that keep the order and pull neighbours together.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from evergreen.report.acyclic_order import Edge, acyclic_order

SWEEPS, PULLS = 24, 60
"""Rounds of ordering the layers, and of moving them."""
LANE = 16.0
"""Width that an edge takes where it passes a layer."""
BESIDE, BELOW = 34.0, 40.0
"""Free space between the nodes of a layer, and between layers."""
STRAIGHT = (1.0, 4.0, 16.0)
"""How hard the ends of a piece of an edge pull at each other: between two nodes, node and bend, two bends."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything goes, in pixels, y downwards.

    Attributes:
        places: (N, 2) centres of the nodes.
        routes: for each edge the points it passes, source first, two a layer in between (where it enters it and where
            it leaves it); none for an edge from a node to itself.
        width: of the whole.
        height: of the whole.
    """

    places: NDArray[np.float64]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass
class _Layers:
    """Nodes and bends by layer; a bend is a stand-in for an edge where it passes a layer, numbered after the nodes."""

    layer: list[int]
    rows: list[list[int]]
    chains: list[list[int]]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)


def lay_out(sizes: NDArray[np.float64], edges: Sequence[Edge], first: int, last: int) -> Layout:
    """Lay out a graph.

    Args:
        sizes: (N, 2) width and height of each node.
        edges: no two of them alike.
        first: the node at the top.
        last: the node at the bottom.
    """
    order = acyclic_order(len(sizes), edges, first, last)
    layers = _chains(_assign(order, edges, last), edges)
    _reduce_crossings(layers)
    widths = np.concatenate([sizes[:, 0], np.full(len(layers.layer) - len(sizes), LANE)])
    x = _columns(layers, widths, len(sizes))
    heights = [max([sizes[i, 1] for i in row if i < len(sizes)], default=0.0) for row in layers.rows]
    tops = np.cumsum([0.0, *(height + BELOW for height in heights[:-1])])
    y = np.array([tops[layer] + heights[layer] / 2 for layer in layers.layer])
    places = np.stack([x, y], axis=1)
    starts, ends = (_ports(layers, places, sizes, side) for side in (0, -1))
    routes = []
    for number, (edge, chain) in enumerate(zip(edges, layers.chains, strict=True)):
        spans = [(float(x[bend]), float(tops[at]), heights[at]) for bend in chain[1:-1] for at in [layers.layer[bend]]]
        bends = [(at, top + share * height) for at, top, height in spans for share in (0, 1)]
        route = [starts[number], *bends, ends[number]] if chain else []
        routes.append(tuple(route if not chain or chain[0] == edge.source else route[::-1]))
    return Layout(places[: len(sizes)], tuple(routes), float((x + widths / 2).max()), float(tops[-1] + heights[-1]))


def _assign(order: Sequence[int], edges: Sequence[Edge], last: int) -> list[int]:
    """The layer of each node: below all its predecessors; lower still where that makes edges shorter."""
    rank = {node: number for number, node in enumerate(order)}
    down: dict[int, list[tuple[int, float]]] = {node: [] for node in order}
    up: dict[int, list[tuple[int, float]]] = {node: [] for node in order}
    for edge in edges:
        if edge.source != edge.target:
            high, low = sorted((edge.source, edge.target), key=rank.__getitem__)
            down[high].append((low, edge.weight))
            up[low].append((high, edge.weight))
    layer = [0] * len(order)
    for node in order:
        layer[node] = max((layer[high] + 1 for high, _ in up[node]), default=0 if node == order[0] else 1)
    layer[last] = max(layer[last], max(layer[node] + 1 for node in order if node != last))
    for node in reversed(order[1:-1]):
        pull = sum(weight for _, weight in down[node]) - sum(weight for _, weight in up[node])
        if down[node] and pull > 0:
            layer[node] = min(layer[low] for low, _ in down[node]) - 1
    used = {number: place for place, number in enumerate(sorted(set(layer)))}
    return [used[number] for number in layer]


def _chains(layer: list[int], edges: Sequence[Edge]) -> _Layers:
    """Cut every edge into pieces from one layer to the next."""
    layers = _Layers(layer, [[] for _ in range(max(layer) + 1)], [])
    for node, number in enumerate(layer):
        layers.rows[number].append(node)
    for edge in edges:
        if edge.source == edge.target:
            layers.chains.append([])
            continue
        high, low = sorted((edge.source, edge.target), key=lambda node: layer[node])
        bends = range(len(layer), len(layer) + layer[low] - layer[high] - 1)
        for bend, number in zip(bends, range(layer[high] + 1, layer[low]), strict=True):
            layers.rows[number].append(bend)
            layer.append(number)
        layers.chains.append([high, *bends, low])
    layers.above, layers.below = [[] for _ in layer], [[] for _ in layer]
    for chain in layers.chains:
        for high, low in itertools.pairwise(chain):
            layers.below[high].append(low)
            layers.above[low].append(high)
    return layers


def _reduce_crossings(layers: _Layers) -> None:
    """Sweep down and up, sorting each layer by the mean place of its neighbours, and keep the best order seen."""
    best, fewest = [list(row) for row in layers.rows], crossings(layers.rows, layers.below)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        numbers = range(1, len(layers.rows)) if downwards else range(len(layers.rows) - 2, -1, -1)
        for number in numbers:
            fixed = layers.rows[number - 1 if downwards else number + 1]
            place = {node: at for at, node in enumerate(fixed)}
            neighbours = layers.above if downwards else layers.below
            own = {node: float(at) for at, node in enumerate(layers.rows[number])}
            centre = {
                node: sum(place[other] for other in neighbours[node]) / len(neighbours[node])
                if neighbours[node]
                else own[node]
                for node in layers.rows[number]
            }
            if sweep % 4 < 2:
                layers.rows[number].sort(key=lambda node: (centre[node], own[node]))
            else:  # turning ties round gets it out of orders that only ties hold
                layers.rows[number].sort(key=lambda node: (centre[node], -own[node]))
        found = crossings(layers.rows, layers.below)
        if found < fewest:
            best, fewest = [list(row) for row in layers.rows], found
    layers.rows[:] = best


def crossings(rows: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    """How many pairs of pieces between neighbouring layers cross."""
    total = 0
    for upper, lower in itertools.pairwise(rows):
        place = {node: at for at, node in enumerate(lower)}
        pieces = np.array([(at, place[low]) for at, node in enumerate(upper) for low in below[node]]).reshape(-1, 2)
        before = pieces[:, None, 0] < pieces[None, :, 0]
        total += int((before & (pieces[:, None, 1] > pieces[None, :, 1])).sum())
    return total


def _columns(layers: _Layers, widths: NDArray[np.float64], nodes: int) -> NDArray[np.float64]:
    """Where nodes and bends stand from left to right: near their neighbours, in order, never too close.

    Each layer in turn is moved to where the neighbours pull it. With the least distances subtracted "in this order"
    means "ascending", and the best ascending places are an isotonic regression.
    """
    offsets = []
    for row in layers.rows:
        half = widths[row] / 2
        apart = half[:-1] + half[1:] + np.where(np.array(row[:-1]) < nodes, BESIDE, BESIDE / 2)
        offsets.append(np.concatenate([[0.0], np.cumsum(apart)]))
    x = np.zeros(len(widths))
    for row, offset in zip(layers.rows, offsets, strict=True):
        x[row] = offset - offset[-1] / 2
    pulls = [_pulls(layers, nodes, way) for way in ((0,), (1,), (0, 1))]
    for sweep in range(PULLS):
        numbers = range(len(layers.rows)) if sweep % 2 == 0 else range(len(layers.rows) - 1, -1, -1)
        pull = pulls[sweep % 2 if sweep < PULLS // 3 else 2]
        for number in numbers:
            row = layers.rows[number]
            aims = np.array([x[pull[node][0]] @ pull[node][1] / pull[node][2] for node in row])
            ascending = isotonic_regression(aims - offsets[number], weights=[pull[node][2] for node in row])
            x[row] = ascending.x + offsets[number]
    return np.asarray(x - (x - widths / 2).min())


def _pulls(
    layers: _Layers, nodes: int, ways: Sequence[int]
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], float]]:
    """For each node and bend what pulls at it from above (0) and below (1), how hard, and how hard in all.

    What nothing pulls at keeps its place, but gives way to everything else.
    """
    found = []
    for node in range(len(layers.layer)):
        sides = (layers.above[node], layers.below[node])
        others = [other for way in ways for other in sides[way]] or [*sides[0], *sides[1]]
        strength = [STRAIGHT[int(node >= nodes) + int(other >= nodes)] for other in others]
        if not others:
            others, strength = [node], [0.01]
        found.append((np.array(others), np.array(strength), float(sum(strength))))
    return found


def _ports(layers: _Layers, places: NDArray[np.float64], sizes: NDArray[np.float64], side: int) -> dict[int, Point]:
    """Where each edge meets its upper (0) or lower (-1) node: spread along its side, in the order of their ways."""
    fans: dict[int, list[tuple[float, int]]] = {}
    for number, chain in enumerate(layers.chains):
        if chain:
            fans.setdefault(chain[side], []).append((float(places[chain[1 if side == 0 else -2], 0]), number))
    ports = {}
    for node, fan in fans.items():
        room = min(0.7 * sizes[node, 0], 16.0 * len(fan))
        edge = places[node, 1] + sizes[node, 1] * (0.5 if side == 0 else -0.5)
        for at, (_, number) in enumerate(sorted(fan)):
            ports[number] = (float(places[node, 0] + ((at + 0.5) / len(fan) - 0.5) * room), float(edge))
    return ports
