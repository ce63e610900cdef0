"""An order of a graph's nodes in which few edges point backwards.

A greedy start (Eades, Lin & Smyth 1993, Inf. Process. Lett. 47:319, with weights), then single moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Edge:
    """From node ``source`` to node ``target``; the edges against the main direction should be those of small weight."""

    source: int
    target: int
    weight: float


def acyclic_order(nodes: int, edges: Sequence[Edge], first: int, last: int) -> list[int]:
    """Order the nodes so that little weight points backwards, ``first`` in front and ``last`` at the end.

    Sinks go to the end and sources to the front; while there is neither, the node that gives most more than it takes
    goes to the front.
    """
    left = {node for node in range(nodes) if node not in (first, last)}
    gives: dict[int, dict[int, float]] = {node: {} for node in left}
    takes: dict[int, dict[int, float]] = {node: {} for node in left}
    for edge in edges:
        if edge.source != edge.target and edge.source in left and edge.target in left:
            gives[edge.source][edge.target] = edge.weight
            takes[edge.target][edge.source] = edge.weight
    started = {edge.target: edge.weight for edge in edges if edge.source == first}
    front, back = [first], [last]
    while left:
        sinks = [node for node in left if not gives[node]]
        sources = [node for node in left if not takes[node]]
        surplus = {node: sum(gives[node].values()) - sum(takes[node].values()) for node in left}
        if sinks:
            chosen = min(sinks, key=lambda node: (started.get(node, 0.0), node))
            back.append(chosen)
        else:
            chosen = max(sources or left, key=lambda node: (surplus[node] + started.get(node, 0.0), -node))
            front.append(chosen)
        left.remove(chosen)
        for other in gives.pop(chosen):
            takes[other].pop(chosen)
        for other in takes.pop(chosen):
            gives[other].pop(chosen)
    return [first, *_improved([*front, *back[::-1]][1:-1], edges), last]


def _improved(order: list[int], edges: Sequence[Edge]) -> list[int]:
    """Move single nodes to where the least weight points backwards, as long as that helps."""
    place = {node: at for at, node in enumerate(order)}
    weight = np.zeros((len(order), len(order)))
    for edge in edges:
        if edge.source in place and edge.target in place and edge.source != edge.target:
            weight[place[edge.source], place[edge.target]] += edge.weight
    found = list(range(len(order)))
    for _ in range(len(order)):
        moved = False
        for node in range(len(order)):
            at = found.index(node)
            rest = found[:at] + found[at + 1 :]
            # put before rest[k]: its edges to the k nodes in front point backwards, as do those of the others to it
            ahead = np.concatenate([[0.0], np.cumsum(weight[node, rest])])
            behind = np.concatenate([np.cumsum(weight[rest, node][::-1])[::-1], [0.0]])
            best = int(np.argmin(ahead + behind))
            if (ahead + behind)[best] < (ahead + behind)[at] - 1e-12:
                found, moved = [*rest[:best], node, *rest[best:]], True
        if not moved:
            break
    return [order[node] for node in found]
