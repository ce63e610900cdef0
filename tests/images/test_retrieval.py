"""Retrieval on groups that can be told apart, and label spreading against its closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.images.retrieval import (
    UNKNOWN,
    RetrievalConfig,
    neighbour_graph,
    one_per_class,
    retrieval_from_one_per_class,
    retrieve,
    spread_labels,
    unit,
)

NEAREST = RetrievalConfig(method="nearest")
SPREAD = RetrievalConfig(neighbours=5)


def groups(classes: int, each: int, distance: float, seed: int = 0) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Normal clouds around random centres ``distance`` away from the origin, in 8 dimensions, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), each))
    centres = rng.normal(size=(classes, 8))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    return torch.from_numpy(centres[labels] + rng.normal(size=(len(labels), 8))).float(), labels


def arcs(each: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Two long arcs of directions on a sphere, one above the other: neighbours share a class, far ends do not help."""
    angle = np.linspace(0, 1.5 * np.pi, each)
    rows = [np.stack([np.cos(angle), np.sin(angle), np.full(each, height)], axis=1) for height in (0.35, -0.35)]
    return torch.from_numpy(np.concatenate(rows)).float(), np.repeat([0, 1], each)


@pytest.mark.parametrize("config", [NEAREST, SPREAD])
def test_separate_groups_are_found_from_one_image_each(config: RetrievalConfig) -> None:
    embeddings, labels = groups(classes=4, each=30, distance=12)
    found = retrieval_from_one_per_class(embeddings, labels, config, draws=3, seed=0)
    assert found.labelled == 4
    assert len(found.accuracies) == 3
    assert found.mean > 0.98


def test_spreading_follows_a_bent_group_where_the_nearest_label_does_not() -> None:
    embeddings, labels = arcs(60)
    shown = np.full(120, UNKNOWN)
    shown[[0, 119]] = [0, 1]  # opposite ends
    config = {"centre": False, "neighbours": 4}
    nearest = retrieve(embeddings, shown, RetrievalConfig(method="nearest", **config))
    spread = retrieve(embeddings, shown, RetrievalConfig(method="spread", **config))
    assert (nearest == labels).mean() < 0.8
    assert (spread == labels).all()


@given(st.integers(0, 1000), st.floats(0.05, 0.99))
@settings(max_examples=20, deadline=None)
def test_spreading_is_the_closed_form(seed: int, alpha: float) -> None:
    embeddings, labels = groups(classes=3, each=8, distance=2, seed=seed)
    shown = np.full_like(labels, UNKNOWN)
    rows = one_per_class(labels, np.random.default_rng(seed))
    shown[rows] = labels[rows]
    graph = neighbour_graph(unit(embeddings, centre=True), 3)
    weights = graph.toarray()
    root = np.diag(1 / np.sqrt(weights.sum(axis=1)))
    start = np.eye(3)[shown] * (shown != UNKNOWN)[:, None]
    expected = (1 - alpha) * np.linalg.solve(np.eye(24) - alpha * root @ weights @ root, start)
    np.testing.assert_allclose(spread_labels(graph, shown, alpha), expected, atol=1e-6)


@pytest.mark.parametrize("chunk", [1024, 7])
def test_the_graph_joins_nearest_rows_both_ways(chunk: int) -> None:
    embeddings, _ = groups(classes=2, each=10, distance=1)
    directions = unit(embeddings, centre=True)
    found = neighbour_graph(directions, 4, chunk).toarray()
    expected = np.zeros((20, 20))
    for row in range(20):
        cosine = [float(directions[row] @ other) if k != row else -2 for k, other in enumerate(directions)]
        for near in sorted(range(20), key=lambda k: -cosine[k])[:4]:
            expected[row, near] = expected[near, row] = max(0, cosine[near])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_images_without_a_path_to_a_label_get_the_nearest_one() -> None:
    east, north, west = torch.eye(4)[:3]
    embeddings = torch.stack([east, east + 0.1 * north, north, north + 0.2 * east, west + 0.1 * east, west])
    labels = np.array([0, UNKNOWN, 1, UNKNOWN, UNKNOWN, UNKNOWN])
    config = RetrievalConfig(neighbours=1, centre=False)
    assert retrieve(embeddings, labels, config).tolist() == [0, 0, 1, 1, 0, 0]


def test_known_labels_stay_even_among_others() -> None:
    embeddings, labels = groups(classes=2, each=20, distance=10)
    shown = labels.copy()
    shown[labels == 0] = UNKNOWN
    stranger = int(np.flatnonzero(labels == 0)[0])
    shown[stranger] = 1
    assert retrieve(embeddings, shown, SPREAD)[stranger] == 1


def test_scale_and_shift_do_not_matter() -> None:
    embeddings, labels = groups(classes=3, each=10, distance=4)
    shown = np.where(np.arange(30) < 6, labels, UNKNOWN)
    for config in (NEAREST, SPREAD):
        moved = retrieve(100 + 3 * embeddings.double(), shown, config)
        np.testing.assert_array_equal(moved, retrieve(embeddings, shown, config))


def test_one_row_of_each_class_is_drawn() -> None:
    labels = np.array([2, 0, 2, 1, 0, 2])
    drawn = {tuple(one_per_class(labels, np.random.default_rng(seed))) for seed in range(50)}
    assert {tuple(labels[list(rows)]) for rows in drawn} == {(0, 1, 2)}
    assert len(drawn) == 6


def test_spread_over_draws_is_the_sample_deviation() -> None:
    embeddings, labels = groups(classes=3, each=10, distance=2)
    found = retrieval_from_one_per_class(embeddings, labels, NEAREST, draws=4, seed=1)
    assert found.spread == pytest.approx(np.std(found.accuracies, ddof=1))
    assert retrieval_from_one_per_class(embeddings, labels, NEAREST, draws=1, seed=1).spread == 0


def test_nothing_known_or_nothing_to_find_is_refused() -> None:
    with pytest.raises(BadInputError, match="0 known"):
        retrieve(torch.rand(3, 2), np.full(3, UNKNOWN), NEAREST)
    with pytest.raises(BadInputError, match="3 embeddings, 2 labels"):
        retrieve(torch.rand(3, 2), np.array([0, UNKNOWN]), NEAREST)
    with pytest.raises(BadInputError, match="only one of its class"):
        retrieval_from_one_per_class(torch.rand(3, 2), np.arange(3), NEAREST, draws=1, seed=0)
