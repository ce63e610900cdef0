"""The moving average of a network's weights, which answers better than the last weights themselves."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and batch-norm statistics that starts at the network as it is."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def capped_decay(decay: float, steps: int, share: float = 0.1) -> float:
    """The decay of an average that remembers at most the last share of a training.

    An average with a longer memory still holds the weights that a short training began with; if they were fresh ones,
    its answers are hardly better than chance.

    >>> [capped_decay(0.99, steps) for steps in (5, 100, 5000)]
    [0.0, 0.9, 0.99]
    """
    return max(0.0, min(decay, 1 - 1 / (share * steps)))
