"""What a stream gives to the prequential engine, and what it gets back: plain arrays over numbered rows."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evergreen.stream.promotion import Decision

Rows = NDArray[np.int64]
Probabilities = NDArray[np.float64]


class Learner(Protocol):
    """A model of the stream. It knows the rows' features; labels only of the rows it was told."""

    def answer(self, rows: Rows) -> Probabilities:
        """(n, C) probabilities of the rows' classes, as the model is now; each row's depend on that row alone."""

    def decide(self, probabilities: Probabilities) -> Rows:
        """(n,) classes, from thresholds or priors as they are now."""

    def learn(self, rows: Rows) -> None:
        """The labels of these rows are known from now on."""

    def adapt(self, policy: str, rows: Rows) -> "tuple[Learner, float]":
        """A challenger made from told rows, oldest first, and its cost in FLOPs; the learner itself stays as it is."""


@dataclass(frozen=True)
class Block:
    """A step of the stream.

    Attributes:
        time: when, in microseconds since 1970.
        ask: (n,) rows that are answered now.
        tell: (m,) rows whose labels become known after that, in order; all of them were asked before, or never are.
    """

    time: int
    ask: Rows
    tell: Rows


@dataclass(frozen=True)
class Truth:
    """What the engine knows of the stream and the learners do not.

    Attributes:
        labels: (N,) classes.
        names: of the classes.
        groups: (N,) of what belongs together: rows of one group are never on both sides of a proof.
        times: (N,) microseconds since 1970, when each row is answered; None where the blocks' times are exact enough.
    """

    labels: Rows
    names: tuple[str, ...]
    groups: Rows
    times: Rows | None = None


@dataclass(frozen=True)
class Alarm:
    """A drift and what came of it.

    Attributes:
        row: told when the alarm was raised.
        time: of the block.
        since: the first row of the new regime, in the order of telling.
        rows: of the new regime.
        detector: its state.
        action: ``promoted``, ``kept``, ``too few rows`` or ``none``.
        decision: of the gate, None if there was nothing to decide.
        flops: of the adaptation.
    """

    row: int
    time: int
    since: int
    rows: int
    detector: dict[str, Any]
    action: str
    decision: Decision | None = None
    flops: float = 0.0


@dataclass
class Answers:
    """Every answer of a run; −1, NaN where a row was never asked.

    Attributes:
        classes: (N,) decided classes.
        scores: (N,) probability of the decided class.
        losses: (N,) −log of the label's probability, cut and scaled to 0–1.
        versions: (N,) of the model that answered: 0, and one more with every model that took over.
        alarms: all drifts.
    """

    classes: Rows
    scores: NDArray[np.float64]
    losses: NDArray[np.float64]
    versions: NDArray[np.int32]
    alarms: list[Alarm] = field(default_factory=list)
