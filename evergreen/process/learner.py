"""The ``evergreen`` model: counts by many contexts and a network, mixed by their worth, decided for macro-F.

Counts learn from every event, the mixture's and the decision's numbers every 32 events, the network every 512, and all
of it again when the process drifts. Events are answered in blocks; the answers are the same as one by one.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.process.contexts import FAMILIES, Ints, Keys, views
from evergreen.process.counts import STEP as WIDTH
from evergreen.process.counts import CountTable
from evergreen.process.decision import MacroF
from evergreen.process.mixture import Mixture, Opinions, Probabilities, from_counts, from_probabilities
from evergreen.process.network import NetworkConfig
from evergreen.process.outcome import fates
from evergreen.process.prefixes import LongPrefixes, Window
from evergreen.process.replay import PERIOD, Lessons, ReplayConfig, Trainee
from evergreen.process.stream import EventStream

Numbers = NDArray[np.float64]

BLOCK = 128
"""Events that are answered at once; divides the network's period."""
MOST_CLASSES = 256
"""Activities that can be predicted, in order of appearance. Further ones are seen in prefixes, but never answered."""


class EvergreenConfig(Config):
    """Settings of the model.

    Attributes:
        network: its shape.
        replay: its training.
        counts: whether the counts take part; without them the network answers alone.
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
class Said:
    """Answers to n rows.

    Attributes:
        probabilities: (n, C) of the next activity.
        classes: (n,) the decision.
        remaining_days: (n,) until the last event.
        outcome: (n, C) probability of each activity as the outcome.
    """

    probabilities: Probabilities
    classes: Ints
    remaining_days: Numbers
    outcome: Numbers


@dataclass
class _Prepared:
    """What was computed of a block before its labels were learned, kept for learning them."""

    rows: Ints
    views: dict[str, Keys]
    keys: Keys
    opinions: Opinions


@dataclass(frozen=True)
class Task:
    """The stream, what is asked of it, and from where on it counts."""

    stream: EventStream
    prefixes: LongPrefixes
    lessons: Lessons
    labels: Ints
    known: Ints
    """(N,) activities that there were before each row."""
    cut: int
    outcomes: Ints
    """Codes of the activities that can be an outcome."""

    @classmethod
    def of(cls, stream: EventStream, cut: int, outcomes: tuple[str, ...] | None) -> Self:
        """Prepare a stream.

        Args:
            stream: to be followed.
            cut: first row that is scored.
            outcomes: see :class:`EvergreenConfig`; names that the log lacks are left out.
        """
        codes = None if outcomes is None else [stream.activities.index(n) for n in outcomes if n in stream.activities]
        prefixes = LongPrefixes(stream)
        found = fates(stream, codes)
        seen = np.maximum.accumulate(stream.activity.astype(np.int64)) + 1
        known = np.minimum(np.concatenate([[0], seen[:-1]]), MOST_CLASSES)
        allowed = np.arange(len(stream.activities)) if codes is None else np.array(codes, np.int64)
        allowed = allowed[(allowed != stream.end) & (allowed < MOST_CLASSES)]
        labels = stream.activity.astype(np.int64)
        return cls(stream, prefixes, Lessons(stream, prefixes, found), labels, known, cut, allowed)


class EvergreenLearner:
    """See the module. ``follow`` answers rows in the order of the stream, ``learn`` then takes in their labels."""

    def __init__(self, task: Task, config: EvergreenConfig, seed: int) -> None:
        self.task, self.config, self.seed = task, config, seed
        self.families = FAMILIES if config.counts else FAMILIES[:1]
        self.table = CountTable(self.families, config.max_count_mib << 20)
        self.mixture = Mixture(len(self.families) + 1)
        self.decision = MacroF()
        self.trainee = Trainee(task.lessons, config.network, config.replay, WIDTH, seed)
        self.told: list[Ints] = []
        self.count = 0
        self._prepared: _Prepared | None = None
        self.table.grow(WIDTH)

    def follow(self, rows: Ints) -> Said:
        """Answer rows as they come: each is answered before its own label is known, and after all earlier ones are."""
        labels = self._labels(rows)
        prepared, said = self._ask(self.task.prefixes.before(rows), rows, labels)
        self._prepared = prepared
        probabilities = self.mixture.copy().follow(prepared.opinions, labels)
        classes = self.decision.copy().follow(probabilities, labels, rows >= self.task.cut)
        return Said(probabilities, classes, said.remaining_days, said.outcome)

    def answer(self, rows: Ints) -> Probabilities:
        """(n, C) probabilities with everything as it is now, whatever the order of the rows."""
        return self.say(self.task.prefixes.before(rows), rows).probabilities

    def say(self, window: Window, rows: Ints | None = None) -> Said:
        """All answers for n cases as they are at the end of their windows, with everything as it is now."""
        prepared, said = self._ask(window, rows, None)
        probabilities = self.mixture.answer(prepared.opinions)
        return Said(probabilities, self.decision.decide(probabilities), said.remaining_days, said.outcome)

    def decide(self, probabilities: Probabilities) -> Ints:
        """(n,) answers to (n, C) probabilities."""
        return self.decision.decide(probabilities)

    def learn(self, rows: Ints) -> None:
        """Take in the labels of rows in their order."""
        labels = self._labels(rows)
        prepared = self._prepared
        if prepared is None or len(prepared.rows) < len(rows) or not np.array_equal(prepared.rows[: len(rows)], rows):
            prepared, _ = self._ask(self.task.prefixes.before(rows), rows, labels)
        self._prepared = None
        size = len(rows)
        probabilities = self.mixture.follow(prepared.opinions.part(0, size), labels)
        self.decision.follow(probabilities, labels, rows >= self.task.cut)
        part = {name: key[:size] for name, key in prepared.views.items()}
        self.table.learn(part, prepared.keys[:size], labels)
        self.told.append(rows)
        before, self.count = self.count, self.count + size
        if self.count // PERIOD > before // PERIOD:
            self._train()

    def _train(self) -> None:
        """The network's regular training."""
        self.told = [np.concatenate(self.told)[-max(self.config.replay.memory, 2 * PERIOD) :]]
        now = int(self.told[0][-1])
        self.trainee.grow(self.table.classes)
        self.trainee.practise(self._teachable(self.told[0]), now)

    def finish_warm_up(self) -> None:
        """Let the network pass over all it was told several times."""
        if self.told:
            self.told = [np.concatenate(self.told)]
            self.trainee.grow(self.table.classes)
            self.trainee.study(self._teachable(self.told[0]), int(self.told[0][-1]), self.config.replay.warm_up_epochs)

    def adapt(self, policy: str, rows: Ints) -> "tuple[EvergreenLearner, float]":
        """A challenger for the regime of these rows, oldest first, and its cost in FLOPs.

        ``finetune``: the counts of before fade, those of the rows are added, and the network goes on learning from
        them. ``retrain``: a new model that knows these rows only.
        """
        challenger = EvergreenLearner(self.task, self.config, self.seed + 1) if policy == "retrain" else self._copy()
        rows = np.sort(rows)
        if policy == "retrain":
            challenger.decision = self.decision.copy()
            challenger.table.grow(self.table.classes)
        else:
            challenger.table.age(self.config.faded)
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            labels = challenger._labels(part)
            prepared, _ = challenger._ask(self.task.prefixes.before(part), part, labels)
            challenger.mixture.follow(prepared.opinions, labels)
            challenger.table.learn(prepared.views, prepared.keys, labels)
        challenger.trainee.grow(challenger.table.classes)
        epochs = self.config.replay.warm_up_epochs if policy == "retrain" else self.config.replay.adapt_epochs
        if len(rows):
            challenger.trainee.study(challenger._teachable(rows), int(rows[-1]), epochs)
        challenger.told, challenger.count = [rows] if policy == "retrain" else [*self.told], self.count
        counted = 10.0 * len(rows) * len(self.families) * self.table.classes
        return challenger, challenger.trainee.flops + counted

    def _copy(self) -> "EvergreenLearner":
        other = EvergreenLearner(self.task, self.config, self.seed)
        other.table, other.mixture, other.decision = self.table.copy(), self.mixture.copy(), self.decision.copy()
        other.trainee = self.trainee.copy()
        return other

    def _labels(self, rows: Ints) -> Ints:
        """(n,) labels of some rows, with room for them in the table; room says nothing of when they come."""
        labels = self.task.labels[rows]
        self.table.grow(min(int(labels.max(initial=-1)) + 1, MOST_CLASSES))
        return labels

    def _teachable(self, rows: Ints) -> Ints:
        return rows[self.task.labels[rows] < self.trainee.network.classes]

    def _ask(self, window: Window, rows: Ints | None, labels: Ints | None) -> tuple[_Prepared, Said]:
        """Everything but the mixture's and the decision's last step."""
        found = views(window)
        keys = self.table.keys(found, labels)
        classes = self.table.classes
        known = self.known_now if rows is None else self.task.known[rows]
        mask = np.arange(classes) < np.broadcast_to(known, len(window.activity))[:, None]
        opinions = from_counts(self.table.before(keys, labels), mask)
        heads = self.trainee.answer(self.trainee.network.inputs(window))
        following = _wide(torch.softmax(heads.following, 1), classes)
        outcome = _wide(torch.softmax(heads.outcome, 1), classes).astype(np.float64)
        remaining = np.expm1(np.clip(heads.remaining.numpy(), 0.0, 10.0)).astype(np.float64)
        prepared = _Prepared(
            np.zeros(0, np.int64) if rows is None else rows,
            found,
            keys,
            opinions.joined(*from_probabilities(following)),
        )
        nothing = np.zeros((0, classes))
        return prepared, Said(nothing, np.zeros(0, np.int64), remaining, outcome)

    @property
    def known_now(self) -> int:
        """Activities that there have been."""
        last = int(self.told[-1][-1]) if self.told else -1
        return int(self.task.known[min(last + 1, len(self.task.known) - 1)]) if last >= 0 else 0


def _wide(values: torch.Tensor, classes: int) -> NDArray[np.float32]:
    """(n, classes) the columns that there are, zeros for the others."""
    found: NDArray[np.float32] = values.numpy()
    return np.pad(found, ((0, 0), (0, max(0, classes - found.shape[1]))))[:, :classes]
