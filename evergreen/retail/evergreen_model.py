"""`evergreen`: search on the initial days, train, then follow the stream day by day through the prequential engine."""

import time
from datetime import date, timedelta
from typing import Any

import numpy as np
import pydantic
import torch

from evergreen.config import Config
from evergreen.progress import track
from evergreen.retail.diary import Diary
from evergreen.retail.features import Encoder
from evergreen.retail.learner import ChurnLearner, LearnerConfig
from evergreen.retail.protocol import RunInput, RunOutput
from evergreen.retail.search import SearchConfig, rehearse, search
from evergreen.stream.learner import Alarm, Answers, Block, Truth
from evergreen.stream.prequential import Prequential, PrequentialConfig
from evergreen.stream.regimes import RegimePolicy

EPOCH = date(1970, 1, 1)
DAY_US = 86_400_000_000


class EvergreenConfig(Config):
    """All of the model.

    Attributes:
        learner: network and training.
        search: of the learner's numbers, on the initial days.
        engine: drift, adaptation and proof. The detector is fed one mean loss a day: the examples of a customer are
            near-copies of each other, so rows are no independent witnesses.
    """

    learner: LearnerConfig = LearnerConfig()
    search: SearchConfig = SearchConfig()
    engine: PrequentialConfig = PrequentialConfig(
        signal="block",
        settings={"delta": 0.05},
        min_rows=1000,
        regimes=RegimePolicy(min_rows=200, floor_skill=0.0, old_margin=0.02),
    )
    keep_versions: int = pydantic.Field(400, ge=1)
    """Versions of the weights that are kept for explanations."""


def run_evergreen(data: RunInput, config: EvergreenConfig | None = None) -> RunOutput:
    """Follow a stream.

    Returns:
        Answers of every asked row, drifts, seconds by phase; ``bundle`` is the diary, with every version of the model.
    """
    config = config or EvergreenConfig()
    torch.set_num_threads(data.threads)
    stream = data.stream
    clock = _Clock()
    encoder = Encoder.fit(stream.features[data.initial], data.period_days, data.churn_days)
    chosen = search(data, encoder, config.learner, config.search)
    clock.lap("search")
    diary = Diary(data)
    rehearse(data, encoder, chosen, diary)
    learner = ChurnLearner(diary, encoder, chosen, data.seed)
    learner.start(data.initial)
    learner.catch_up()
    clock.lap("train")
    engine = Prequential(
        Truth(stream.labels.astype(np.int64), ("stays", "churns"), stream.groups), config.engine, data.seed
    )
    with track("evergreen", total=len(data.blocks), unit="days") as progress:
        answers = engine.run(
            learner,
            (Block(block.day * DAY_US, block.ask, block.tell) for block in data.blocks),
            lambda block: progress.advance(),
        )
    clock.lap("online")
    output = RunOutput.empty(len(stream))
    asked = data.scored()
    output.predictions[asked] = answers.classes[asked]
    output.scores[asked] = np.where(answers.classes == 1, answers.scores, 1 - answers.scores)[asked]
    output.versions[asked] = diary.versions[asked]
    output.drifts = [_entry(alarm, answers) for alarm in answers.alarms]
    output.seconds = clock.seconds
    share, churners, returners = (float(value) for value in diary.mixer.candidate)
    output.notes = {
        "learner": chosen.model_dump(),
        "mixture": {"network": share, "churners": churners, "returners": returners},
        "threshold": {"risk": diary.threshold.probability, "window": diary.threshold.window},
        "versions": diary.editions,
    }
    output.bundle = diary
    return output


def _entry(alarm: Alarm, answers: Answers) -> dict[str, Any]:
    decision = alarm.decision
    return {
        "day": (EPOCH + timedelta(days=alarm.time // DAY_US)).isoformat(),
        "detector": "adwin",
        "state": alarm.detector,
        "adaptation": None if decision is None else "finetune",
        "rows": alarm.rows,
        "flops": alarm.flops,
        "gain": None if decision is None else decision.gain,
        "decision": alarm.action,
        "reason": None if decision is None else decision.reason,
    }


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase], self._since = now - self._since, now
