"""The prequential engine: test, then learn, on a stream whose labels arrive row by row.

The sibling of the loop over finished windows (:mod:`evergreen.stream.loop`), for streams where nearly every label
comes, sooner or later: answer → label → detect → adapt → prove → take over. Rows are numbered; a block says which rows
are answered and of which the labels become known after that. Between two changes of the model whole blocks are answered
at once, which changes nothing: an answer depends on the model in service and on the row alone.

Time is the stream's: a model still in training cannot answer, and its training takes FLOPs divided by a stated rate,
not what a clock says. Source of the scheme: Dawid 1984, Statistical theory: the prequential approach; Gama et al. 2013,
On evaluating stream learning algorithms.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.stream.change_point import mean_change_point
from evergreen.stream.detectors.detector import Detector
from evergreen.stream.detectors.registry import make_detector
from evergreen.stream.learner import Alarm, Answers, Block, Learner, Probabilities, Rows, Truth
from evergreen.stream.promotion import Decision
from evergreen.stream.regimes import Answered, RegimePolicy, decide_regimes

LEAST = 1e-3
"""Probability below which the log-loss grows no further: one certain error is no catastrophe."""
MICRO = 1e6


class PrequentialConfig(Config):
    """When to adapt, how, and what a challenger must prove.

    Attributes:
        policy: of adaptation; ``none`` never adapts.
        trigger: ``drift`` at the detector's alarms, ``always`` after every block, ``never`` not at all.
        detector: a performance detector by name, fed the losses scaled to 0–1.
        settings: of the detector.
        signal: what the detector is fed: the loss of every ``row``, or where rows of a block are no independent
            witnesses (one customer gives a hundred of them), the mean loss of every ``block``.
        min_rows: rows of the new regime that an adaptation needs; until there are as many, it waits.
        gate_fraction: share of the groups (customers, cases) kept from training for the proof.
        flops_per_second: of the cost model.
        regimes: what a challenger must prove.
    """

    policy: str = "finetune"
    trigger: Literal["drift", "always", "never"] = "drift"
    detector: str = "adwin"
    settings: dict[str, Any] = pydantic.Field(default_factory=dict)
    signal: Literal["row", "block"] = "row"
    min_rows: int = pydantic.Field(200, ge=1)
    gate_fraction: float = pydantic.Field(0.2, gt=0, lt=1)
    flops_per_second: float = pydantic.Field(1e10, gt=0)
    regimes: RegimePolicy = RegimePolicy(min_rows=50, floor_skill=0.0)


@dataclass
class Service:
    """The model in service and the one that takes over when its training would have ended."""

    learner: Learner
    version: int = 0
    incoming: Learner | None = None
    available: float = 0.0

    def at(self, time: float) -> bool:
        """Let the incoming model take over if it is ready; whether it did."""
        if self.incoming is None or time < self.available:
            return False
        self.learner, self.incoming = self.incoming, None
        self.version += 1
        return True


@dataclass
class Prequential:
    """The engine.

    Attributes:
        truth: the stream's labels.
        config: when to adapt and how.
        splits: whether a block that is asked and told in the same order may be cut where a model takes over.
    """

    truth: Truth
    config: PrequentialConfig
    seed: int = 0
    splits: bool = False

    def run(self, learner: Learner, blocks: Iterable[Block], seen: Callable[[Block], None] | None = None) -> Answers:
        """Take the learner through the stream.

        Args:
            learner: trained on what came before the first block.
            blocks: in the order of time.
            seen: called after each block, e.g. to show progress.
        """
        count = len(self.truth.labels)
        self._answers = Answers(
            np.full(count, -1, dtype=np.int64),
            np.full(count, np.nan),
            np.full(count, np.nan),
            np.zeros(count, dtype=np.int32),
        )
        self._service = Service(learner)
        self._detector: Detector[Any] = make_detector(self.config.detector, **self.config.settings)
        self._told: list[Rows] = []
        self._pending: int | None = None  # position in the told rows where a regime began that nothing has learned yet
        for block in blocks:
            self._block(block)
            if seen is not None:
                seen(block)
        return self._answers

    def _block(self, block: Block) -> None:
        same = self.splits and np.array_equal(block.ask, block.tell)
        ask, tell = block.ask, block.tell
        while True:
            self._service.at(self._time(block, ask[0]) if len(ask) else block.time)
            cut = self._cut(ask) if same else len(ask)
            self._ask(ask[:cut])
            told = tell[:cut] if same else tell
            alarm = self._tell(told, stop=same)
            if alarm is not None and same:
                cut = alarm + 1
                told = told[:cut]
            row = int(told[alarm if alarm is not None else -1]) if len(told) else -1
            self._learn(told, row, self._time(block, row) if same else block.time, alarm is not None)
            ask, tell = ask[cut:], tell[cut:]
            if not same or not len(ask):
                break

    def _time(self, block: Block, row: int) -> int:
        return block.time if self.truth.times is None else int(self.truth.times[row])

    def _cut(self, ask: Rows) -> int:
        """How many rows are asked before the incoming model takes over, or a waiting adaptation has its rows."""
        if self._service.incoming is None and self._pending is not None:
            missing = self.config.min_rows - (sum(map(len, self._told)) - self._pending)
            return min(len(ask), max(1, missing))
        if self._service.incoming is None or self.truth.times is None:
            return len(ask)
        ready = np.flatnonzero(self.truth.times[ask] >= self._service.available)
        return int(ready[0]) if len(ready) else len(ask)

    def _ask(self, rows: Rows) -> None:
        if not len(rows):
            return
        found, learner = self._answers, self._service.learner
        probabilities = learner.answer(rows)
        classes = learner.decide(probabilities)
        at = np.arange(len(rows))
        found.classes[rows] = classes
        found.scores[rows] = probabilities[at, classes]
        found.losses[rows] = self._losses(rows, probabilities)
        found.versions[rows] = self._service.version

    def _losses(self, rows: Rows, probabilities: Probabilities) -> NDArray[np.float64]:
        """A class that the model does not know has no probability."""
        labels = self.truth.labels[rows]
        known = labels < probabilities.shape[1]
        of_label = np.zeros(len(rows))
        of_label[known] = probabilities[np.flatnonzero(known), labels[known]]
        return np.asarray(np.log(np.maximum(of_label, LEAST)) / np.log(LEAST))

    def _tell(self, rows: Rows, stop: bool) -> int | None:
        """Feed the detector; position of the alarm: the first one if what follows can be asked again, else the last."""
        losses = self._answers.losses[rows]
        places = np.flatnonzero(~np.isnan(losses))
        if self.config.trigger == "never" or not len(places):
            return None
        if self.config.signal == "block":
            return int(places[-1]) if self._detector.update(float(losses[places].mean())) else None
        alarm = None
        for place in places.tolist():
            if self._detector.update(float(losses[place])):
                alarm = place
                if stop:
                    break
        return alarm

    def _learn(self, rows: Rows, row: int, time: int, alarmed: bool) -> None:
        """Hand out the labels of some rows, and act if the last of them, or one of them, calls for it."""
        if not len(rows):
            return
        self._service.learner.learn(rows)
        if self._service.incoming is not None:
            self._service.incoming.learn(rows)
        self._told.append(rows)
        if alarmed or self.config.trigger == "always" or self._pending is not None:
            self._act(row, time, alarmed)

    def _act(self, row: int, time: int, alarmed: bool) -> None:
        """Adapt to the new regime if there is enough of it; else remember that it has begun."""
        told = np.concatenate(self._told)
        if alarmed or self._pending is None:
            self._pending = self._regime(told)
        since = self._pending
        if self.config.policy == "none" or self.config.trigger == "never":
            self._pending = None
            return self._note(row, time, told, since, "none")
        busy = self._service.incoming is not None
        if busy or len(told) - since < self.config.min_rows:
            if alarmed:
                self._note(row, time, told, since, "in training" if busy else "too few rows")
            return None
        self._pending = None
        return self._challenge(row, time, told, since)

    def _challenge(self, row: int, time: int, told: Rows, since: int) -> None:
        held = self._held_out(told)
        window = told[since:]
        champion = self._service.learner
        challenger, flops = champion.adapt(self.config.policy, window[~held[since:]])
        new, old = window[held[since:]], told[:since][held[:since]]
        old = old[-len(window) :]
        decision = decide_regimes(
            self._answered(challenger, champion, new),
            self._answered(challenger, champion, old),
            self.config.regimes,
            self.seed,
        )
        if decision.promote:
            self._service.incoming = challenger
            self._service.available = time + MICRO * flops / self.config.flops_per_second
        self._note(row, time, told, since, "promoted" if decision.promote else "kept", decision, flops)

    def _regime(self, told: Rows) -> int:
        """Where in the told rows the new regime begins: the change of the mean loss in the last ones."""
        begin = max(0, len(told) - 10 * self.config.min_rows)
        losses = self._answers.losses[told[begin:]]
        if np.isnan(losses).any() or len(losses) < 2:
            return begin
        return begin + mean_change_point(losses)

    def _held_out(self, rows: Rows) -> NDArray[np.bool_]:
        """(n,) whether a row's group is kept for proofs: a hash of the group, so that it stays on its side."""
        mixed = (self.truth.groups[rows].astype(np.uint64) + np.uint64(self.seed)) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray((mixed >> np.uint64(40)) % np.uint64(1000) < int(1000 * self.config.gate_fraction))

    def _answered(self, challenger: Learner, champion: Learner, rows: Rows) -> Answered:
        names = np.asarray(self.truth.names)
        if not len(rows):
            return Answered(names[:0], names[:0], names[:0])
        first, second = (names[self._proof(model, rows)] for model in (challenger, champion))
        return Answered(names[self.truth.labels[rows]], first, second)

    def _proof(self, model: Learner, rows: Rows) -> Rows:
        """(n,) the answers by which a model is judged at the gate."""
        return model.decide(model.answer(rows))

    def _note(
        self,
        row: int,
        time: int,
        told: Rows,
        since: int,
        action: str,
        decision: Decision | None = None,
        flops: float = 0.0,
    ) -> None:
        begun = int(told[since]) if since < len(told) else row
        alarm = Alarm(row, time, begun, len(told) - since, self._detector.state(), action, decision, flops)
        self._answers.alarms.append(alarm)
