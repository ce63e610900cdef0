"""What a domain gives to the adaptation loop, and the plain values that pass between them.

Models are named by strings that stand for their content; the domain keeps them. So the loop's state is small JSON, and
a loop that was killed goes on from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evergreen.stream.harm import HarmEstimate
from evergreen.stream.promotion import Decision

NO_POLICY = "none"


@dataclass(frozen=True)
class WindowRef:
    """A finished window of the stream, [start, end)."""

    window_id: str
    start: datetime
    end: datetime
    rows: int


@dataclass(frozen=True)
class Answers:
    """What a model says about the examples of a window, in their order of arrival.

    Attributes:
        example_ids: (n,).
        times: (n,) microseconds since 1970 in UTC, non-decreasing: when each was asked.
        predictions: (n,) class names.
        scores: (n,) probability of each prediction.
        labels: (n,) class names known so far, None where there is none.
        label_probabilities: (n,) probability that the model gave to the known label, NaN where there is none.
    """

    example_ids: NDArray[np.str_]
    times: NDArray[np.int64]
    predictions: NDArray[np.str_]
    scores: NDArray[np.float64]
    labels: NDArray[np.object_]
    label_probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Whether a window differs from the reference, and where.

    Attributes:
        drift: some test says so, at its stated rate of false alarms.
        statistic: of the multivariate test.
        p_value: the smallest of all tests, adjusted for their number.
        moved: names of the features that moved, the clearest first.
        change_point: the earliest time at which the new regime may have begun; None without drift.
    """

    drift: bool
    statistic: float | None
    p_value: float | None
    moved: tuple[str, ...] = ()
    change_point: datetime | None = None


@dataclass(frozen=True)
class Scope:
    """The data an adaptation may use: finished windows only, cut at the change point.

    Attributes:
        change_point: rows from here on belong to the new regime.
        windows: all windows up to now, oldest first.
    """

    change_point: datetime
    windows: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What there is to learn the new regime from."""

    rows: int
    labels: int
    classes: int


@dataclass(frozen=True)
class Adapted:
    """A challenger and what it cost in floating-point operations; ``model`` is the champion's if nothing was done."""

    model: str
    flops: float


class Domain(Protocol):
    """One domain's side of the loop. Every method is a function of its arguments: asked again, it answers the same."""

    @property
    def windows(self) -> Sequence[WindowRef]:
        """All finished windows of the stream, oldest first."""

    @property
    def policies(self) -> Sequence[str]:
        """Names that :meth:`adapt` takes."""

    def answer(self, model: str, window: str) -> Answers:
        """What the model says about a window."""

    def compare(self, model: str, reference: Sequence[str], window: str) -> Difference:
        """Compare a window with reference windows, as the model sees them."""

    def harm(self, model: str, reference: Sequence[str], window: str) -> HarmEstimate:
        """Estimate what the window's difference from the reference does to the model's accuracy, without its labels."""

    def evidence(self, scope: Scope) -> Evidence:
        """Count what the new regime offers to learn from."""

    def adapt(self, policy: str, model: str, scope: Scope) -> Adapted:
        """Make a challenger out of a model and the data in scope."""

    def prove(self, challenger: str, champion: str, scope: Scope) -> Decision:
        """Decide whether the challenger may take the champion's place, on held-out examples of both regimes."""


def scope_json(scope: Scope) -> dict[str, Any]:
    """A scope as JSON, to name what was made from it."""
    return {"change_point": scope.change_point.isoformat(), "windows": list(scope.windows)}
