"""NT-Xent's relatives against loops over views that follow the papers word by word."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.images.losses import (
    decoupled,
    logistic,
    margin_triplet,
    nt_xent,
    semi_hard,
    supervised_contrastive,
    with_memory,
)
from evergreen.images.memory_bank import MemoryBank

shapes = st.tuples(st.integers(2, 6), st.integers(2, 5), st.integers(0, 1000))
temperatures = st.sampled_from([0.1, 0.5, 1.0])


def projections(shape: tuple[int, int, int]) -> torch.Tensor:
    images, dimension, seed = shape
    return torch.randn(2 * images, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def other_view(i: int, views: int) -> int:
    return (i + views // 2) % views


def negatives_of(i: int, views: int) -> list[int]:
    return [k for k in range(views) if k not in (i, other_view(i, views))]


@settings(deadline=None, max_examples=20)
@given(shape=shapes, temperature=temperatures)
def test_decoupled_equals_the_double_loop(shape: tuple[int, int, int], temperature: float) -> None:
    z = projections(shape)
    views = len(z)
    total = 0.0
    for i in range(views):
        denominator = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in negatives_of(i, views))
        total -= math.log(math.exp(cosine(z[i], z[other_view(i, views)]) / temperature) / denominator)
    assert decoupled(z, temperature).item() == pytest.approx(total / views, rel=1e-4, abs=1e-5)


def semi_hard_by_loops(z: torch.Tensor, i: int) -> tuple[float, float]:
    """The positive's similarity and that of the closest negative farther away, or of the farthest of all."""
    views = len(z)
    positive = cosine(z[i], z[other_view(i, views)])
    all_negatives = [cosine(z[i], z[k]) for k in negatives_of(i, views)]
    farther = [s for s in all_negatives if s < positive]
    return positive, max(farther) if farther else min(all_negatives)


@settings(deadline=None, max_examples=20)
@given(shape=shapes, margin=st.sampled_from([0.1, 0.4, 1.5]))
def test_margin_equals_the_loop(shape: tuple[int, int, int], margin: float) -> None:
    z = projections(shape)
    terms = []
    for i in range(len(z)):
        positive, negative = semi_hard_by_loops(z, i)
        terms.append(max(negative - positive + margin, 0.0))
    assert margin_triplet(z, margin).item() == pytest.approx(sum(terms) / len(terms), rel=1e-4, abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(shape=shapes, temperature=temperatures)
def test_logistic_equals_the_loop(shape: tuple[int, int, int], temperature: float) -> None:
    z = projections(shape)
    terms = []
    for i in range(len(z)):
        positive, negative = semi_hard_by_loops(z, i)
        terms.append(math.log(1 + math.exp(-positive / temperature)) + math.log(1 + math.exp(negative / temperature)))
    assert logistic(z, temperature).item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_a_view_whose_negatives_are_all_closer_takes_the_farthest() -> None:
    similarity = torch.tensor(
        [[1.0, 0.9, 0.1, 0.5], [0.9, 1.0, 0.8, 0.3], [0.1, 0.8, 1.0, 0.2], [0.5, 0.3, 0.2, 1.0]],
    )
    positive, negative = semi_hard(similarity)
    torch.testing.assert_close(positive, torch.tensor([0.1, 0.3, 0.1, 0.3]))
    torch.testing.assert_close(negative, torch.tensor([0.5, 0.8, 0.2, 0.2]))


@settings(deadline=None, max_examples=25)
@given(shape=shapes, temperature=temperatures, data=st.data())
def test_supervised_equals_the_loop(shape: tuple[int, int, int], temperature: float, data: st.DataObject) -> None:
    z = projections(shape)
    views, images = len(z), shape[0]
    labels = data.draw(st.lists(st.integers(-1, 2), min_size=images, max_size=images))
    total = 0.0
    for i in range(views):
        same = [
            k for k in range(views) if k != i and labels[k % images] == labels[i % images] and labels[i % images] >= 0
        ]
        attracting = sorted({*same, other_view(i, views)})
        denominator = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in range(views) if k != i)
        terms = [math.log(math.exp(cosine(z[i], z[p]) / temperature) / denominator) for p in attracting]
        total -= sum(terms) / len(terms)
    found = supervised_contrastive(z, torch.tensor(labels), temperature)
    assert found.item() == pytest.approx(total / views, rel=1e-4, abs=1e-5)


