"""The ``evergreen`` model: counts by many contexts and a network, mixed by their worth, decided for macro-F.

Counts learn from every event, the mixture's and the decision's numbers every 32 events, the network every 512, and all
of it again when the process drifts. Events are answered in blocks; the answers are the same as one by one.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pydantic

from evergreen.config import Config
from evergreen.process.contexts import FAMILIES, Ints
from evergreen.process.counts import STEP as WIDTH
from evergreen.process.ensemble import Ensemble, Heard, Said
from evergreen.process.mixture import Probabilities
from evergreen.process.network import NetworkConfig
from evergreen.process.outcome import fates
from evergreen.process.prefixes import LongPrefixes
from evergreen.process.replay import PERIOD, Lessons, ReplayConfig, Trainee
from evergreen.process.stream import EventStream

BLOCK = 128
"""Events that are answered at once; divides the network's period."""
MOST_CLASSES = 256
"""Activities that can be predicted, in order of appearance. Further ones are seen in prefixes, but never answered."""


class EvergreenConfig(Config):
    """Settings of the model.

    Attributes:
        network: its shape.
        replay: its training.
        counts: whether the counts take part; without them the network answers nearly alone, beside the shares of all
            events.
        faded: what the counts of the old regime are worth after fine-tuning.
        max_count_mib: of the count table.
        outcomes: the activities that can be a case's outcome; None: whatever its last activity is.
    """

    network: NetworkConfig = NetworkConfig()
    replay: ReplayConfig = ReplayConfig()
    counts: bool = True
    faded: float = pydantic.Field(0.1, ge=0, le=1)
    max_count_mib: int = pydantic.Field(256, ge=1)
    outcomes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Task:
    """A stream to be followed.

    Attributes:
        stream: its N events.
        lessons: what the network's training needs of it.
        labels: (N,) activities.
        known: (N,) activities that there were before each row.
        cut: the first row that is scored.
        outcomes: codes of the activities that can be an outcome.
    """

    stream: EventStream
    lessons: Lessons
    labels: Ints
    known: Ints
    cut: int
    outcomes: Ints

    @classmethod
    def of(cls, stream: EventStream, cut: int, outcomes: tuple[str, ...] | None) -> Self:
        """Prepare a stream; ``outcomes`` as of :class:`EvergreenConfig`, names that the log lacks are left out."""
        codes = None if outcomes is None else [stream.activities.index(n) for n in outcomes if n in stream.activities]
        labels = stream.activity.astype(np.int64)
        known = np.minimum(np.concatenate([[0], np.maximum.accumulate(labels)[:-1] + 1]), MOST_CLASSES)
        allowed = np.arange(len(stream.activities)) if codes is None else np.array(sorted(codes), np.int64)
        allowed = allowed[(allowed != stream.end) & (allowed < MOST_CLASSES)]
        lessons = Lessons(stream, LongPrefixes(stream), fates(stream, codes))
        return cls(stream, lessons, labels, known, cut, allowed)


