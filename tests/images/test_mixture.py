import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.images.mixture import Mixture, balanced


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.05, 0.95))
def test_every_row_is_there_and_the_share_is_about_right(old, new, share):
    rows = balanced(np.arange(old), np.arange(1000, 1000 + new), share)
    assert set(rows.tolist()) == {*range(old), *range(1000, 1000 + new)}
    times = {count for count in np.unique(rows, return_counts=True)[1]}
    assert len(times) <= 2  # a group is repeated whole
    ratio = (rows >= 1000).sum() / (rows < 1000).sum()
    wanted = share / (1 - share)
    assert 0.66 <= ratio / wanted <= 1.51  # rounding a repetition of 1.5 to 1 or 2 is the worst case


@pytest.mark.parametrize(("old", "new"), [(0, 5), (5, 0)])
def test_a_group_without_rows_leaves_all_to_the_other(old, new):
    rows = balanced(np.arange(old), np.arange(new), 0.5)
    assert rows.tolist() == list(range(5))


def test_mixture_takes_rows_of_the_collection():
    class Numbers:
        def __len__(self):
            return 10

        def take(self, rows):
            return rows * 10

    mixture = Mixture(Numbers(), np.array([7, 7, 2]))
    assert len(mixture) == 3
    assert mixture.take(np.array([2, 0])).tolist() == [20, 70]
