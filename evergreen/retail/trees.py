"""River's adaptive trees: they learn example by example and replace a branch, or a tree, where ADWIN sees it fail.

They need no loop around them. River learns in plain Python, about 0.1 ms an example for a tree and 0.5 ms for a
forest of ten, so each day teaches at most ``rows_per_day`` of its examples, drawn at random; all examples are answered.
More do harm: the examples of a customer are near-copies of each other, while Hoeffding's bound and ADWIN count them
as independent witnesses. docs/retail.md has the measurement.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.progress import track
from evergreen.retail.protocol import RunInput, RunOutput


class TreeSettings(Config):
    """How much the trees learn.

    Attributes:
        rows_per_day: examples learned of a day.
        trees: of the forest; river's default.
    """

    rows_per_day: int = pydantic.Field(60, ge=1)
    trees: int = pydantic.Field(10, ge=1)


def adaptive_tree(data: RunInput, settings: TreeSettings | None = None) -> RunOutput:
    """A Hoeffding adaptive tree (Bifet & Gavaldà 2009)."""
    from river.tree import HoeffdingAdaptiveTreeClassifier

    tree = HoeffdingAdaptiveTreeClassifier(seed=data.seed)
    return _run(data, tree, settings or TreeSettings(), lambda: int(tree.n_switch_alternate_trees))


def adaptive_forest(data: RunInput, settings: TreeSettings | None = None) -> RunOutput:
    """An adaptive random forest (Gomes et al. 2017)."""
    from river.forest import ARFClassifier

    settings = settings or TreeSettings()
    forest = ARFClassifier(n_models=settings.trees, seed=data.seed)
    return _run(data, forest, settings, lambda: int(forest.n_drifts_detected()))


def _run(data: RunInput, model: Any, settings: TreeSettings, replaced: Callable[[], int]) -> RunOutput:
    """Answer and learn day by day.

    Args:
        data: the stream.
        model: river's.
        settings: how much is learned.
        replaced: how many branches or trees the model has replaced so far.
    """
    stream, output, rng = data.stream, RunOutput.empty(len(data.stream)), np.random.default_rng(data.seed)
    output.seconds = {"train": 0.0, "answer": 0.0, "learn": 0.0}

    def learn(rows: NDArray[np.int64], phase: str) -> None:
        started = time.perf_counter()
        rows = rng.permutation(rows)[: settings.rows_per_day]  # a day's order may tell returns from churn
        for features, label in zip(_dicts(data, rows), stream.labels[rows].tolist(), strict=True):
            model.learn_one(features, label)
        output.seconds[phase] += time.perf_counter() - started

    told = stream.told[data.initial]
    with track("days", total=data.initial_days + len(data.blocks), unit="days") as progress:
        for day in np.unique(told):
            learn(data.initial[told == day], "train")
            progress.advance()
        for version, block in enumerate(data, start=1):
            started = time.perf_counter()
            output.scores[block.ask] = [_risk(model.predict_proba_one(row)) for row in _dicts(data, block.ask)]
            output.versions[block.ask] = version
            output.seconds["answer"] += time.perf_counter() - started
            learn(block.tell, "learn")
            progress.advance()
    asked = output.versions > 0
    output.predictions[asked] = output.scores[asked] >= 0.5
    output.notes = {"rows_per_day": settings.rows_per_day, "replaced": replaced()}
    output.bundle = model
    return output


def _dicts(data: RunInput, rows: NDArray[np.int64]) -> list[dict[str, float]]:
    names = data.stream.names
    return [dict(zip(names, values, strict=True)) for values in data.stream.features[rows].tolist()]


def _risk(chances: dict[bool, float]) -> float:
    """Of churn, from river's dictionary, which leaves out classes that it has not seen."""
    return chances.get(True, 0.0) if chances else 0.5
