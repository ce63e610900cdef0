"""Training the network while the stream goes on: mini-batches of recent and of older events whose labels are known."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pydantic
import torch
from torch import nn

from evergreen.config import Config
from evergreen.process import cpc
from evergreen.process.contexts import Ints
from evergreen.process.embedding import train_vectors
from evergreen.process.network import Inputs, Network, NetworkConfig, loss
from evergreen.process.outcome import Fates
from evergreen.process.prefixes import LongPrefixes
from evergreen.process.stream import EventStream
from evergreen.process.word2vec import Word2Vec

PERIOD = 512
"""Events between two trainings: a multiple of every block that is answered at once."""
BACKWARD = 3.0
"""A step costs about three times an answer."""


class ReplayConfig(Config):
    """How the network is trained.

    Attributes:
        steps: mini-batches at each training.
        batch: events of a mini-batch, half of them from the last two periods.
        memory: last events from which the other half is drawn.
        rate: of AdamW.
        warm_up_epochs: passes over the warm-up when it ends.
        adapt_epochs: passes over the new regime at a drift.
        cpc_epochs: passes of contrastive pretraining over the warm-up, before the others.
    """

    steps: int = pydantic.Field(4, ge=0)
    batch: int = pydantic.Field(256, ge=2)
    memory: int = pydantic.Field(20_000, ge=1)
    rate: float = pydantic.Field(2e-3, gt=0)
    warm_up_epochs: int = pydantic.Field(6, ge=0)
    adapt_epochs: int = pydantic.Field(3, ge=0)
    cpc_epochs: int = pydantic.Field(0, ge=0)


@dataclass(frozen=True)
class Lessons:
    """The stream as the network's training sees it."""

    stream: EventStream
    prefixes: LongPrefixes
    fates: Fates

    def inputs(self, network: Network, rows: Ints) -> Inputs:
        """What is known before n rows."""
        return network.inputs(self.prefixes.before(rows))

    def targets(self, rows: Ints, now: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(n,) next activities, remaining days and outcomes, the latter two only where known at row ``now``."""
        known = self.fates.known_from[rows] <= now
        remaining = np.where(known, self.fates.remaining_days[rows], np.nan).astype(np.float32)
        outcome = np.where(known, self.fates.outcome[rows], -1)
        return (
            torch.from_numpy(self.stream.activity[rows].astype(np.int64)),
            torch.from_numpy(remaining),
            torch.from_numpy(outcome),
        )


class Trainee:
    """A network with its optimiser."""

    def __init__(self, lessons: Lessons, shape: NetworkConfig, config: ReplayConfig, classes: int, seed: int) -> None:
        self.lessons, self.shape, self.config, self.seed = lessons, shape, config, seed
        self.network = Network(shape, classes, seed)
        words = shape.embedding == "word2vec"
        self.words = Word2Vec(shape.dimension, torch.Generator().manual_seed(seed)) if words else None
        self._random = np.random.default_rng(seed)
        self._optimiser = self._new_optimiser()
        self.flops = 0.0

    def grow(self, classes: int) -> None:
        """Know more activities; the optimiser's memory of the others is kept where shapes allow it."""
        if classes > self.network.classes:
            self.network.grow(classes)
            self._optimiser = self._new_optimiser()

    def practise(self, told: Ints, now: int) -> None:
        """The regular training: some batches, half of them of the most recent events.

        Args:
            told: rows whose labels are known, oldest first.
            now: the last of them.
        """
        if not len(told):
            return
        recent = told[-2 * PERIOD :]
        older = told[-self.config.memory :]
        half = self.config.batch // 2
        for _ in range(self.config.steps):
            drawn = np.concatenate([self._random.choice(recent, half), self._random.choice(older, half)])
            self._step(drawn, now)

    def pretrain(self, rows: Ints) -> None:
        """Contrastive pretraining, if the configuration has any."""
        config = self.config
        if config.cpc_epochs and len(rows):
            prefixes = self.lessons.prefixes
            cpc.pretrain(self.network, prefixes, rows, config.cpc_epochs, config.rate, config.batch, self.seed)

    def study(self, rows: Ints, now: int, epochs: int) -> None:
        """Pass over some rows several times, in batches drawn anew each time; vectors of activities come first."""
        if self.words is not None and len(rows):
            self.flops += train_vectors(self.words, self.lessons.stream, rows, self.network.classes)
            self.network.set_vectors(self.words.vectors)
        for _ in range(epochs):
            order = self._random.permutation(rows)
            for start in range(0, len(order), self.config.batch):
                self._step(order[start : start + self.config.batch], now)

    def _step(self, rows: Ints, now: int) -> None:
        self.network.train()
        following, remaining, outcome = self.lessons.targets(rows, now)
        outcome = outcome.masked_fill(outcome >= self.network.classes, -1)
        value = loss(self.network(self.lessons.inputs(self.network, rows)), following, remaining, outcome)
        self._optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(list(self.network.trained()), 1.0)
        self._optimiser.step()
        self.flops += BACKWARD * self.network.flops(len(rows))

    def _new_optimiser(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(self.network.trained(), lr=self.config.rate, weight_decay=1e-3, foreach=True)

    def copy(self) -> Self:
        """One that may be trained without changing this one."""
        other = type(self)(self.lessons, self.shape, self.config, self.network.classes, self.seed)
        other.network.load_state_dict(self.network.state_dict())
        if self.words is not None and other.words is not None:
            other.words.vectors, other.words.outputs = self.words.vectors, self.words.outputs
        other._random.bit_generator.state = self._random.bit_generator.state
        return other

    def state(self) -> dict[str, Any]:
        """The network's weights."""
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}
