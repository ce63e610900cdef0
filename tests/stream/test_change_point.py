import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.stream.change_point import mean_change_point


def by_hand(values):
    def left_over(k):
        return sum(np.sum(np.square(part - part.mean())) for part in (values[:k], values[k:]))

    return min(range(1, len(values)), key=left_over)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_is_the_least_squares_split(seed, count):
    values = np.random.default_rng(seed).normal(size=count)
    assert mean_change_point(values) == by_hand(values)


def test_finds_a_clear_change_to_the_example():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 700), rng.normal(4, 1, 300)])
    assert abs(mean_change_point(values) - 700) <= 1
