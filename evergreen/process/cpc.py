"""Contrastive predictive coding on prefixes: pretraining without labels, remaining times or outcomes.

From the body's state after an event, a linear map for each distance k foresees the embedding of the event k steps
later, and must tell it from the same step of the other cases in the batch (van den Oord et al. 2018, equations 3, 4).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evergreen.process.contexts import Ints
from evergreen.process.network import Inputs, Network
from evergreen.process.prefixes import LongPrefixes

STEPS = 3
LEAST_PAIRS = 8
"""Fewer cases than that are no choice to foresee from."""


class Foresight(nn.Module):
    """The linear maps, one for each distance."""

    def __init__(self, network: Network, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.maps = nn.ModuleList(
                nn.Linear(network.config.cells, network.config.dimension, bias=False) for _ in range(STEPS)
            )

    def loss(self, network: Network, inputs: Inputs) -> Tensor:
        """Mean InfoNCE of n windows over their events and the distances."""
        states, embedded = network.states(inputs)  # (n, L, cells), (n, L, dimension)
        there = inputs.activity > 0
        losses = []
        for distance, foresee in enumerate(self.maps, start=1):
            for place in range(embedded.shape[1] - distance):
                both = there[:, place]  # windows are right-aligned: what follows is there too
                if int(both.sum()) < LEAST_PAIRS:
                    continue
                foreseen = foresee(states[both, place])  # (m, dimension)
                scores = foreseen @ embedded[both, place + distance].T  # (m, m)
                losses.append(_info_nce(scores, inputs.activity[both, place + distance]))
        return torch.stack(losses).mean() if losses else states.sum() * 0.0


def _info_nce(scores: Tensor, activity: Tensor) -> Tensor:
    """Cross-entropy of each row's own column; other columns of the same activity are no mistakes, so they are out."""
    same = activity[:, None] == activity[None, :]
    same.fill_diagonal_(False)
    return functional.cross_entropy(scores.masked_fill(same, float("-inf")), torch.arange(len(scores)))


def pretrain(
    network: Network, prefixes: LongPrefixes, rows: Ints, epochs: int, rate: float, batch: int, seed: int
) -> float:
    """Train body and embeddings on the windows before some rows; returns the mean loss of the last pass."""
    foresight = Foresight(network, seed)
    optimiser = torch.optim.AdamW([*network.trained(), *foresight.parameters()], lr=rate)
    random = np.random.default_rng(seed)
    mean = float("nan")
    for _ in range(epochs):
        losses = []
        for part in np.array_split(random.permutation(rows), max(1, -(-len(rows) // batch))):
            value = foresight.loss(network, network.inputs(prefixes.before(part)))
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            losses.append(float(value.detach()))
        mean = float(np.mean(losses))
    return mean
