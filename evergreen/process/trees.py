"""River's adaptive trees and ensembles on the last four activities: every event is predicted, then learned.

The baselines of Pasquadibisceglie et al. 2023: adaptive Hoeffding tree (Bifet & Gavaldà 2009), adaptive random forest
(Gomes et al. 2017), streaming random patches (Gomes et al. 2019), with river's settings.
"""

import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np
import pydantic

from evergreen.config import Config
from evergreen.process.prefixes import PUBLISHED_LENGTH, PublishedPrefixes
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.warm_up import asked_rows

if TYPE_CHECKING:
    from river.base import Classifier

Features = dict[Hashable, str]
FEATURES = tuple(f"last_{PUBLISHED_LENGTH - place}" for place in range(PUBLISHED_LENGTH))


class TreeConfig(Config):
    """Settings.

    Attributes:
        models: trees of an ensemble.
    """

    models: int = pydantic.Field(10, ge=1)


def adaptive_tree(run: RunInput) -> RunOutput:
    """One Hoeffding tree whose branches are replaced when they become worse than an alternative."""
    from river.tree import HoeffdingAdaptiveTreeClassifier

    return follow(run, lambda config: HoeffdingAdaptiveTreeClassifier(seed=run.seed))


def adaptive_forest(run: RunInput) -> RunOutput:
    """A forest in which a tree is replaced when ADWIN finds a drift of its errors."""
    from river.forest import ARFClassifier

    return follow(run, lambda config: ARFClassifier(n_models=config.models, seed=run.seed))


def streaming_patches(run: RunInput) -> RunOutput:
    """Trees on random subsets of events and features, replaced when ADWIN finds a drift of their errors."""
    from river.ensemble import SRPClassifier

    return follow(run, lambda config: SRPClassifier(n_models=config.models, seed=run.seed))


def follow(run: RunInput, build: "Callable[[TreeConfig], Classifier]") -> RunOutput:
    """Let one of river's classifiers learn event by event; after the warm-up it is asked for each one before.

    Args:
        run: the stream; settings as :class:`TreeConfig`.
        build: makes the classifier.

    Raises:
        BadInputError: the warm-up has nothing to learn from.
    """
    began = warm = time.perf_counter()
    loop = _Loop(run, build(TreeConfig.read(run.settings, "settings of the trees")))
    following = run.stream.next.tolist()
    for row, pair in enumerate(loop.pair_of.tolist()):
        if row == run.cut:
            warm = time.perf_counter()
        if pair >= 0:
            if not run.ahead:
                loop.answer(pair)
            loop.learn(pair)
        if run.ahead and following[row] >= 0:
            loop.answer(int(loop.pair_of[following[row]]))
        run.progress.advance()
    versions = np.ones(len(loop.predictions), np.int64)
    seconds = {"warm_up": warm - began, "answer and learn": time.perf_counter() - warm}
    return RunOutput(loop.rows[loop.first :], loop.predictions, loop.scores, versions, seconds=seconds)


class _Loop:
    """What a classifier is given, and what it said.

    Attributes:
        rows: (P,) rows of the pairs: an event to predict with the window before it.
        first: the first pair that is scored.
        pair_of: (N,) pair of each row of the stream, -1 where there is none.
        predictions: (P - first,)
        scores: (P - first,)
    """

    def __init__(self, run: RunInput, model: "Classifier") -> None:
        self.model = model
        self.rows, self.first = asked_rows(run)
        self.pair_of = np.full(len(run.stream), -1)
        self.pair_of[self.rows] = np.arange(len(self.rows))
        scored = len(self.rows) - self.first
        self.predictions, self.scores = np.zeros(scored, np.int64), np.full(scored, np.nan)
        self._windows = PublishedPrefixes(run.stream).before(self.rows)
        self._labels = run.stream.activity[self.rows].tolist()
        self._names = ["", *run.stream.activities]  # padding is code -1

    def answer(self, pair: int) -> None:
        """Ask for a pair, if it is scored."""
        if pair >= self.first:
            k = pair - self.first
            self.predictions[k], self.scores[k] = most_likely(self.model, self._features(pair))

    def learn(self, pair: int) -> None:
        self.model.learn_one(self._features(pair), self._labels[pair])

    def _features(self, pair: int) -> Features:
        return {name: self._names[code + 1] for name, code in zip(FEATURES, self._windows[pair], strict=True)}


def most_likely(model: "Classifier", features: Features) -> tuple[int, float]:
    """The class with the highest vote and its share of the votes; NaN before anything is learned."""
    votes = model.predict_proba_one(features)
    total = sum(votes.values())
    if not total:
        return int(next(iter(votes), 0)), float("nan")
    label = max(votes, key=votes.__getitem__)
    return int(label), votes[label] / total
