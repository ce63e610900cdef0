import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.images.splits import split_of


def hashes(count):
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]


def test_shares_are_the_ones_asked_for():
    shares = {"test": 0.2, "gate": 0.02, "val": 0.1, "train": 0.68}
    count = 20_000
    found = Counter(split_of(h, 3, test=0.2, gate=0.02, val=0.1) for h in hashes(count))
    for split, share in shares.items():
        assert found[split] == pytest.approx(share * count, abs=4 * (count * share * (1 - share)) ** 0.5)


@given(seed=st.integers(0, 9), test=st.floats(0, 0.3), gate=st.floats(0, 0.3), val=st.floats(0, 0.3))
def test_a_larger_share_only_adds(seed, test, gate, val):
    for h in hashes(20):
        if split_of(h, seed, test=test, gate=gate, val=0) != "train":
            assert split_of(h, seed, test=test, gate=gate, val=val) == split_of(h, seed, test=test, gate=gate, val=0)


def test_seeds_split_independently():
    def gate(seed):
        return {h for h in hashes(4000) if split_of(h, seed, test=0, gate=0.1, val=0.1) == "gate"}

    assert gate(0) == gate(0)
    assert len(gate(0) & gate(1)) == pytest.approx(40, abs=25)


@pytest.mark.parametrize("split", ["test", "gate", "val"])
def test_a_share_of_nothing_is_empty(split):
    shares = {"test": 0.3, "gate": 0.3, "val": 0.3} | {split: 0.0}
    assert all(split_of(h, 0, **shares) != split for h in hashes(300))