def test_supervised_without_labels_is_nt_xent() -> None:
    z = projections((5, 4, 0))
    nothing = torch.full((5,), -1)
    torch.testing.assert_close(supervised_contrastive(z, nothing, 0.5), nt_xent(z, 0.5))


@settings(deadline=None, max_examples=20)
@given(shape=shapes, temperature=temperatures, entries=st.integers(0, 5))
def test_memory_equals_the_loop(shape: tuple[int, int, int], temperature: float, entries: int) -> None:
    z = projections(shape)
    views = len(z)
    memory = torch.nn.functional.normalize(projections((3, shape[1], shape[2] + 1)).float(), dim=1)  # six entries
    total = 0.0
    for i in range(views):
        near = [math.exp(cosine(z[i], z[k]) / temperature) for k in range(views) if k != i]
        far = [math.exp(cosine(z[i].float(), memory[m]) / temperature) for m in range(entries)]
        attraction = math.exp(cosine(z[i], z[other_view(i, views)]) / temperature)
        total -= math.log(attraction / (sum(near) + sum(far)))
    found = with_memory(z, memory, torch.arange(6) < entries, temperature)
    assert found.item() == pytest.approx(total / views, rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(size=st.integers(1, 7), batches=st.lists(st.integers(1, 5), max_size=6))
def test_the_bank_holds_the_last_first_views(size: int, batches: list[int]) -> None:
    bank = MemoryBank(size, 3)
    seen: list[torch.Tensor] = []
    for number, images in enumerate(batches):
        z = projections((images, 3, number)).float()
        bank.remember(z)
        seen += list(torch.nn.functional.normalize(z[:images], dim=1))
    expected = {tuple(v.tolist()) for v in seen[-size:]}
    assert {tuple(v.tolist()) for v in bank.queue[: len(seen)]} == expected
    assert min(bank.written.item(), size) == min(len(seen), size)


def test_an_empty_bank_gives_nt_xent_and_takes_no_gradient() -> None:
    z = projections((4, 3, 0)).float().requires_grad_()
    bank = MemoryBank(5, 3)
    torch.testing.assert_close(bank.loss(z, 0.5), nt_xent(z, 0.5))
    bank.remember(z)
    bank.loss(z, 0.5).backward()
    assert not bank.queue.requires_grad
    assert z.grad is not None


LOSSES: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "decoupled": decoupled,
    "margin": margin_triplet,
    "logistic": logistic,
    "supervised": lambda z, t: supervised_contrastive(z, torch.zeros(len(z) // 2, dtype=torch.long), t),
    "memory": lambda z, t: MemoryBank(4, z.shape[1]).loss(z, t),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("rows", "scale"), [(3, 0.5), (2, 0.5), (8, 0.0), (8, -1.0)])
def test_refuses_what_makes_no_sense(name: str, rows: int, scale: float) -> None:
    with pytest.raises(ValueError, match="found"):
        LOSSES[name](torch.randn(rows, 4), scale)


@pytest.mark.parametrize("name", LOSSES)
def test_descending_pulls_the_two_views_together(name: str) -> None:
    z = projections((6, 4, 3)).float().requires_grad_()
    optimiser = torch.optim.SGD([z], lr=0.5)

    def agreement() -> float:
        return torch.nn.functional.cosine_similarity(*z.detach().chunk(2)).mean().item()

    before = agreement()
    for _ in range(30):
        optimiser.zero_grad()
        LOSSES[name](z, 0.5).backward()
        optimiser.step()
    assert agreement() > before
