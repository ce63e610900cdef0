"""LARS by hand, scaling, and exact resumption with every optimiser."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from evergreen.training import checkpoints
from evergreen.training.optimisers import OptimiserName, build_optimiser, set_learning_rate
from evergreen.training.schedules import scaled_rate

NAMES = get_args(OptimiserName)


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))


def step(network: nn.Module, optimiser: torch.optim.Optimizer, number: int) -> None:
    data = torch.randn(8, 4, generator=torch.Generator().manual_seed(number))
    set_learning_rate(optimiser, 0.1 / (1 + number))
    optimiser.zero_grad()
    network(data).square().mean().backward()
    optimiser.step()


def test_lars_follows_the_paper_step_by_step() -> None:
    network = module()
    optimiser = build_optimiser("lars", [network], momentum=0.9, weight_decay=0.02)
    weights = [p.detach().numpy().astype(np.float64) for p in network.parameters()]
    velocity = [np.zeros_like(w) for w in weights]
    for number in range(4):
        step(network, optimiser, number)
        for i, parameter in enumerate(network.parameters()):
            assert parameter.grad is not None
            g, w = parameter.grad.numpy().astype(np.float64), weights[i]
            if w.ndim < 2:
                velocity[i] = 0.9 * velocity[i] + 0.1 / (1 + number) * g
            else:
                local = 1e-3 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.02 * np.linalg.norm(w))
                velocity[i] = 0.9 * velocity[i] + 0.1 / (1 + number) * local * (g + 0.02 * w)
            weights[i] = w - velocity[i]
            np.testing.assert_allclose(parameter.detach().numpy(), weights[i], rtol=1e-4, atol=1e-6)


def test_lars_moves_a_weight_of_zero() -> None:
    network = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(network.weight)
    optimiser = build_optimiser("lars", [network], 0.0, 0.1)
    set_learning_rate(optimiser, 0.5)
    network.weight.grad = torch.ones(2, 2)
    optimiser.step()
    torch.testing.assert_close(network.weight.detach(), torch.full((2, 2), -0.5))


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_norms_do_not_decay(name: OptimiserName) -> None:
    network = module()
    optimiser = build_optimiser(name, [network], momentum=0.0, weight_decay=0.5)
    set_learning_rate(optimiser, 0.1)
    before = [p.detach().clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new) == (old.ndim < 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_goes_on_exactly_dropout_included(name: OptimiserName, tmp_path: Path) -> None:
    network = module()
    optimiser = build_optimiser(name, [network], 0.9, 1e-3)
    for number in range(3):
        step(network, optimiser, number)
    checkpoints.save(tmp_path / "c", network, optimiser, {"step": 3, "loss": 0.1})
    for number in range(3, 6):
        step(network, optimiser, number)

    torch.manual_seed(77)
    other = module()
    resumed = build_optimiser(name, [other], 0.9, 1e-3)
    assert checkpoints.load(tmp_path / "c", other, resumed) == {"step": 3, "loss": 0.1}
    for number in range(3, 6):
        step(other, resumed, number)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_no_checkpoint_is_none_and_a_cut_off_write_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = module()
    optimiser = build_optimiser("sgd", [network], 0.9, 1e-3)
    assert checkpoints.load(tmp_path / "c", network, optimiser) is None
    checkpoints.save(tmp_path / "c", network, optimiser, {"step": 1})

    def half(tensors: object, part: Path, metadata: object) -> None:
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path / "c", network, optimiser, {"step": 2})
    assert checkpoints.load(tmp_path / "c", network, optimiser) == {"step": 1}
    checkpoints.discard(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_scaled_rates_agree_at_the_reference_batch() -> None:
    assert {scaled_rate(0.3, scaling, 256) for scaling in ("none", "linear", "sqrt")} == {0.3}
    assert scaled_rate(0.3, "linear", 4096) == pytest.approx(4.8)
    assert scaled_rate(1.2, "sqrt", 4096) == pytest.approx(0.075 * 4096**0.5)
