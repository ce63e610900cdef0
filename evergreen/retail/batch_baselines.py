"""The published rivals: logistic regression, random forest and XGBoost in the published loop.

They are searched as published (20 TPE trials, stratified 3-fold macro-F), fitted on the initial days and, after a
drift, from scratch on the days in ADWIN's window, with the parameters that the search found. Two bounds keep a run
short: the search sees at most ``search_rows`` rows and smaller ensembles, a new fit at most ``fit_rows`` rows; both
are random samples with the classes' shares. The published random forest loses its searched ``max_features`` when it
is fitted anew; that accident is not repeated.
"""

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.progress import track
from evergreen.retail.daily_loop import DailySettings, Features, Labels, macro_f, run_daily
from evergreen.retail.protocol import RunInput, RunOutput
from evergreen.retail.tsunami_network import stratified

Parameters = dict[str, Any]
FOLDS = 3


class BatchSettings(DailySettings):
    """How far the search and the fits may go.

    Attributes:
        trials: points of the search space that are tried.
        trees: of a random forest or of XGBoost, as published.
        search_trees: the same during the search.
        search_rows: rows of the search.
        fit_rows: rows of a fit.
    """

    trials: int = pydantic.Field(20, ge=1)
    trees: int = pydantic.Field(500, ge=1)
    search_trees: int = pydantic.Field(100, ge=1)
    search_rows: int = pydantic.Field(10_000, ge=10)
    fit_rows: int = pydantic.Field(100_000, ge=10)


class Estimator(Protocol):
    """What scikit-learn and XGBoost have in common."""

    def fit(self, features: Features, labels: Labels) -> Any: ...

    def predict_proba(self, features: Features) -> NDArray[Any]: ...


Build = Callable[[Parameters, int, Labels], Estimator]
"""Parameters, number of trees and the labels to be fitted (for class weights) → an estimator."""


class Refitted:
    """An estimator in the loop that is fitted from scratch after a drift."""

    def __init__(self, build: Callable[[Labels], Estimator], rows: int, seed: int) -> None:
        self.build, self.rows, self.rng = build, rows, np.random.default_rng((seed, 1))
        self.estimator: Estimator

    def answer(self, features: Features) -> NDArray[np.float64]:
        return np.asarray(self.estimator.predict_proba(features)[:, 1], np.float64)

    def adapt(self, features: Features, labels: Labels) -> None:
        rows = sample(labels, self.rows, self.rng)
        self.estimator = self.build(labels[rows])
        self.estimator.fit(features[rows], labels[rows])


def logistic_regression(data: RunInput, settings: BatchSettings | None = None) -> RunOutput:
    """C = 2^U(−15, 15)."""
    from sklearn.linear_model import LogisticRegression

    def suggest(trial: Any) -> Parameters:
        return {"C": 2.0 ** trial.suggest_float("log2_c", -15, 15)}

    def build(chosen: Parameters, trees: int, labels: Labels) -> Estimator:
        estimator: Estimator = LogisticRegression(C=chosen["C"], class_weight="balanced", max_iter=1000)
        return estimator

    return _run(data, suggest, build, settings or BatchSettings())


def random_forest(data: RunInput, settings: BatchSettings | None = None) -> RunOutput:
    """Share of features at a split U(0, 1)."""
    from sklearn.ensemble import RandomForestClassifier

    def suggest(trial: Any) -> Parameters:
        return {"max_features": trial.suggest_float("max_features", 1e-6, 1.0)}

    def build(chosen: Parameters, trees: int, labels: Labels) -> Estimator:
        fixed = {"class_weight": "balanced", "n_jobs": data.threads, "random_state": data.seed}
        estimator: Estimator = RandomForestClassifier(trees, **chosen, **fixed)
        return estimator

    return _run(data, suggest, build, settings or BatchSettings())


def xgboost(data: RunInput, settings: BatchSettings | None = None) -> RunOutput:
    """Learning rate U(0, 1), samples of rows and columns U(.5, 1), depth 4..30, smallest child 1..6."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when its library is loaded
    from xgboost import XGBClassifier

    def suggest(trial: Any) -> Parameters:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.5, 1.0),
            "max_depth": trial.suggest_int("max_depth", 4, 30),
            "min_child_weight": trial.suggest_int("min_child_weight", 1, 6),
        }

    def build(chosen: Parameters, trees: int, labels: Labels) -> Estimator:
        balance = float((~labels).sum() / max(1, labels.sum()))
        fixed = {"scale_pos_weight": balance, "n_jobs": data.threads, "random_state": data.seed}
        estimator: Estimator = XGBClassifier(n_estimators=trees, tree_method="hist", **chosen, **fixed)
        return estimator

    return _run(data, suggest, build, settings or BatchSettings())


def _run(data: RunInput, suggest: Callable[[Any], Parameters], build: Build, settings: BatchSettings) -> RunOutput:
    found: list[Parameters] = []

    def fit(features: Features, labels: Labels) -> Refitted:
        rows = sample(labels, settings.search_rows, np.random.default_rng((data.seed, 0)))
        found.append(_search(features[rows], labels[rows], suggest, build, settings, data.seed))
        model = Refitted(lambda known: build(found[0], settings.trees, known), settings.fit_rows, data.seed)
        model.adapt(features, labels)
        return model

    output = run_daily(data, fit, settings)
    output.notes["parameters"] = found[0]
    return output


def _search(
    features: Features,
    labels: Labels,
    suggest: Callable[[Any], Parameters],
    build: Build,
    settings: BatchSettings,
    seed: int,
) -> Parameters:
    """The parameters with the best macro-F, pooled over the left-out thirds."""
    import optuna
    from sklearn.model_selection import StratifiedKFold

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels))
    tried: list[Parameters] = []
    with track("search", total=settings.trials, unit="points") as progress:
        for _ in range(settings.trials):
            trial = study.ask()
            tried.append(suggest(trial))
            answers = np.zeros(len(labels), bool)
            for training, left_out in folds:
                estimator = build(tried[-1], settings.search_trees, labels[training])
                estimator.fit(features[training], labels[training])
                answers[left_out] = estimator.predict_proba(features[left_out])[:, 1] >= 0.5
            study.tell(trial, macro_f(labels, answers))
            progress.advance(macro_f=f"{study.best_value:.4f}")
    return tried[study.best_trial.number]


def sample(labels: Labels, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many row numbers, in order, with the classes' shares."""
    if len(labels) <= rows:
        return np.arange(len(labels))
    return stratified(labels, rows / len(labels), rng)[1]
