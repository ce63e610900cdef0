import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.report.acyclic_order import Edge, acyclic_order
from evergreen.report.layered_layout import BELOW, crossings, lay_out

NODES = 9

pairs = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), unique=True, max_size=30)


def graph(found: list[tuple[int, int]]) -> list[Edge]:
    """Node 0 is the first and the last node the last: nothing leads to the one or leaves the other."""
    known = [(a, b) for a, b in found if b != 0 and a != NODES - 1]
    rng = np.random.default_rng(len(known))
    return [Edge(a, b, float(rng.uniform(0.1, 1))) for a, b in known]


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_nodes_stand_apart_and_edges_go_from_node_to_node(found: list[tuple[int, int]]) -> None:
    edges = graph(found)
    sizes = np.random.default_rng(0).uniform(20, 120, (NODES, 2))
    layout = lay_out(sizes, edges, 0, NODES - 1)
    low, high = layout.places - sizes / 2, layout.places + sizes / 2
    for one, other in itertools.combinations(range(NODES), 2):
        assert (low[one] >= high[other] - 1e-6).any() or (low[other] >= high[one] - 1e-6).any()
    assert (low >= -1e-6).all()
    assert (high <= np.array([layout.width, layout.height]) + 1e-6).all()
    assert layout.places[:, 1].argmin() == 0
    assert layout.places[-1, 1] == layout.places[:, 1].max()
    for edge, route in zip(edges, layout.routes, strict=True):
        if edge.source == edge.target:
            assert route == ()
            continue
        for node, (x, y) in ((edge.source, route[0]), (edge.target, route[-1])):
            assert low[node, 0] < x < high[node, 0]
            assert min(abs(y - low[node, 1]), abs(y - high[node, 1])) < 1e-6
        rows = [y for _, y in route]
        assert rows in (sorted(rows), sorted(rows, reverse=True))


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_bends_keep_clear_of_nodes(found: list[tuple[int, int]]) -> None:
    edges = graph(found)
    sizes = np.full((NODES, 2), 40.0)
    layout = lay_out(sizes, edges, 0, NODES - 1)
    for route in layout.routes:
        for (x, top), (_, bottom) in zip(route[1:-1:2], route[2:-1:2], strict=True):
            beside = np.abs(layout.places[:, 0] - x) >= sizes[:, 0] / 2
            elsewhere = (layout.places[:, 1] < min(top, bottom)) | (layout.places[:, 1] > max(top, bottom))
            assert (beside | elsewhere).all()


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_no_single_move_would_turn_less_weight_round(found: list[tuple[int, int]]) -> None:
    edges = graph(found)
    order = acyclic_order(NODES, edges, 0, NODES - 1)
    assert sorted(order) == list(range(NODES))
    assert (order[0], order[-1]) == (0, NODES - 1)

    def backwards(order: list[int]) -> float:
        return sum(edge.weight for edge in edges if order.index(edge.source) > order.index(edge.target))

    for node in order[1:-1]:
        rest = [other for other in order if other != node]
        for at in range(1, len(rest)):
            assert backwards([*rest[:at], node, *rest[at:]]) >= backwards(order) - 1e-9


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_crossings_are_counted_pair_by_pair(pieces: list[tuple[int, int]]) -> None:
    below = [[10 + low for high, low in pieces if high == node] for node in range(6)]
    expected = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(pieces, 2))
    assert crossings([list(range(6)), list(range(10, 16))], below) == expected


def test_a_chain_is_a_straight_line() -> None:
    layout = lay_out(np.full((5, 2), 30.0), [Edge(at, at + 1, 1.0) for at in range(4)], 0, 4)
    np.testing.assert_allclose(layout.places[:, 0], 15.0)
    np.testing.assert_allclose(np.diff(layout.places[:, 1]), 30.0 + BELOW)


def test_two_bipartite_layers_are_untangled() -> None:
    # 1, 2, 3 lead to 6, 5, 4: crossed in the order of their numbers, not crossed in the best one
    edges = [*(Edge(0, at, 1.0) for at in (1, 2, 3)), Edge(1, 6, 1.0), Edge(2, 5, 1.0), Edge(3, 4, 1.0)]
    edges += [Edge(at, 7, 1.0) for at in (4, 5, 6)]
    layout = lay_out(np.full((8, 2), 20.0), edges, 0, 7)
    upper, lower = layout.places[[1, 2, 3], 0], layout.places[[6, 5, 4], 0]
    assert (np.argsort(upper) == np.argsort(lower)).all()


def test_opposite_edges_do_not_lie_on_each_other() -> None:
    edges = [Edge(0, 1, 1.0), Edge(1, 2, 1.0), Edge(2, 1, 0.5), Edge(2, 3, 1.0)]
    layout = lay_out(np.full((4, 2), 40.0), edges, 0, 3)
    forth, back = layout.routes[1], layout.routes[2]
    assert abs(forth[0][0] - back[-1][0]) > 5
    assert forth[0][1] == pytest.approx(back[-1][1])
