"""Schedules, optimisers and precision."""

import pytest
import torch
from torch import nn

from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import cpu_capabilities, resolve
from evergreen.training.schedules import warmup_cosine


def test_rises_to_the_peak_then_only_falls() -> None:
    rates = [warmup_cosine(s, 100, 0.3, 10) for s in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[9] == rates[10] == pytest.approx(0.3)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("warmup", [0, 5])
def test_short_runs_have_positive_rates(warmup: int) -> None:
    assert all(warmup_cosine(s, 5, 1.0, warmup) > 0 for s in range(5))


def test_biases_and_norms_do_not_decay() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimiser = sgd([module], momentum=0.0, weight_decay=0.5)
    set_learning_rate(optimiser, 0.1)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    for name, parameter in module.named_parameters():
        expected = before[name] * (1 - 0.1 * 0.5) if parameter.ndim == 2 else before[name]
        torch.testing.assert_close(parameter.detach(), expected)


def test_a_named_precision_is_kept_and_auto_follows_the_processor() -> None:
    cpu = torch.device("cpu")
    assert resolve("fp32", cpu) == "fp32"
    assert resolve("bf16", cpu) == "bf16"
    fast = {"avx512_bf16", "amx_bf16"} & set(cpu_capabilities())
    assert resolve("auto", cpu) == ("bf16" if fast else "fp32")
