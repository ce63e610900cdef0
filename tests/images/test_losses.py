"""The contrastive loss against the paper's double loop."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.images.losses import alignment, nt_xent, uniformity


def nt_xent_by_loops(z: torch.Tensor, temperature: float) -> float:
    """Chen et al. 2020, equation 1 and algorithm 1, word by word."""
    views = len(z)
    half = views // 2

    def s(i: int, j: int) -> float:
        return float(z[i] @ z[j] / (z[i].norm() * z[j].norm()))

    def loss(i: int, j: int) -> float:
        others = sum(math.exp(s(i, k) / temperature) for k in range(views) if k != i)
        return -math.log(math.exp(s(i, j) / temperature) / others)

    return sum(loss(k, k + half) + loss(k + half, k) for k in range(half)) / views


@settings(deadline=None, max_examples=25)
@given(
    images=st.integers(2, 6),
    dimension=st.integers(2, 5),
    temperature=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_equals_the_double_loop(images: int, dimension: int, temperature: float, seed: int) -> None:
    z = torch.randn(2 * images, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert nt_xent(z, temperature).item() == pytest.approx(nt_xent_by_loops(z, temperature), rel=1e-4)


@pytest.mark.parametrize("images", [2, 16, 100])
def test_identical_views_have_a_closed_form(images: int) -> None:
    z = torch.ones(2 * images, 8)
    assert nt_xent(z, 0.5).item() == pytest.approx(math.log(2 * images - 1), rel=1e-6)


def test_does_not_depend_on_scale_or_order_of_images() -> None:
    z = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = torch.cat([z[:6][order], z[6:][order]])
    assert nt_xent(z * 7, 0.5).item() == pytest.approx(nt_xent(z, 0.5).item(), rel=1e-5)
    assert nt_xent(shuffled, 0.5).item() == pytest.approx(nt_xent(z, 0.5).item(), rel=1e-5)


def test_gradient_by_finite_differences() -> None:
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    nt_xent(z, 0.5).backward()
    assert z.grad is not None
    step = 1e-3
    for i, j in [(0, 0), (3, 2), (7, 1)]:
        bump = torch.zeros_like(z)
        bump[i, j] = step
        with torch.no_grad():
            numeric = (
                (nt_xent_by_loops((z + bump).double(), 0.5) - nt_xent_by_loops((z - bump).double(), 0.5)) / 2 / step
            )
        assert z.grad[i, j].item() == pytest.approx(numeric, abs=1e-4)


@pytest.mark.parametrize(("rows", "temperature"), [(3, 0.5), (2, 0.5), (8, 0.0)])
def test_refuses_what_makes_no_sense(rows: int, temperature: float) -> None:
    with pytest.raises(ValueError, match="found"):
        nt_xent(torch.randn(rows, 4), temperature)


def test_alignment_and_uniformity_by_loops() -> None:
    z = torch.randn(10, 4, generator=torch.Generator().manual_seed(2))
    unit = z / z.norm(dim=1, keepdim=True)
    pairs = [float((unit[k] - unit[k + 5]).square().sum()) for k in range(5)]
    potentials = [math.exp(-2 * float((unit[a] - unit[b]).square().sum())) for a in range(5) for b in range(5) if a < b]
    assert alignment(z).item() == pytest.approx(sum(pairs) / 5, rel=1e-5)
    assert uniformity(z).item() == pytest.approx(math.log(sum(potentials) / len(potentials)), rel=1e-5)
