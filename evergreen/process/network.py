"""The network over a running case: embeddings, a recurrent or attentive body, heads for what is to come."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.process.prefixes import FEATURES, Window

SPARE = 2
"""Embeddings 0 and 1 are those of no event and of an activity that the network does not know."""
RESOURCES = 64
"""Resources are hashed into so many embeddings: their number has no bound."""
RESOURCE_SIZE = 8
LONGEST_DAYS = 365.0


class NetworkConfig(Config):
    """Shape of the network.

    Attributes:
        body: of it.
        embedding: of activities: ``learned`` end to end, or ``word2vec`` or ``onehot``, which the network leaves alone.
        dimension: of an activity's embedding; one-hot activities beyond it share their places.
        cells: of the body.
        window: events it looks back.
        layers: of a transformer.
        heads: of a transformer.
    """

    body: Literal["gru", "lstm", "transformer"] = "gru"
    embedding: Literal["learned", "word2vec", "onehot"] = "learned"
    dimension: int = pydantic.Field(32, ge=4)
    cells: int = pydantic.Field(64, ge=4)
    window: int = pydantic.Field(8, ge=2, le=16)
    layers: int = pydantic.Field(1, ge=1)
    heads: int = pydantic.Field(4, ge=1)


@dataclass(frozen=True)
class Inputs:
    """A window as tensors: activity (n, L) and resource (n, L) places of embeddings, numbers (n, L, F)."""

    activity: Tensor
    resource: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.activity)


@dataclass(frozen=True)
class Heads:
    """What the network says of n cases.

    Attributes:
        following: (n, C) logits of the next activity.
        remaining: (n,) logarithm of 1 + the days until the last event.
        outcome: (n, C) logits of the activity that is the outcome.
    """

    following: Tensor
    remaining: Tensor
    outcome: Tensor


class Network(nn.Module):
    """See the module. New activities get an embedding and an output of their own; everything else stays.

    Attributes:
        classes: activities it knows.
    """

    def __init__(self, config: NetworkConfig, classes: int, seed: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.activity = nn.Embedding(classes + SPARE, config.dimension, padding_idx=0)
            self.resource = nn.Embedding(RESOURCES + 1, RESOURCE_SIZE, padding_idx=0)
            width = config.dimension + RESOURCE_SIZE + len(FEATURES)
            self.body = _body(config, width)
            self.trunk = nn.Linear(config.cells + config.dimension, config.cells)
            self.following = nn.Linear(config.cells, classes)
            self.remaining = nn.Linear(config.cells, 1)
            self.outcome = nn.Linear(config.cells, classes)
        if config.embedding == "onehot":
            self.set_vectors(_unit_vectors(classes, config.dimension))

    def inputs(self, window: Window) -> Inputs:
        """A window for this network, cut to its length."""
        length = self.config.window
        code = window.activity[:, -length:].astype(np.int64)
        activity = np.where(code < self.classes, code + SPARE, 1)
        activity[code < 0] = 0
        who = window.resource[:, -length:].astype(np.int64)
        resource = np.where(who >= 0, who % RESOURCES + 1, 0)
        numbers = np.ascontiguousarray(window.numbers[:, -length:])
        return Inputs(torch.from_numpy(activity), torch.from_numpy(resource), torch.from_numpy(numbers))

    def states(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """(n, L, cells) what the body knows after each event, and (n, L, dimension) the embedded activities."""
        embedded = self.activity(inputs.activity)
        joined = torch.cat([embedded, self.resource(inputs.resource), inputs.numbers], dim=2)
        return self.body(joined, inputs.activity == 0), embedded

    def forward(self, inputs: Inputs) -> Heads:
        states, embedded = self.states(inputs)
        trunk = torch.relu(self.trunk(torch.cat([states[:, -1], embedded[:, -1]], dim=1)))
        return Heads(self.following(trunk), self.remaining(trunk).squeeze(1), self.outcome(trunk))

    def grow(self, classes: int) -> None:
        """Know more activities: their embeddings and outputs are drawn, or set where they are not learned."""
        more = classes - self.classes
        if more <= 0:
            return
        self.activity.weight = self._with(self.activity.weight, more, 0.1)
        self.activity.num_embeddings += more
        for layer in (self.following, self.outcome):
            layer.weight = self._with(layer.weight, more, 0.01)
            layer.bias = nn.Parameter(torch.cat([layer.bias.data, layer.bias.data.new_full((more,), -2.0)]))
            layer.out_features += more
        self.classes = classes
        if self.config.embedding == "onehot":
            self.set_vectors(_unit_vectors(classes, self.config.dimension))
        elif self.config.embedding == "word2vec":
            self.activity.weight.requires_grad_(False)

    def set_vectors(self, vectors: Tensor) -> None:
        """Take (V, dimension) vectors of activities as embeddings that are not trained further."""
        self.activity.weight.requires_grad_(False)
        self.activity.weight[SPARE : SPARE + len(vectors)] = vectors
        self.activity.weight[1] = 0.0

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that learn."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def flops(self, windows: int) -> float:
        """Floating-point operations of answering so many windows, two for each weight and event."""
        per_event = sum(parameter.numel() for parameter in self.body.parameters())
        once = sum(
            parameter.numel()
            for layer in (self.trunk, self.following, self.outcome)
            for parameter in layer.parameters()
        )
        return 2.0 * windows * (self.config.window * per_event + once)

    def _with(self, weight: Tensor, more: int, scale: float) -> nn.Parameter:
        drawn = torch.randn(more, weight.shape[1], generator=self._generator) * scale
        return nn.Parameter(torch.cat([weight.data, drawn]))


def loss(heads: Heads, following: Tensor, remaining: Tensor, outcome: Tensor) -> Tensor:
    """Mean loss of n windows over the three heads.

    Args:
        heads: what was said.
        following: (n,) next activities.
        remaining: (n,) days, NaN where not known; the absolute error of the logarithm is smallest at the median.
        outcome: (n,) activities, -1 where not known.
    """
    total = functional.cross_entropy(heads.following, following)
    known = ~torch.isnan(remaining)
    if known.any():
        total = total + 0.3 * functional.l1_loss(heads.remaining[known], torch.log1p(remaining[known]))
    known = outcome >= 0
    if known.any():
        total = total + 0.3 * functional.cross_entropy(heads.outcome[known], outcome[known])
    return total


class Recurrent(nn.Module):
    """A GRU or an LSTM."""

    def __init__(self, cell: type[nn.GRU | nn.LSTM], width: int, cells: int) -> None:
        super().__init__()
        self.cell = cell(width, cells, batch_first=True)

    def forward(self, events: Tensor, absent: Tensor) -> Tensor:
        """(n, L, cells) of events (n, L, width); absent ones stand at the left."""
        states: Tensor = self.cell(events.masked_fill(absent[..., None], 0.0))[0]
        return states


class CausalTransformer(nn.Module):
    """A small transformer: no event sees a later one. Positions are counted from the right."""

    def __init__(self, width: int, cells: int, layers: int, heads: int, window: int) -> None:
        super().__init__()
        self.embed = nn.Linear(width, cells)
        self.position = nn.Parameter(0.02 * torch.randn(window, cells))
        layer = nn.TransformerEncoderLayer(cells, heads, 2 * cells, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, events: Tensor, absent: Tensor) -> Tensor:
        """(n, L, cells) of events (n, L, width); absent ones stand at the left."""
        length = events.shape[1]
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        hidden = later[None] | absent[:, None, :]  # (n, L, L)
        hidden = hidden & ~torch.eye(length, dtype=torch.bool)  # an absent event sees itself: a softmax needs something
        heads = self.encoder.layers[0].self_attn.num_heads
        mask = hidden.repeat_interleave(heads, dim=0)
        states: Tensor = self.encoder(self.embed(events) + self.position[-length:], mask=mask)
        return states


def _body(config: NetworkConfig, width: int) -> nn.Module:
    if config.body == "transformer":
        return CausalTransformer(width, config.cells, config.layers, config.heads, config.window)
    return Recurrent(nn.GRU if config.body == "gru" else nn.LSTM, width, config.cells)


def _unit_vectors(classes: int, dimension: int) -> Tensor:
    vectors = torch.zeros(classes, dimension)
    vectors[torch.arange(classes), torch.arange(classes) % dimension] = math.sqrt(dimension)
    return vectors
