"""Where the names of groups go on a map of points."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

LETTER = 0.021
"""Width of a letter, as a share of the map's side."""
LINE = 0.042
"""Height of a name, as a share of the map's side."""

Place = tuple[float, float]


def name_spots(groups: Sequence[NDArray[np.float64]], names: Sequence[str]) -> list[Place]:
    """Put each name where its group is densest, and aside where another name is already there.

    Compact groups choose first. A name that overlaps wherever it goes keeps its densest place.

    Args:
        groups: for each name, the points (n, 2) it is for; at least one.
        names: what will be written.

    Returns:
        The centre of each name.
    """
    side = float(np.ptp(np.concatenate(groups), axis=0).max()) or 1.0
    candidates = [_by_density(points) for points in groups]
    taken: list[tuple[float, float, float]] = []  # centre x, centre y, half width
    spots: dict[int, Place] = {}
    for number in sorted(range(len(groups)), key=lambda g: candidates[g][1]):
        half = 0.5 * LETTER * side * (len(names[number]) + 1)
        points = candidates[number][0]
        free = (p for p in points if not any(_overlap(p, half, other, LINE * side) for other in taken))
        x, y = next(free, points[0])
        spots[number] = (float(x), float(y))
        taken.append((float(x), float(y), half))
    return [spots[number] for number in range(len(groups))]


def _by_density(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The points, those with near neighbours of their group first, and how near they are in the densest place."""
    neighbours = min(len(points), max(4, len(points) // 8))
    distances, _ = cKDTree(points).query(points, k=neighbours)
    reach = distances.reshape(len(points), neighbours).mean(axis=1)
    order = np.argsort(reach, kind="stable")
    return points[order], float(reach[order[0]])


def _overlap(place: NDArray[np.float64], half: float, other: tuple[float, float, float], height: float) -> bool:
    x, y, other_half = other
    return bool(abs(place[0] - x) < half + other_half and abs(place[1] - y) < height)
