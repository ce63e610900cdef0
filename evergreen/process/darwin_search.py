"""DARWIN's choice of hyper-parameters on the warm-up, and what turns pairs into a trained network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from evergreen.process.darwin_network import Examples, Hyperparameters, Network, Trained, fit
from evergreen.process.darwin_pairs import Pairs
from evergreen.process.word2vec import Word2Vec

if TYPE_CHECKING:
    import optuna

DIMENSIONS = (16, 32, 64, 128, 256, 512, 1024)
CELLS = (10, 150)
LAYERS = (1, 2, 3)
RATES = (1e-5, 1e-2)
BATCHES = (32, 64, 128, 256, 512, 1024)

Embedding = Literal["word2vec", "one-hot"]


@dataclass(frozen=True)
class Recipe:
    """What does not change during a run.

    Attributes:
        pairs: all pairs of the stream; only those named are looked at.
        embedding: how activities become vectors.
        embedding_epochs: of Word2Vec.
        epochs: of a network, at most.
        generator: of all random numbers but those of the search.
    """

    pairs: Pairs
    embedding: Embedding
    embedding_epochs: int
    epochs: int
    generator: torch.Generator

    def classes(self, last: int) -> int:
        """Activities that are known after the pairs before ``last``: codes go by first appearance."""
        seen = slice(0, last)
        return int(max(self.pairs.label[seen].max(), self.pairs.windows[self.pairs.window[seen]].max())) + 1

    def embed(self, old: Word2Vec | None, dimension: int, first: int, last: int) -> tuple[Word2Vec | None, float]:
        """Vectors of the activities that occur in pairs ``first`` to ``last`` - 1, and the operations spent.

        Args:
            old: vectors to go on from; None to begin anew.
            dimension: of new ones.
            first: pair.
            last: pair, not included.
        """
        if self.embedding == "one-hot":
            return None, 0.0
        words = Word2Vec(dimension, self.generator) if old is None else old
        words.grow(self.classes(last))
        return words, words.train(self.pairs.bags(first, last), self.embedding_epochs)

    def vectors(self, words: Word2Vec | None, last: int) -> torch.Tensor:
        """(V, d)"""
        return torch.eye(self.classes(last)) if words is None else words.vectors

    def train(self, network: Network, first: int, last: int) -> Trained:
        """Train a network on pairs ``first`` to ``last`` - 1."""
        pairs = self.pairs
        return fit(network, Examples(pairs.windows, pairs.window[first:last], pairs.label[first:last]), self.epochs)


@dataclass(frozen=True)
class Found:
    """The best trial of a search: its hyper-parameters, its network and vectors, and what all trials cost."""

    chosen: Hyperparameters
    network: Network
    words: Word2Vec | None
    loss: float
    flops: float


def search(recipe: Recipe, last: int, trials: int, seed: int) -> Found:
    """Draw hyper-parameters with TPE, train with each, keep the one with the smallest validation loss.

    The published system uses hyperopt's TPE, which draws its first 20 trials at random; optuna's learns after 10.

    Args:
        recipe: pairs and how to train.
        last: pairs before this one are learned from.
        trials: how many.
        seed: of the drawing.
    """
    import optuna

    classes = recipe.classes(last)
    embedded: dict[int, tuple[Word2Vec | None, torch.Tensor]] = {}
    best: Found | None = None
    spent = 0.0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(trials):
        trial = study.ask()
        chosen = suggest(trial)
        if chosen.dimension not in embedded:
            words, flops = recipe.embed(None, chosen.dimension, 0, last)
            embedded[chosen.dimension] = words, recipe.vectors(words, last)
            spent += flops
        words, vectors = embedded[chosen.dimension]
        network = Network(vectors, chosen, classes, recipe.generator)
        trained = recipe.train(network, 0, last)
        spent += trained.flops
        study.tell(trial, trained.loss)
        if best is None or trained.loss < best.loss:
            best = Found(chosen, network, words, trained.loss, spent)
    assert best is not None
    return Found(best.chosen, best.network, best.words, best.loss, spent)


def suggest(trial: "optuna.Trial") -> Hyperparameters:
    """One point of the published search space."""
    dimension = trial.suggest_categorical("dimension", DIMENSIONS)
    layers = trial.suggest_categorical("layers", LAYERS)
    cells = [trial.suggest_int(f"cells_{layers}_{layer}", *CELLS, log=True) for layer in range(layers)]
    return Hyperparameters(
        dimension=dimension,
        cells=tuple(cells),
        dropout=trial.suggest_float("dropout", 0.0, 1.0),
        rate=trial.suggest_float("rate", *RATES, log=True),
        batch=trial.suggest_categorical("batch", BATCHES),
    )
