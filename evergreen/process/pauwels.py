"""The single-layer network of Pauwels & Calders (BPM 2021, "Incremental Predictive Process Monitoring").

The last activities, one-hot, go through one dense layer to a softmax. Of the paper's ways to keep it fresh: *update*
goes on training with the newest events alone, *retrain* begins anew on a sliding window. Dropout of 0.2, Nadam with a
rate of 0.002, batches of 32 and ten epochs an update are those of the authors' program. That has an embedding of 32
numbers an activity before the layer; with nothing between them both are one linear map, so it is left out here.
Windows are counted in events, which fits slow and busy processes alike.
"""

import math
import time

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch.nn import functional

from evergreen.config import Config
from evergreen.process.prefixes import LongPrefixes
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.warm_up import asked_rows

Ints = NDArray[np.int64]

RATE = 0.002
BATCH = 32
DROPOUT = 0.2
VALIDATION_SHARE = 0.2


class PauwelsConfig(Config):
    """Settings.

    Attributes:
        length: activities that are seen.
        every: predicted events between two updates.
        keep: events of the sliding window.
        update_epochs: passes over the newest events in an update.
        epochs: at most, when training begins anew.
        patience: epochs without a better validation loss before it stops.
    """

    length: int = pydantic.Field(10, ge=1)
    every: int = pydantic.Field(1000, ge=1)
    keep: int = pydantic.Field(5000, ge=1)
    update_epochs: int = pydantic.Field(10, ge=1)
    epochs: int = pydantic.Field(200, ge=1)
    patience: int = pydantic.Field(10, ge=1)


