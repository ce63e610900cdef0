"""What every churn model is run on and gives back: a stream of examples, the order of asking and telling, the answers.

Two views of the same examples. *At decision time* (mode ``default``) an example is answered on the day it was generated
and its label is told on the day it becomes known, up to ``churn_days`` later. *Published* (Pasquadibisceglie et al.
2023) asks and tells an example on the day its label is known: all examples of that day are answered first, then told.
In both, a day's answers may use the labels of earlier days alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

View = Literal["default", "published"]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """Labelled examples, ordered by the day on which they are told.

    ``features`` (N, 3k) float64: recency, frequency, monetary of k periods, oldest first; recency is -1 in a period
    without a purchase. Days are counted from 1970-01-01.
    """

    features: NDArray[np.float64]
    names: tuple[str, ...]
    labels: NDArray[np.bool_]
    """(N,) True: churned."""
    asked: NDArray[np.int64]
    """(N,) day of the answer."""
    told: NDArray[np.int64]
    """(N,) day of the label, never before ``asked``."""
    groups: NDArray[np.int64]
    """(N,) customer episode, for splitting training rows; never an input of a model."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DayBlock:
    """One day: rows to answer, then rows whose labels become known."""

    day: int
    ask: Rows
    tell: Rows


@dataclass(frozen=True)
class RunInput:
    """A stream cut into the initial days and the online days, and what a model may spend."""

    stream: Stream
    initial: Rows
    """Rows told in the initial days: the first model learns from these."""
    initial_days: int
    blocks: tuple[DayBlock, ...]
    """The online days in order; days without rows are left out."""
    view: View
    period_days: int
    churn_days: int
    seed: int
    threads: int

    def scored(self) -> Rows:
        """All rows that are answered, in order of the days."""
        return np.concatenate([block.ask for block in self.blocks])

    def __iter__(self) -> Iterator[DayBlock]:
        return iter(self.blocks)


@dataclass
class RunOutput:
    """What a model answered: one entry for each row of the stream; rows that were not asked keep the default."""

    scores: NDArray[np.float64]
    """(N,) risk of churn; NaN: not asked."""
    predictions: NDArray[np.int8]
    """(N,) 1 churn, 0 not, -1 not asked."""
    versions: NDArray[np.int32]
    """(N,) version of the model that answered, from 1; 0 not asked."""
    drifts: list[dict[str, Any]] = field(default_factory=list)
    """Entries of drifts.json: day, detector, state, adaptation, flops, gain, decision."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock by phase: search, train, answer, learn, adapt."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What was chosen (hyper-parameters, windows); plain JSON values."""
    bundle: Any = None
    """Whatever explains or stores the last model; the model's own business."""

    @classmethod
    def empty(cls, rows: int) -> "RunOutput":
        return cls(np.full(rows, np.nan), np.full(rows, -1, np.int8), np.zeros(rows, np.int32))
