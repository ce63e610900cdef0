"""The prequential engine on an event stream: each event is answered with all earlier ones learned.

The shared engine (:mod:`evergreen.stream.prequential`) answers whole blocks with the model as it is. Here a model takes
in a block's events one after the other while it answers them, and the detector hears of every event what came before
it, what came, and the loss.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pydantic

from evergreen.process.contexts import Ints
from evergreen.process.learner import BLOCK, EvergreenConfig, EvergreenLearner, Task
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.stream import EventStream
from evergreen.stream.detectors.outcomes import Outcome
from evergreen.stream.learner import Alarm, Block, Learner, Truth
from evergreen.stream.prequential import LEAST, Prequential, PrequentialConfig

AHEAD_BLOCK = 32
"""Events after which a model takes in what it was told, where answers are due before that."""
WAITING = "too few rows"
STATE = ("updates", "evidence", "direction", "cause")


class FollowingConfig(PrequentialConfig):
    """When the model adapts, how, and what a challenger must prove: see :class:`PrequentialConfig`."""

    detector: str = "outcomes"
    min_rows: int = pydantic.Field(400, ge=1)


@dataclass
class Following(Prequential):
    """See the module."""

    task: Task | None = None
    scored: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    ahead: bool = False
    seconds: dict[str, float] = field(
        default_factory=lambda: {"answer": 0.0, "learn": 0.0, "detect": 0.0, "adapt": 0.0}
    )

    def start(self) -> None:
        """Room for the answers of the other heads."""
        assert self.task is not None
        self.remaining = np.full(len(self.scored), np.nan)
        self.outcome = np.zeros((len(self.scored), len(self.task.outcomes)), np.float32)

    def learner(self) -> EvergreenLearner:
        """The model in service."""
        found = self._service.learner
        assert isinstance(found, EvergreenLearner)
        return found

    def _ask(self, rows: Ints) -> None:
        if not len(rows):
            return
        started = time.perf_counter()
        assert self.task is not None
        found, learner = self._answers, self.learner()
        said = learner.say(rows) if self.ahead else learner.follow(rows)
        found.classes[rows] = said.classes
        found.scores[rows] = said.probabilities[np.arange(len(rows)), said.classes]
        found.losses[rows] = self._losses(rows, said.probabilities)
        found.versions[rows] = self._service.version
        place = np.searchsorted(self.scored, rows)
        self.remaining[place] = said.remaining_days
        known = self.task.outcomes[self.task.outcomes < said.outcome.shape[1]]
        share = said.outcome[:, known]
        self.outcome[place, : len(known)] = share / np.maximum(share.sum(1, keepdims=True), 1e-12)
        self.seconds["answer"] += time.perf_counter() - started

    def _tell(self, rows: Ints, stop: bool) -> int | None:
        if self.config.trigger == "never" or not len(rows):
            return None
        assert self.task is not None
        started = time.perf_counter()
        stream, names = self.task.stream, self.truth.names
        before, after = stream.activity[stream.previous[rows]], self.truth.labels[rows]
        losses = self._answers.losses[rows] * -np.log(LEAST)
        alarm = None
        for place, (last, label, loss) in enumerate(zip(before.tolist(), after.tolist(), losses.tolist(), strict=True)):
            if self._detector.update(Outcome(names[last], names[label], loss)):
                alarm = place
                if stop:
                    break
        self.seconds["detect"] += time.perf_counter() - started
        return alarm

    def _learn(self, rows: Ints, row: int, time_us: int, alarmed: bool) -> None:
        started = time.perf_counter()
        before = self.seconds["adapt"]
        super()._learn(rows, row, time_us, alarmed)
        self.seconds["learn"] += time.perf_counter() - started - (self.seconds["adapt"] - before)

    def _challenge(self, row: int, time_us: int, told: Ints, since: int) -> None:
        started = time.perf_counter()
        super()._challenge(row, time_us, told, since)
        self.seconds["adapt"] += time.perf_counter() - started

    def _proof(self, model: Learner, rows: Ints) -> Ints:
        """The likeliest activities: what is answered for macro-F swings with the answers before, in any model."""
        likeliest: Ints = model.answer(rows).argmax(1)
        return likeliest

    def _note(self, *args: Any, **options: Any) -> None:
        super()._note(*args, **options)
        alarm = self._answers.alarms[-1]
        brief = {name: alarm.detector[name] for name in STATE if name in alarm.detector}
        self._answers.alarms[-1] = Alarm(**{**vars(alarm), "detector": brief})


def follow(run: RunInput, config: EvergreenConfig, adaptation: PrequentialConfig) -> tuple[RunOutput, EvergreenLearner]:
    """Take the model through a stream; its answers, and the model as it is after the last event."""
    import torch

    torch.set_num_threads(run.threads)
    started = time.perf_counter()
    stream = run.stream
    task = Task.of(stream, run.cut, config.outcomes)
    learner = EvergreenLearner(task, config, run.seed)
    rows = np.flatnonzero(stream.asked)
    warm = int(np.searchsorted(rows, run.cut))
    for start in range(0, warm, BLOCK):
        part = rows[start : min(start + BLOCK, warm)]
        learner.learn(part)
        run.progress.advance(len(part))
    learner.finish_warm_up()
    run.progress.advance(len(stream) - len(rows))
    truth = Truth(task.labels, stream.activities, stream.case.astype(np.int64), None if run.ahead else stream.time_us)
    scored = rows[warm:]
    engine = Following(truth, adaptation, run.seed, splits=not run.ahead, task=task, scored=scored, ahead=run.ahead)
    engine.start()
    warmed = time.perf_counter() - started
    blocks = _ahead(stream, run.cut) if run.ahead else _in_order(stream, rows, warm)
    answers = engine.run(learner, blocks, lambda block: run.progress.advance(len(block.tell)))
    output = RunOutput(
        rows=scored,
        predictions=answers.classes[scored],
        scores=answers.scores[scored],
        versions=answers.versions[scored].astype(np.int64) + 1,
        drifts=drifts_of(answers.alarms, stream, adaptation),
        seconds={"warm_up": warmed, **engine.seconds},
        remaining_days=engine.remaining,
        outcome=engine.outcome,
        outcome_codes=tuple(task.outcomes.tolist()),
    )
    return output, engine.learner()


def _in_order(stream: EventStream, rows: Ints, warm: int) -> Iterator[Block]:
    """Blocks of rows that are asked and told one after the other."""
    bounds = [warm, *range((warm // BLOCK + 1) * BLOCK, len(rows), BLOCK), len(rows)]
    for start, stop in pairwise(bounds):
        if part := rows[start:stop].tolist():
            yield Block(int(stream.time_us[part[0]]), rows[start:stop], rows[start:stop])


def _ahead(stream: EventStream, cut: int) -> Iterator[Block]:
    """Blocks of rows that are told, with those asked whose case's last event is among them.

    What follows the warm-up's events is asked when the warm-up ends.
    """
    ends = [cut, *range(cut + AHEAD_BLOCK, len(stream), AHEAD_BLOCK), len(stream)]
    for start, stop in pairwise([0, *ends]):
        ask = stream.next[start:stop]
        ask = np.sort(ask[(ask >= cut) & stream.asked[ask]])
        told = np.arange(max(start, cut), stop)
        yield Block(int(stream.time_us[max(stop - 1, 0)]), ask, told[stream.asked[told]])


def drifts_of(alarms: list[Alarm], stream: EventStream, config: PrequentialConfig) -> list[dict[str, Any]]:
    """A record of each drift. What an alarm waited for, enough rows of the new regime, is written into its record."""
    found: list[dict[str, Any]] = []
    for alarm in alarms:
        record = _drift(alarm, stream, config)
        last = found[-1] if found else None
        if last and last["change_row"] == record["change_row"] and last["decision"] == WAITING:
            kept = {name: last[name] for name in ("row", "timestamp", "state")}
            found[-1] = {**record, **kept, "decided_row": record["row"]}
        else:
            found.append(record)
    return found


def _drift(alarm: Alarm, stream: EventStream, config: PrequentialConfig) -> dict[str, Any]:
    decision = alarm.decision
    return {
        "row": alarm.row,
        "change_row": alarm.since,
        "rows": alarm.rows,
        "timestamp": str(np.datetime64(int(stream.time_us[alarm.row]), "us")) + "Z",
        "detector": config.detector,
        "state": alarm.detector,
        "adaptation": config.policy,
        "decision": alarm.action,
        "reason": "" if decision is None else decision.reason,
        "cost": alarm.flops,
        "gain": None if decision is None else decision.gain,
    }
