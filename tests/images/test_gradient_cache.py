"""Gradient caching equals the direct computation."""

import pytest
import torch
from torch import nn

from evergreen.images.gradient_cache import cached_backward
from evergreen.images.losses import nt_xent


class Frozen(nn.BatchNorm2d):
    """A batch norm that stays in eval mode."""

    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)


def network(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6)
    ).train()


def gradients(model: nn.Module) -> list[torch.Tensor]:
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), Frozen(8), nn.Identity()])
@pytest.mark.parametrize("chunk", [1, 3, 4, 12])
def test_equals_the_direct_computation(norm: nn.Module, chunk: int) -> None:
    model = network(norm)
    views = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    z = model(views)
    direct = nt_xent(z, 0.5)
    direct.backward()
    expected = gradients(model)
    loss, projections = cached_backward(model, views, lambda z: nt_xent(z, 0.5), chunk, "fp32")
    torch.testing.assert_close(loss, direct.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(projections, z.detach(), atol=1e-5, rtol=1e-5)
    for found, wanted in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("images", "chunk"), [(256, 16), pytest.param(4096, 256, marks=pytest.mark.slow)])
def test_a_large_batch_a_few_at_a_time(images: int, chunk: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 8))
    views = torch.rand(2 * images, 3, 2, 2)
    direct = nt_xent(model(views), 0.5)
    direct.backward()
    expected = gradients(model)
    largest = 0

    def watch(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        nonlocal largest
        largest = max(largest, len(given[0]))

    model.register_forward_pre_hook(watch)
    loss, _ = cached_backward(model, views, lambda z: nt_xent(z, 0.5), chunk, "fp32")
    assert largest == 2 * chunk  # both views
    torch.testing.assert_close(loss, direct.detach(), atol=1e-5, rtol=1e-5)
    for found, wanted in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_dropout_repeats_its_masks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    seen: list[torch.Tensor] = []
    model.register_forward_hook(lambda _, given, out: seen.append(out.detach()))
    cached_backward(model, torch.rand(16, 3, 2, 2), lambda z: nt_xent(z, 0.5), 4, "fp32")
    for first, second in zip(seen[:2], seen[2:], strict=True):
        assert torch.equal(first, second)


def test_batch_norm_sees_the_chunk_and_moves_its_statistics_once() -> None:
    views = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = network(nn.BatchNorm2d(8))
    cached_backward(model, views, lambda z: nt_xent(z, 0.5), 4, "fp32")
    reference = network(nn.BatchNorm2d(8))
    for start in (0, 4):
        reference(torch.cat([views[start : start + 4], views[8 + start : 12 + start]]))
    for found, wanted in zip(model.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)
