import numpy as np
import pytest

from evergreen.report.projection import FEW, project


def clusters(groups: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, 32)) * 4
    owner = np.repeat(np.arange(groups), each)
    return (centres[owner] + rng.normal(size=(groups * each, 32))).astype(np.float32), owner


def neighbour_purity(places: np.ndarray, owner: np.ndarray) -> float:
    """Share of points whose nearest other point is of the same group, by brute force."""
    distance = np.square(places[:, None] - places[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((owner[distance.argmin(axis=1)] == owner).mean())


def test_groups_stay_together() -> None:
    features, owner = clusters(6, 50)
    places = project(features, seed=0)
    assert places.shape == (300, 2)
    assert neighbour_purity(places, owner) > 0.97
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-6)


def test_the_map_is_repeatable_and_blind_to_length() -> None:
    features, _ = clusters(3, 20)
    first = project(features, seed=0)
    np.testing.assert_array_equal(first, project(features, seed=0))
    powers_of_two = 2.0 ** np.random.default_rng(1).integers(-3, 4, len(features))
    np.testing.assert_array_equal(first, project(features * powers_of_two[:, None], seed=0))


@pytest.mark.parametrize("count", [0, 1, 2, FEW - 1, FEW, FEW + 1])
@pytest.mark.parametrize("width", [1, 2, 64])
def test_few_points_or_dimensions_are_placed_too(count: int, width: int) -> None:
    features = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    places = project(features, seed=0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def test_equal_features_lie_in_one_place() -> None:
    np.testing.assert_array_equal(project(np.ones((50, 8), np.float32), seed=0), np.zeros((50, 2)))
