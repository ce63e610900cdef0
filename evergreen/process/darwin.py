"""DARWIN, the published system that Evergreen is measured against (Pasquadibisceglie et al. 2023, EAAI 123, 106461).

After a search on the warm-up it predicts the next activity of each running case, watches whether it is right with
ADWIN, and after a drift learns anew from as many of the newest pairs as ADWIN's window is long. What the paper
describes is done, not what the program that goes with it does by mistake:

- The output layer is not thrown away in fine-tuning, and keeps classes that are absent from a window: it only grows.
- While a model is trained the old one answers. How long that takes in the stream's time comes from a count of
  floating-point operations, not from the processor's clock.
- No prediction is made for a case that is over, and activities' names stay as they are.

Cases that are open when the warm-up ends are answered by its model; the published program leaves out their first event.
"""

import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydantic
import torch

from evergreen.config import Config
from evergreen.process.darwin_network import Network, answer
from evergreen.process.darwin_pairs import Pairs
from evergreen.process.darwin_search import Embedding, Found, Recipe, search
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.stream import SECOND_US
from evergreen.process.warm_up import asked_rows

Adaptation = Literal["finetune", "retrain", "never"]


class DarwinConfig(Config):
    """Settings; the defaults are the published ones.

    Attributes:
        trials: of the search.
        epochs: of a network, at most.
        embedding_epochs: of Word2Vec.
        embedding: how activities become vectors; the paper compares the two.
        delta: of ADWIN.
        clock: of ADWIN, events between its looks.
        flops_per_second: how fast models are trained, for the rule that a model in training cannot answer.
        block: pairs whose windows are answered together; the answers do not depend on it.
    """

    trials: int = pydantic.Field(20, ge=1)
    epochs: int = pydantic.Field(200, ge=1)
    embedding_epochs: int = pydantic.Field(200, ge=1)
    embedding: Embedding = "word2vec"
    delta: float = pydantic.Field(0.002, gt=0, lt=1)
    clock: int = pydantic.Field(32, ge=1)
    flops_per_second: float = pydantic.Field(1e9, gt=0)
    block: int = pydantic.Field(4096, ge=1)


class Answers:
    """What one network says of each window, worked out when it is first needed, many windows at a time."""

    def __init__(self, network: Network, pairs: Pairs, block: int) -> None:
        self.network, self._pairs, self._block = network, pairs, block
        self._label = np.full(len(pairs.windows), -1)
        self._chance = np.zeros(len(pairs.windows))

    def of(self, pair: int) -> tuple[int, float]:
        """The predicted activity and its probability."""
        window = self._pairs.window[pair]
        if self._label[window] < 0:
            ahead = np.unique(self._pairs.window[pair : pair + self._block])
            ahead = ahead[self._label[ahead] < 0]
            self._label[ahead], self._chance[ahead] = answer(self.network, self._pairs.windows[ahead])
        return int(self._label[window]), float(self._chance[window])


@dataclass
class Service:
    """The models in the order in which they answer.

    Attributes:
        since: rows of the events from which on each answers.
        answers: of each.
    """

    since: list[int]
    answers: list[Answers]

    def at(self, row: int) -> int:
        """Number, from 0, of the model that answers after the event in ``row``."""
        return bisect_right(self.since, row) - 1


def follow(run: RunInput, adaptation: Adaptation) -> RunOutput:
    """Search on the warm-up, then test and learn event by event.

    Args:
        run: the stream; settings as :class:`DarwinConfig`.
        adaptation: what to do after a drift.

    Raises:
        BadInputError: the warm-up has nothing to learn from.
    """
    config = DarwinConfig.read(run.settings, "settings of darwin")
    rows, first = asked_rows(run)
    pairs = Pairs.of(run.stream, rows)
    torch.set_num_threads(run.threads)
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(run.seed)
    recipe = Recipe(pairs, config.embedding, config.embedding_epochs, config.epochs, generator)
    found = search(recipe, first, config.trials, run.seed)
    seconds = {"warm_up": time.perf_counter() - began}
    run.progress.advance(run.cut)
    return _Loop(run, config, adaptation, recipe, found).run(first, seconds)


