"""The learner's numbers and first threshold, from the initial days alone.

The initial days are cut in time: the model learns from the first two thirds and is judged on the last. Examples of a
customer episode have their labels on one day, so a cut between days never leaves an episode on both sides.
"""

from typing import Any

import numpy as np
import pydantic
import torch

from evergreen.config import Config
from evergreen.retail.diary import Diary
from evergreen.retail.features import Encoder
from evergreen.retail.learner import ChurnLearner, LearnerConfig
from evergreen.retail.protocol import RunInput
from evergreen.stream.learner import Rows


class SearchConfig(Config):
    """How long is searched.

    Attributes:
        trials: points that are tried, the given numbers among them; 0 keeps these.
        rows: of the later days that a point is judged on, at most.
        steps: of a trial's training.
    """

    trials: int = pydantic.Field(8, ge=0)
    rows: int = pydantic.Field(20_000, ge=100)
    steps: int = pydantic.Field(200, ge=1)


def cut(data: RunInput) -> tuple[Rows, Rows]:
    """The initial rows told in the first two thirds of the initial days, and those of the last third."""
    told = data.stream.told[data.initial]
    days = np.unique(told)
    border = days[len(days) * 2 // 3]
    return data.initial[told < border], data.initial[told >= border]


def search(data: RunInput, encoder: Encoder, config: LearnerConfig, settings: SearchConfig) -> LearnerConfig:
    """Rate, dropout and weight decay with the lowest log-loss on the last initial days.

    Nothing is searched where one of both parts lacks a class.
    """
    first, later = cut(data)
    labels = data.stream.labels
    if not settings.trials or any(len(np.unique(labels[rows])) < 2 for rows in (first, later)):
        return config
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng((data.seed, 3))
    judged = later if len(later) <= settings.rows else np.sort(rng.choice(later, settings.rows, replace=False))

    def objective(trial: Any) -> float:
        tried = _suggested(config, trial)
        diary = Diary(data)
        learner = ChurnLearner(diary, encoder, tried.model_copy(update={"first_steps": settings.steps}), data.seed)
        learner.start(first)
        log_odds = learner.network.log_odds(encoder(data.stream.features[judged]))
        return float(np.logaddexp(0, np.where(labels[judged], -log_odds, log_odds)).mean())

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=data.seed))
    given = {"rate": config.rate, "decay": config.decay, "dropout": config.network.dropout}
    study.enqueue_trial(given)
    study.optimize(objective, n_trials=settings.trials)
    return _suggested(config, study.best_trial)


def _suggested(config: LearnerConfig, trial: Any) -> LearnerConfig:
    rate = trial.suggest_float("rate", 3e-4, 3e-3, log=True)
    decay = trial.suggest_float("decay", 1e-3, 1.0, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.3)
    network = config.network.model_copy(update={"dropout": dropout})
    return config.model_copy(update={"rate": rate, "decay": decay, "network": network})


def rehearse(data: RunInput, encoder: Encoder, config: LearnerConfig, diary: Diary) -> None:
    """Go through the last initial days as if they were online, so that mixture and threshold have answers to judge."""
    first, later = cut(data)
    if len(first):
        learner = ChurnLearner(diary, encoder, config, data.seed)
        learner.start(first)
        stream = data.stream
        for day in np.unique(stream.told[later]).tolist():
            learner.answer(data.initial[stream.asked[data.initial] == day])
            learner.learn(later[stream.told[later] == day])
    diary.begin()
    torch.manual_seed(data.seed)
