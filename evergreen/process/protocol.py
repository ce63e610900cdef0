"""What a next-activity model is given and what it hands back, the same for all models of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evergreen.progress import Progress, Silent

if TYPE_CHECKING:
    from evergreen.process.stream import EventStream

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class RunInput:
    """A stream to be followed event by event: test, then learn.

    Attributes:
        stream: the events in order of time; closing events are rows like any other.
        cut: rows before it are the warm-up; rows from it on are scored, unless they are the first of their case.
        seed: of all random choices.
        threads: processor threads a model may use.
        settings: of the model; each model reads its own and refuses unknown ones.
        progress: told of every event.
        ahead: whether an event is answered right after the one before it in its case, as a live system must; else
            right before it happens, with all earlier events of the stream known.
    """

    stream: EventStream
    cut: int
    seed: int = 0
    threads: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)
    ahead: bool = False


@dataclass(frozen=True)
class RunOutput:
    """What a model said of each scored row before it learned from it.

    Attributes:
        rows: (n,) rows of the stream that were scored, ascending.
        predictions: (n,) codes of activities of the stream.
        scores: (n,) probability of the prediction, 0 to 1; NaN where a model has none.
        versions: (n,) number of the model that answered, counted from 1: the model of the warm-up.
        drifts: each with row, detector, state, adaptation, cost, gain, decision; plain JSON values.
        seconds: of each phase of the work, e.g. warm_up, answer, learn, adapt.
        remaining_days: (n,) days from the event before until the end of the case; None where a model has no such head.
        outcome: (n, outcomes) probability of each outcome; None where a model has no such head.
        outcome_codes: the activities that are the outcomes, in the order of the columns.
    """

    rows: Rows
    predictions: Rows
    scores: Numbers
    versions: Rows
    drifts: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    remaining_days: Numbers | None = None
    outcome: Numbers | NDArray[np.float32] | None = None
    outcome_codes: tuple[int, ...] = ()


class Model(Protocol):
    """A model of the comparison: a function of the whole stream that looks at nothing after the row it answers."""

    def __call__(self, run: RunInput) -> RunOutput: ...