class EvergreenLearner:
    """See the module. ``follow`` answers rows in the order of the stream, ``learn`` then takes in their labels."""

    def __init__(self, task: Task, config: EvergreenConfig, seed: int) -> None:
        self.task, self.config, self.seed = task, config, seed
        self.trainee = Trainee(task.lessons, config.network, config.replay, WIDTH, seed)
        families = FAMILIES if config.counts else FAMILIES[:1]
        self.parts = Ensemble(families, self.trainee.network, config.max_count_mib << 20)
        self._told: list[Ints] = []
        self._count = 0
        self._heard: tuple[Ints, Heard] | None = None

    def follow(self, rows: Ints) -> Said:
        """Answer rows as they come: each is answered before its own label is known, and after all earlier ones are."""
        labels = self._labels(rows)
        heard = self._hear(rows, labels)
        self._heard = rows, heard
        probabilities = self.parts.mixture.copy().follow(heard.opinions, labels)
        classes = self.parts.decision.copy().follow(probabilities, labels, rows >= self.task.cut)
        return Said(probabilities, classes, heard.remaining_days, heard.outcome)

    def say(self, rows: Ints) -> Said:
        """Answer rows with everything as it is now, whatever their order."""
        return self.parts.say(self.task.lessons.prefixes.before(rows))

    def answer(self, rows: Ints) -> Probabilities:
        """(n, C) probabilities with everything as it is now."""
        return self.say(rows).probabilities

    def decide(self, probabilities: Probabilities) -> Ints:
        """(n,) answers to (n, C) probabilities."""
        return self.parts.decision.decide(probabilities)

    def learn(self, rows: Ints) -> None:
        """Take in the labels of rows in their order."""
        labels = self._labels(rows)
        known = self._heard
        if known is not None and np.array_equal(known[0][: len(rows)], rows):
            heard = known[1].part(len(rows))
        else:
            heard = self._hear(rows, labels)
        self._heard = None
        probabilities = self.parts.mixture.follow(heard.opinions, labels)
        self.parts.decision.follow(probabilities, labels, rows >= self.task.cut)
        self.parts.table.learn(heard.views, heard.keys, labels)
        if len(rows):
            self.parts.known = int(self.task.known[min(int(rows[-1]) + 1, len(self.task.known) - 1)])
        self._told.append(rows)
        before, self._count = self._count, self._count + len(rows)
        if self._count // PERIOD > before // PERIOD:
            told = self._recent()
            self.trainee.grow(self.parts.table.classes)
            self.trainee.practise(self._teachable(told), int(told[-1]))

    def finish_warm_up(self) -> None:
        """Let the network pass several times over what it was told last."""
        told = self._recent() if self._told else np.zeros(0, np.int64)
        if len(told):
            self.trainee.grow(self.parts.table.classes)
            self.trainee.pretrain(told)
            self.trainee.study(self._teachable(told), int(told[-1]), self.config.replay.warm_up_epochs)

    def adapt(self, policy: str, rows: Ints) -> "tuple[EvergreenLearner, float]":
        """A challenger for the regime of these rows, and its cost in FLOPs.

        ``finetune``: the counts of before fade, those of the rows are added, and the network goes on learning from
        them. ``retrain``: a new model that knows these rows only.
        """
        rows = np.sort(rows)
        challenger = self._fresh() if policy == "retrain" else self._faded()
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            labels = challenger._labels(part)
            heard = challenger._hear(part, labels)
            challenger.parts.mixture.follow(heard.opinions, labels)
            challenger.parts.table.learn(heard.views, heard.keys, labels)
        replay = self.config.replay
        challenger.trainee.grow(challenger.parts.table.classes)
        epochs = replay.warm_up_epochs if policy == "retrain" else replay.adapt_epochs
        if len(rows):
            challenger.trainee.study(challenger._teachable(rows), int(rows[-1]), epochs)
        counting = 10.0 * len(rows) * len(self.parts.table.families) * self.parts.table.classes
        return challenger, challenger.trainee.flops + counting

    def _fresh(self) -> "EvergreenLearner":
        other = EvergreenLearner(self.task, self.config, self.seed)
        other.parts.table.grow(self.parts.table.classes)
        return self._handed_on(other)

    def _faded(self) -> "EvergreenLearner":
        other = EvergreenLearner(self.task, self.config, self.seed)
        other.trainee = self.trainee.copy()
        other.parts.network = other.trainee.network
        other.parts.table, other.parts.mixture = self.parts.table.copy(), self.parts.mixture.copy()
        other.parts.table.age(self.config.faded)
        return self._handed_on(other)

    def _handed_on(self, other: "EvergreenLearner") -> "EvergreenLearner":
        """What a challenger takes over in any case: by what the answers are judged, and where the stream stands."""
        other.parts.decision, other.parts.known = self.parts.decision.copy(), self.parts.known
        other._told, other._count = list(self._told), self._count
        return other

    def _hear(self, rows: Ints, labels: Ints) -> Heard:
        return self.parts.hear(self.task.lessons.prefixes.before(rows), self.task.known[rows], labels)

    def _labels(self, rows: Ints) -> Ints:
        """(n,) labels of some rows, with room for them in the table; room says nothing of when they come."""
        labels = self.task.labels[rows]
        self.parts.table.grow(min(int(labels.max(initial=-1)) + 1, MOST_CLASSES))
        return labels

    def _recent(self) -> Ints:
        """(m,) the rows told last, as many as the network's training looks back."""
        kept = max(self.config.replay.memory, 2 * PERIOD)
        self._told = [np.concatenate(self._told)[-kept:]]
        return self._told[0]

    def _teachable(self, rows: Ints) -> Ints:
        return rows[self.task.labels[rows] < self.trainee.network.classes]
