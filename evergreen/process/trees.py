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

if TYPE_CHECKING:
    from river.base import Classifier

Features = dict[Hashable, str]


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
    """Let one of river's classifiers learn the warm-up, then test and learn event by event.

    Args:
        run: the stream; settings as :class:`TreeConfig`.
        build: makes the classifier.
    """
    began = time.perf_counter()
    model = build(TreeConfig.read(run.settings, "settings of the trees"))
    stream = run.stream
    rows = np.flatnonzero(stream.asked)
    windows = PublishedPrefixes(stream).before(rows)
    names = ["", *stream.activities]  # -1, the padding, finds the last one of a list; so codes are shifted by one
    places = [f"last_{PUBLISHED_LENGTH - place}" for place in range(PUBLISHED_LENGTH)]
    first = int(np.searchsorted(rows, run.cut))
    predictions, scores = np.zeros(len(rows) - first, np.int64), np.full(len(rows) - first, np.nan)
    warm = began
    for k, (window, label) in enumerate(zip(windows.tolist(), stream.activity[rows].tolist(), strict=True)):
        features: Features = {place: names[code + 1] for place, code in zip(places, window, strict=True)}
        if k == first:
            warm = time.perf_counter()
        if k >= first:
            predictions[k - first], scores[k - first] = _most_likely(model, features)
        model.learn_one(features, label)
        run.progress.advance(int(rows[k]) - (int(rows[k - 1]) if k else 0))
    run.progress.advance(len(stream) - int(rows[-1]))
    seconds = {"warm_up": warm - began, "answer and learn": time.perf_counter() - warm}
    return RunOutput(rows[first:], predictions, scores, np.ones(len(predictions), np.int64), seconds=seconds)


def _most_likely(model: "Classifier", features: Features) -> tuple[int, float]:
    """The class with the highest vote and its share of the votes; NaN before anything is learned."""
    votes = model.predict_proba_one(features)
    total = sum(votes.values())
    if not total:
        return int(next(iter(votes), 0)), float("nan")
    label = max(votes, key=votes.__getitem__)
    return int(label), votes[label] / total
