"""The moving average of a network: the recursion by hand, and that no training ends with much of where it began."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evergreen.training.moving_average import capped_decay, moving_average


def test_average_is_the_recursion() -> None:
    network = nn.BatchNorm1d(3)
    average = moving_average(network, 0.75)
    for value in (4.0, 8.0, 0.0):  # the first one is taken as it is
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(-value)
        average.update_parameters(network)
    assert average.module.weight.tolist() == [3.75] * 3
    assert average.module.running_mean.tolist() == [-3.75] * 3


@given(st.floats(0, 0.9999), st.integers(1, 20_000))
def test_little_is_left_of_the_start(decay: float, steps: int) -> None:
    kept = capped_decay(decay, steps)
    assert 0 <= kept <= decay
    assert kept**steps < 1e-4
