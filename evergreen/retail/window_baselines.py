"""Strong plain rivals: fitted anew every few days on the latest days, and cut where their own last answers were best.

Neither detects anything. What they show is how much of a churn stream's drift plain forgetting follows.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.progress import track
from evergreen.retail.features import Encoded, Encoder
from evergreen.retail.protocol import RunInput, RunOutput
from evergreen.retail.threshold import BINS, best_cut, bin_of, count

Labels = NDArray[np.bool_]
Answer = Callable[[Encoded], NDArray[np.float64]]
"""Codes (n, w) → log-odds (n,)."""


class WindowSettings(Config):
    """The windows.

    Attributes:
        days: of labels that are fitted.
        every: days between two fits.
        threshold_days: of own answers that the threshold is tuned on.
        rounds: trees of the boosting.
        depth: of a tree.
        rate: of the boosting.
    """

    days: int = pydantic.Field(120, ge=1)
    every: int = pydantic.Field(5, ge=1)
    threshold_days: int = pydantic.Field(60, ge=1)
    rounds: int = pydantic.Field(100, ge=1)
    depth: int = pydantic.Field(4, ge=1)
    rate: float = pydantic.Field(0.1, gt=0)


def logistic_window(data: RunInput, settings: WindowSettings | None = None) -> RunOutput:
    """Logistic regression on a sliding window, the classes balanced."""
    from sklearn.linear_model import LogisticRegression

    def fit(codes: Encoded, labels: Labels) -> Answer:
        model = LogisticRegression(solver="newton-cholesky", class_weight="balanced")
        model.fit(codes.astype(np.float64), labels)
        return lambda asked: np.asarray(model.decision_function(asked), np.float64)

    return _run(data, fit, settings or WindowSettings())


def xgboost_window(data: RunInput, settings: WindowSettings | None = None) -> RunOutput:
    """Gradient boosting on a sliding window, the classes balanced."""
    from xgboost import DMatrix, train

    settings = settings or WindowSettings()
    fixed: dict[str, Any] = {
        "objective": "binary:logistic",
        "max_depth": settings.depth,
        "eta": settings.rate,
        "subsample": 0.8,
        "min_child_weight": 20,
        "tree_method": "hist",
        "nthread": data.threads,
        "seed": data.seed,
    }

    def fit(codes: Encoded, labels: Labels) -> Answer:
        balance = float((~labels).sum() / labels.sum())
        model = train(fixed | {"scale_pos_weight": balance}, DMatrix(codes, labels), settings.rounds)
        return lambda asked: np.asarray(model.predict(DMatrix(asked), output_margin=True), np.float64)

    return _run(data, fit, settings)


def _run(data: RunInput, fit: Callable[[Encoded, Labels], Answer], settings: WindowSettings) -> RunOutput:
    stream, output = data.stream, RunOutput.empty(len(data.stream))
    encoder = Encoder.fit(stream.features[data.initial], data.period_days, data.churn_days)
    codes = encoder(stream.features)[:, : encoder.wide]
    told = stream.told[data.initial]
    window = [data.initial[told == day] for day in np.unique(told)][-settings.days :]
    log_odds = np.full(len(stream), np.nan)
    seen: list[NDArray[np.int64]] = []
    answer: Answer | None = None
    cut, version = BINS // 2, 0
    seconds = {"train": 0.0, "answer": 0.0}
    with track("window", total=len(data.blocks), unit="days") as progress:
        for number, block in enumerate(data):
            started = time.perf_counter()
            if answer is None or number % settings.every == 0:
                rows = np.concatenate(window)
                if len(np.unique(stream.labels[rows])) == 2:
                    answer, version = fit(codes[rows], stream.labels[rows]), version + 1
            fitted = time.perf_counter()
            if len(block.ask) and answer is not None:
                log_odds[block.ask] = answer(codes[block.ask])
                output.predictions[block.ask] = bin_of(log_odds[block.ask]) >= cut
                output.versions[block.ask] = version
            if len(block.tell):
                window = [*window, block.tell][-settings.days :]
                known = block.tell[np.isfinite(log_odds[block.tell])]
                seen = [*seen, count(log_odds[known], stream.labels[known])][-settings.threshold_days :]
                best = best_cut(np.sum(seen, axis=0))
                cut = cut if best is None else best
            seconds["train"] += fitted - started
            seconds["answer"] += time.perf_counter() - fitted
            progress.advance()
    output.scores = 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))
    output.seconds, output.notes = seconds, settings.model_dump()
    return output
