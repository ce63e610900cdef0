import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.report.spots import LETTER, LINE, name_spots


def overlap(one: tuple[float, float], two: tuple[float, float], letters: int, side: float) -> bool:
    return abs(one[0] - two[0]) < LETTER * side * letters and abs(one[1] - two[1]) < LINE * side


def test_a_name_is_where_its_group_is_densest() -> None:
    rng = np.random.default_rng(0)
    core, halo = rng.normal(5, 0.1, (100, 2)), rng.uniform(-10, 10, (60, 2))
    (x, y), _ = name_spots([np.concatenate([core, halo]), rng.normal(-8, 1, (50, 2))], ["one", "two"])
    assert abs(x - 5) < 0.5
    assert abs(y - 5) < 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.integers(2, 6))
def test_names_of_mixed_groups_make_room_for_each_other(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    points = [rng.uniform(0, 1, (200, 2)) for _ in range(groups)]
    spots = name_spots(points, ["name"] * groups)
    for spot, owned in zip(spots, points, strict=True):
        assert (owned == spot).all(axis=1).any()
    side = float(np.ptp(np.concatenate(points), axis=0).max())
    assert not any(overlap(a, b, len("name") + 1, side) for a, b in itertools.combinations(spots, 2))


def test_a_single_point_and_equal_points_get_a_name_too() -> None:
    assert name_spots([np.array([[2.0, 3.0]])], ["only"]) == [(2.0, 3.0)]
    assert name_spots([np.zeros((9, 2)), np.zeros((9, 2))], ["a", "b"]) == [(0.0, 0.0)] * 2