class _Loop:
    """The events after the warm-up."""

    def __init__(
        self, run: RunInput, config: DarwinConfig, adaptation: Adaptation, recipe: Recipe, found: Found
    ) -> None:
        from river.drift import ADWIN

        self.inputs, self.config, self.adaptation, self.recipe = run, config, adaptation, recipe
        self.chosen, self.words = found.chosen, found.words
        self.adwin = ADWIN(config.delta, config.clock)  # type: ignore[no-untyped-call]
        self.service = Service([-1], [Answers(found.network, recipe.pairs, config.block)])
        self.oldest = 0  # pair in the buffer
        self.adapting = 0.0
        self.drifts: list[dict[str, Any]] = []

    def run(self, first: int, seconds: dict[str, float]) -> RunOutput:
        """Follow the pairs from ``first`` on."""
        pairs, began = self.recipe.pairs, time.perf_counter()
        count = len(pairs.row) - first
        predictions, versions, scores = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
        told = self.inputs.cut
        for k, pair in enumerate(range(first, len(pairs.row))):
            version = self.service.at(int(pairs.asked_at[pair]))
            label, chance = self.service.answers[version].of(pair)
            predictions[k], scores[k], versions[k] = label, chance, version + 1
            if self.adaptation != "never" and self._drifted(label == pairs.label[pair]):
                self._adapt(pair)
            if k % 1000 == 0:
                self.inputs.progress.advance(int(pairs.row[pair]) - told)
                told = int(pairs.row[pair])
        self.inputs.progress.advance(len(self.inputs.stream) - told)
        seconds = {**seconds, "answer": time.perf_counter() - began - self.adapting, "adapt": self.adapting}
        return RunOutput(pairs.row[first:], predictions, scores, versions, self.drifts, seconds)

    def _drifted(self, right: bool) -> bool:
        """Feed ADWIN. It goes on after an alarm with the window that is left; river would begin a new one."""
        self.adwin.update(int(right))  # type: ignore[no-untyped-call]
        alarm = self.adwin.drift_detected
        self.adwin._drift_detected = False
        return alarm

    def _adapt(self, pair: int) -> None:
        """Trim the buffer to ADWIN's window and, unless a model is being trained, train one."""
        row, width = int(self.recipe.pairs.row[pair]), int(self.adwin.width)
        state = {"width": width, "accuracy": self.adwin.estimation, "buffer": pair + 1 - self.oldest}
        self.oldest = max(self.oldest, pair + 1 - width)
        busy = row < self.service.since[-1]
        flops = 0.0
        if not busy:
            began = time.perf_counter()
            network, flops = self._train(pair + 1)
            self.adapting += time.perf_counter() - began
            self.service.since.append(self._ready(row, flops))
            self.service.answers.append(Answers(network, self.recipe.pairs, self.config.block))
        self.drifts.append(
            {
                "row": row,
                "detector": "adwin",
                "state": state,
                "adaptation": None if busy else self.adaptation,
                "cost": flops,
                "gain": None,
                "decision": "still training" if busy else "replace",
            }
        )

    def _train(self, last: int) -> tuple[Network, float]:
        """A network that has learned from the buffer, whose newest pair is ``last`` - 1, and the operations spent."""
        recipe = self.recipe
        tuned = self.adaptation == "finetune"
        self.words, spent = recipe.embed(self.words if tuned else None, self.chosen.dimension, self.oldest, last)
        vectors, classes = recipe.vectors(self.words, last), recipe.classes(last)
        if tuned:
            network = self.service.answers[-1].network.grown(vectors, classes)
        else:
            network = Network(vectors, self.chosen, classes, recipe.generator)
        return network, spent + recipe.train(network, self.oldest, last).flops

    def _ready(self, row: int, flops: float) -> int:
        """The first event after a drift at which a model is trained."""
        times = self.inputs.stream.time_us
        finished = times[row] + flops / self.config.flops_per_second * SECOND_US
        return max(row + 1, int(np.searchsorted(times, finished, side="left")))


def darwin(run: RunInput) -> RunOutput:
    """DARWIN with fine-tuning."""
    return follow(run, "finetune")


def darwin_retrain(run: RunInput) -> RunOutput:
    """DARWIN that begins anew at each drift, with the hyper-parameters of the warm-up."""
    return follow(run, "retrain")


def static(run: RunInput) -> RunOutput:
    """DARWIN's network of the warm-up, never changed."""
    return follow(run, "never")
