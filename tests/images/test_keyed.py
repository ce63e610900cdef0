"""Counter-based numbers: against plain integers, and as random as they must be."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evergreen.images.augment import draw
from evergreen.images.keyed import GOLDEN, Chance, mix, signed

MASK = 2**64 - 1


def splitmix64(state: int) -> int:
    """The published generator's output at a state, in Python's integers."""
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_published_sequence() -> None:
    """The first outputs for seed 1234567 that implementations in other languages are tested with."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = torch.arange(1, 5) * GOLDEN + 1234567
    assert [value & MASK for value in mix(states).tolist()] == published


@given(st.lists(st.integers(0, MASK), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_mixing_is_splitmix64s(values: list[int]) -> None:
    found = mix(torch.tensor([signed(value) for value in values]))
    assert [value & MASK for value in found.tolist()] == [splitmix64(value) for value in values]


def test_uniform_numbers_are_the_top_bits_of_the_sequence() -> None:
    key = 42
    found = Chance(torch.tensor([key])).uniform(5)[0]
    expected = [(splitmix64((key + (n + 1) * (GOLDEN & MASK)) & MASK) >> 40) / 2**24 for n in range(5)]
    assert found.tolist() == expected


def test_normal_numbers_are_box_and_mullers_of_a_hashs_two_pieces() -> None:
    key = 7
    hashes = [splitmix64((key + (n + 1) * (GOLDEN & MASK)) & MASK) for n in range(3)]
    pieces = [((h >> 40) / 2**24, ((h >> 16) & 0xFFFFFF) / 2**24) for h in hashes]
    radius = [math.sqrt(-2 * math.log(1 - first)) for first, _ in pieces]
    cosines = [r * math.cos(2 * math.pi * second) for r, (_, second) in zip(radius, pieces, strict=True)]
    sines = [r * math.sin(2 * math.pi * second) for r, (_, second) in zip(radius, pieces, strict=True)]
    found = Chance(torch.tensor([key])).normal(5)[0].tolist()
    assert found == pytest.approx((cosines + sines)[:5], abs=1e-5)


def test_numbers_look_random() -> None:
    chance = Chance.of_draws(draw(500, 1, 0, 0)[:, 0])
    uniform, normal = chance.uniform(101), chance.named("noise").normal(101)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 1e-4
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 1e-4
    between = torch.corrcoef(torch.stack([normal[:, 0], normal[:, 50], normal[:, 51], normal[:, 100], uniform[:, 0]]))
    assert (between - torch.eye(5)).abs().max() < 5 / math.sqrt(500)


def test_names_and_keys_have_numbers_of_their_own() -> None:
    chance = Chance(torch.arange(1000))
    drawn = torch.stack([chance.uniform(1), chance.named("a").uniform(1), chance.named("b").uniform(1)]).flatten()
    assert len(drawn.unique()) > 2990
    assert torch.equal(chance.named("a").uniform(3), chance.named("a").uniform(5)[:, :3])


def test_many_numbers_are_made_in_pieces_of_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Chance(torch.arange(50)).uniform(30)
    monkeypatch.setattr("evergreen.images.keyed.CHUNK", 100)
    assert torch.equal(Chance(torch.arange(50)).uniform(30), whole)
