"""The rivals: published batch learners and river's trees."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evergreen.retail.baselines import BASELINES
from evergreen.retail.batch_baselines import (
    BatchSettings,
    Refitted,
    logistic_regression,
    random_forest,
    sample,
    xgboost,
)
from evergreen.retail.protocol import DayBlock, RunInput, RunOutput, Stream
from evergreen.retail.trees import TreeSettings, adaptive_forest, adaptive_tree

BATCH = BatchSettings(clock=1, trials=2, trees=12, search_trees=4, search_rows=200, fit_rows=400)
TREES = TreeSettings(rows_per_day=15, trees=3)
RUNS: dict[str, Callable[[RunInput], RunOutput]] = {
    "logistic-regression": lambda data: logistic_regression(data, BATCH),
    "random-forest": lambda data: random_forest(data, BATCH),
    "xgboost": lambda data: xgboost(data, BATCH),
    "adaptive-tree": lambda data: adaptive_tree(data, TREES),
    "adaptive-forest": lambda data: adaptive_forest(data, TREES),
}


def made_up(labels_from: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]], latency: int = 0) -> RunInput:
    rng = np.random.default_rng(1)
    told = np.repeat(np.arange(70), 20)
    features = np.column_stack([rng.integers(-1, 120, len(told)), rng.integers(0, 9, len(told)), rng.random(len(told))])
    names, asked = ("recency_1", "frequency_1", "monetary_1"), told - latency
    stream = Stream(features, names, labels_from(features, told), asked, told, np.arange(len(told)))
    blocks = tuple(DayBlock(d, np.flatnonzero(asked == d), np.flatnonzero(told == d)) for d in range(30, 70))
    return RunInput(stream, np.flatnonzero(told < 30), 30, blocks, "published", 120, 120, 0, 1)


def plain(features: NDArray[Any], told: NDArray[Any]) -> NDArray[Any]:
    return features[:, 0] > 50


@pytest.mark.parametrize("name", RUNS)
def test_learns_and_answers_all_that_is_asked(name: str) -> None:
    data = made_up(plain)
    output = RUNS[name](data)
    scored = data.scored()
    assert np.isfinite(output.scores[scored]).all()
    assert np.isnan(output.scores[data.initial]).all()
    assert (output.predictions[scored] == data.stream.labels[scored]).mean() > 0.9
    assert (output.versions[scored] >= 1).all()
    np.testing.assert_array_equal(RUNS[name](data).scores, output.scores)


@pytest.mark.parametrize("name", RUNS)
def test_labels_of_a_day_change_no_answer_of_it(name: str) -> None:
    one = RUNS[name](made_up(plain, latency=3))
    two = RUNS[name](made_up(lambda f, told: plain(f, told) ^ (told >= 55), latency=3))
    asked = made_up(plain, latency=3).stream.asked
    np.testing.assert_array_equal(one.scores[asked <= 55], two.scores[asked <= 55])
    assert not np.array_equal(one.scores, two.scores, equal_nan=True)


def test_a_forest_fitted_anew_keeps_the_searched_parameters() -> None:
    output = random_forest(made_up(lambda f, told: plain(f, told) ^ (told >= 45)), BATCH)
    assert output.drifts
    model: Refitted = output.bundle[0]
    chosen: Any = model.estimator
    assert chosen.max_features == output.notes["parameters"]["max_features"]
    assert len(chosen.estimators_) == BATCH.trees


def test_river_learns_no_more_than_it_is_allowed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from river.tree import HoeffdingAdaptiveTreeClassifier

    learned: list[int] = []
    original = HoeffdingAdaptiveTreeClassifier.learn_one

    def counting(self: Any, x: Any, y: Any, **rest: Any) -> None:
        learned.append(1)
        original(self, x, y, **rest)

    monkeypatch.setattr(HoeffdingAdaptiveTreeClassifier, "learn_one", counting)
    adaptive_tree(made_up(plain), TreeSettings(rows_per_day=4))
    assert len(learned) == 70 * 4


def test_a_sample_keeps_the_classes_shares() -> None:
    labels = np.arange(1000) % 10 == 0
    rows = sample(labels, 200, np.random.default_rng(0))
    assert len(rows) == 200
    assert labels[rows].sum() == 20
    np.testing.assert_array_equal(sample(labels, 1000, np.random.default_rng(0)), np.arange(1000))


def test_the_names_are_those_of_the_tables() -> None:
    rivals = {"tsunami", "logistic-regression", "random-forest", "xgboost", "adaptive-tree", "adaptive-forest"}
    assert rivals <= set(BASELINES)
