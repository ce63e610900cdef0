"""DARWIN's network: vectors of the last activities, LSTM layers with dropout, softmax; and how it is trained.

Vectors are frozen, so what the first layer's gates get from an activity is one row of a small table, whatever the
vectors' size; and in large batches the first layer sees each distinct window once. Both change nothing in the result.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from evergreen.process.fused_lstm import FusedLstm

Ints = NDArray[np.int64]

VALIDATION_SHARE = 0.2
PATIENCE = 20


@dataclass(frozen=True)
class Hyperparameters:
    """What the search chooses.

    Attributes:
        dimension: of the activities' vectors.
        cells: of each LSTM layer.
        dropout: share of each layer's outputs that is left out in training.
        rate: Adam's.
        batch: pairs a step.
    """

    dimension: int
    cells: tuple[int, ...]
    dropout: float
    rate: float
    batch: int


@dataclass(frozen=True)
class Examples:
    """n pairs for a network.

    Attributes:
        windows: (W, L) distinct windows, codes of activities, -1 for padding.
        window: (n,) which one each pair has.
        label: (n,) the next activities.
    """

    windows: Ints
    window: Ints
    label: Ints


class Network(nn.Module):
    """LSTM over a window of activities. Activities without a vector, and padding, are zeros.

    Args:
        vectors: (V, d) of the activities.
        chosen: sizes and dropout.
        classes: activities that can be predicted.
        generator: of the first weights and the dropout.
    """

    def __init__(
        self, vectors: torch.Tensor, chosen: Hyperparameters, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.chosen, self.generator = chosen, generator
        self.vectors = vectors
        widths = [vectors.shape[1], *chosen.cells]
        pairs = list(zip(widths, chosen.cells, strict=False))
        self.inputs = nn.ParameterList([self._glorot(a, 4 * b) for a, b in pairs])
        self.recurrent = nn.ParameterList([self._orthogonal(b) for b in chosen.cells])
        self.bias = nn.ParameterList([_forget_less(b) for b in chosen.cells])
        self.output = nn.Parameter(self._glorot(chosen.cells[-1], classes))
        self.output_bias = nn.Parameter(torch.zeros(classes))

    def grown(self, vectors: torch.Tensor, classes: int) -> "Network":
        """A copy for new vectors, of all activities known by now, and more classes: what was learned stays."""
        copy = Network(self.vectors, self.chosen, len(self.output_bias), self.generator)
        copy.load_state_dict(self.state_dict())
        copy.vectors = vectors
        if (wider := vectors.shape[1] - self.vectors.shape[1]) > 0:  # one-hot vectors
            fresh = self._glorot(vectors.shape[1], self.inputs[0].shape[1])[-wider:]
            copy.inputs[0] = nn.Parameter(torch.cat([self.inputs[0].detach(), fresh]))
        if (new := classes - len(self.output_bias)) > 0:
            fresh = self._glorot(self.output.shape[0], classes)[:, -new:]
            copy.output = nn.Parameter(torch.cat([self.output.detach(), fresh], dim=1))
            copy.output_bias = nn.Parameter(torch.cat([self.output_bias.detach(), torch.zeros(new)]))
        return copy

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) for (B, L) codes of activities."""
        return self.logits(self.places(windows))

    def places(self, windows: torch.Tensor) -> torch.Tensor:
        """(L, B) where the first layer finds what activities give to its gates; 0 for padding and unknown ones."""
        return torch.where((windows >= 0) & (windows < len(self.vectors)), windows + 1, 0).T

    def logits(self, places: torch.Tensor, which: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, C).

        Args:
            places: (L, U) of U windows.
            which: (B,) the window of each answer; None for one answer a window.
        """
        table = torch.addmm(self.bias[0], functional.pad(self.vectors, (0, 0, 1, 0)), self.inputs[0])  # (V + 1, 4H)
        hidden: torch.Tensor = FusedLstm.apply(functional.embedding(places, table), self.recurrent[0])
        if which is not None:
            hidden = hidden.index_select(1, which)  # (L, U, H) → (L, B, H)
        for layer in range(1, len(self.recurrent)):
            gates = self._dropped(hidden) @ self.inputs[layer] + self.bias[layer]
            hidden = FusedLstm.apply(gates, self.recurrent[layer])
        return torch.addmm(self.output_bias, self._dropped(hidden[-1]), self.output)

    def flops(self, windows: int, steps: int) -> float:
        """Multiplications and additions for so many windows of that length, without the savings of this class."""
        widths = [self.vectors.shape[1], *self.chosen.cells]
        layers = sum(8 * b * (a + b) for a, b in zip(widths, self.chosen.cells, strict=False))
        return float(windows * (steps * layers + 2 * self.output.numel()))

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.chosen.dropout:
            return values
        keep = 1 - self.chosen.dropout
        return values * torch.empty_like(values).bernoulli_(keep, generator=self.generator) / keep

    def _glorot(self, rows: int, columns: int) -> torch.Tensor:
        limit = math.sqrt(6 / (rows + columns))
        return (torch.rand(rows, columns, generator=self.generator) * 2 - 1) * limit

    def _orthogonal(self, cells: int) -> torch.Tensor:
        basis: torch.Tensor = torch.linalg.qr(torch.randn(4 * cells, cells, generator=self.generator)).Q
        return basis.T.contiguous()


def _forget_less(cells: int) -> torch.Tensor:
    """The bias that Keras begins with: 1 for the forget gates."""
    bias = torch.zeros(4 * cells)
    bias[cells : 2 * cells] = 1
    return bias


@dataclass(frozen=True)
class Trained:
    """How a training went: the best loss on the validation part, epochs run, floating-point operations."""

    loss: float
    epochs: int
    flops: float


def fit(network: Network, examples: Examples, epochs: int) -> Trained:
    """Train all weights of a network, with early stopping; it ends with the weights of its best epoch.

    The published program also halves the learning rate after 100 epochs without a better validation loss; it has
    stopped after 20 such epochs, so this is left out.

    Args:
        network: is changed.
        examples: oldest first; the last fifth is for validation.
        epochs: at most.
    """
    count = len(examples.label)
    held = int(count * VALIDATION_SHARE)
    window, label = torch.from_numpy(examples.window), torch.from_numpy(examples.label)
    windows = torch.from_numpy(examples.windows)
    training, steps = count - held, windows.shape[1]
    judged = slice(training, None) if held else slice(None)  # with fewer than five pairs all serve both
    seen, place = torch.unique(window[judged], return_inverse=True)
    places = network.places(windows)  # (L, W)
    crowded = network.chosen.batch > len(window[:training].unique())
    optimiser = torch.optim.Adam(network.parameters(), lr=network.chosen.rate, eps=1e-7, fused=True)
    best, state, waited, done = math.inf, _copy(network), 0, 0
    while done < epochs and waited < PATIENCE:
        network.train()
        for part in torch.randperm(training, generator=network.generator).split(network.chosen.batch):
            drawn, which = torch.unique(window[part], return_inverse=True) if crowded else (window[part], None)
            optimiser.zero_grad()
            functional.cross_entropy(network.logits(places[:, drawn], which), label[part]).backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            loss = float(functional.cross_entropy(network.logits(places[:, seen])[place], label[judged]))
        if loss < best:
            best, state, waited = loss, _copy(network), 0
        else:
            waited += 1
        done += 1
    network.load_state_dict(state)
    network.eval()
    return Trained(best, done, done * (3 * network.flops(training, steps) + network.flops(held, steps)))


def answer(network: Network, windows: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """(n,) predicted activities and (n,) their probabilities for (n, L) windows."""
    with torch.no_grad():
        chances = network(torch.from_numpy(windows)).softmax(1)
    top, which = chances.max(1)
    return which.numpy(), top.numpy().astype(np.float64)


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