class SingleLayer:
    """One row of logits for each (place, activity), summed over the places of a window.

    All weights begin at zero, and activities that are not known yet can neither be seen nor predicted: so it does not
    matter that there is room for them from the start.

    Args:
        length: places.
        classes: room for so many activities.
        generator: of batches and dropout.
    """

    def __init__(self, length: int, classes: int, generator: torch.Generator) -> None:
        self.classes, self.known, self._generator = classes, 0, generator
        self.weights = torch.zeros(length * (classes + 1) + 1, classes, requires_grad=True)  # last row: the bias
        self._places = torch.arange(length) * (classes + 1)
        self.optimiser = torch.optim.NAdam([self.weights], lr=RATE)

    def logits(self, windows: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """(B, C) for (B, L) codes, -1 for padding."""
        seen = torch.where(windows < self.known, windows, -1)
        rows = seen + 1 + self._places
        bias = torch.full((len(rows), 1), len(self.weights) - 1)
        share = torch.ones(rows.shape)
        if dropout:
            share = share.bernoulli_(1 - dropout, generator=self._generator) / (1 - dropout)
        share = torch.cat([share, torch.ones(len(rows), 1)], dim=1)
        summed = functional.embedding_bag(
            torch.cat([rows, bias], dim=1), self.weights, mode="sum", per_sample_weights=share
        )
        return summed.masked_fill(torch.arange(self.classes) >= self.known, -math.inf)

    def epoch(self, windows: torch.Tensor, labels: torch.Tensor) -> None:
        """One pass over (n, L) windows and (n,) next activities."""
        for part in torch.randperm(len(labels), generator=self._generator).split(BATCH):
            self.optimiser.zero_grad()
            functional.cross_entropy(self.logits(windows[part], DROPOUT), labels[part]).backward()
            self.optimiser.step()

    def loss(self, windows: torch.Tensor, labels: torch.Tensor) -> float:
        with torch.no_grad():
            return float(functional.cross_entropy(self.logits(windows), labels))

    def answer(self, windows: torch.Tensor) -> tuple[Ints, NDArray[np.float64]]:
        """(n,) predicted activities and (n,) their probabilities."""
        with torch.no_grad():
            top, which = self.logits(windows).softmax(1).max(1)
        return which.numpy(), top.numpy().astype(np.float64)


def pauwels_update(run: RunInput) -> RunOutput:
    """Trained on the warm-up, then trained on with each window of new events."""
    return _Follower(run).follow(retrain=False)


def pauwels_retrain(run: RunInput) -> RunOutput:
    """Trained anew after each window of new events, on the newest ones and those before them."""
    return _Follower(run).follow(retrain=True)


class _Follower:
    """One run."""

    def __init__(self, run: RunInput) -> None:
        self.run, self.config = run, PauwelsConfig.read(run.settings, "settings of pauwels")
        torch.set_num_threads(run.threads)
        self.generator = torch.Generator().manual_seed(run.seed)
        self.rows, self.first = asked_rows(run)
        self.prefixes = LongPrefixes(run.stream, self.config.length)
        self.known = np.maximum.accumulate(run.stream.activity) + 1  # activities up to each row: codes go by appearance

    def follow(self, retrain: bool) -> RunOutput:
        """Answer a window of events, learn from it, go on."""
        rows, first, stream = self.rows, self.first, self.run.stream
        begins = np.arange(first, len(rows), self.config.every)  # (U,) the pairs that each model is the first to meet
        asked_at = stream.previous[rows[first:]] if self.run.ahead else rows[first:] - 1
        learned = rows[begins[1:] - 1]  # (U - 1,) rows after which the next model answers
        version = np.searchsorted(learned, asked_at, side="right")
        predictions, scores = np.zeros(len(version), np.int64), np.zeros(len(version))
        seconds = {"warm_up": -time.perf_counter(), "answer": 0.0, "adapt": 0.0}
        network = self._anew(0, first)
        seconds["warm_up"] += time.perf_counter()
        self.run.progress.advance(self.run.cut)
        told = self.run.cut
        for k, end in enumerate([*begins[1:].tolist(), len(rows)][: len(begins)]):
            asked = np.flatnonzero(version == k)
            seconds["answer"] -= time.perf_counter()
            predictions[asked], scores[asked] = network.answer(self._windows(rows[first + asked]))
            seconds["answer"] += time.perf_counter()
            self.run.progress.advance(int(rows[end - 1]) - told)
            told = int(rows[end - 1])
            seconds["adapt"] -= time.perf_counter()
            if end < len(rows) and retrain:
                network = self._anew(max(0, end - self.config.keep), end)
            elif end < len(rows):
                self._update(network, int(begins[k]), end)
            seconds["adapt"] += time.perf_counter()
        self.run.progress.advance(len(stream) - told)
        return RunOutput(rows[first:], predictions, scores, version + 1, seconds=seconds)

    def _windows(self, rows: Ints) -> torch.Tensor:
        return torch.from_numpy(self.prefixes.before(rows).activity.astype(np.int64))

    def _pairs(self, begin: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, L) windows and (n,) labels of pairs ``begin`` to ``end`` - 1."""
        rows = self.rows[begin:end]
        return self._windows(rows), torch.from_numpy(self.run.stream.activity[rows].astype(np.int64))

    def _update(self, network: SingleLayer, begin: int, end: int) -> None:
        windows, labels = self._pairs(begin, end)
        network.known = int(self.known[self.rows[end - 1]])
        for _ in range(self.config.update_epochs):
            network.epoch(windows, labels)

    def _anew(self, begin: int, end: int) -> SingleLayer:
        """A new network; training stops when the newest fifth of the events is no longer answered better."""
        network = SingleLayer(self.config.length, len(self.run.stream.activities), self.generator)
        windows, labels = self._pairs(begin, end)
        network.known = int(self.known[self.rows[end - 1]])
        training = len(labels) - int(len(labels) * VALIDATION_SHARE)
        judged = slice(training if training < len(labels) else 0, None)
        best, waited = math.inf, 0
        for _ in range(self.config.epochs):
            network.epoch(windows[:training], labels[:training])
            loss = network.loss(windows[judged], labels[judged])
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited == self.config.patience:
                break
        return network
