"""The gate of an adaptation: better on the new regime, not worse on the old one, and good enough at all.

Both models answer the same held-out examples. On the new regime the challenger must gain, and gain beyond what the
choice of examples explains (paired bootstrap); on the old one it must not be inferior by more than a margin
(non-inferiority: the lower end of the interval of the gain is above minus the margin; Wellek 2010, ch. 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.stream.promotion import Check, Decision, gain_interval


class RegimePolicy(Config):
    """What a challenger must show. Fractions of 1."""

    min_rows: int = pydantic.Field(20, ge=1)
    """Held-out examples of the new regime; fewer prove nothing, and the challenger waits for more."""
    floor_skill: float = pydantic.Field(0.1, ge=0, le=1)
    """Share of the way from the best constant answer to perfection, on the new regime."""
    minimum_gain: float = pydantic.Field(0.005, ge=-1, le=1)
    """Accuracy gained on the new regime."""
    confidence: float = pydantic.Field(0.9, gt=0, lt=1)
    """Of the two-sided intervals of both gains."""
    interval_floor: float = pydantic.Field(0.0, ge=-1, le=1)
    """The lower end on the new regime is at least this."""
    old_margin: float = pydantic.Field(0.05, ge=0, le=1)
    """The lower end on the old regime is above minus this. Without held-out examples of it there is nothing to keep."""
    resamples: int = pydantic.Field(10_000, ge=100)


@dataclass(frozen=True)
class Answered:
    """Held-out examples and what both models say: class names, each (n,)."""

    labels: NDArray[np.str_]
    challenger: NDArray[np.str_]
    champion: NDArray[np.str_]

    def outcome(self) -> NDArray[np.int8]:
        """(n,) challenger right minus champion right."""
        if not len(self.labels) == len(self.challenger) == len(self.champion):
            raise BadInputError(
                f"Found {len(self.labels)} labels, {len(self.challenger)} answers of the challenger and "
                f"{len(self.champion)} of the champion, expected as many of each."
            )
        right, was_right = self.challenger == self.labels, self.champion == self.labels
        difference: NDArray[np.int8] = right.astype(np.int8) - was_right.astype(np.int8)
        return difference


def decide_regimes(new: Answered, old: Answered, policy: RegimePolicy, seed: int) -> Decision:
    """Decide on the answers to held-out examples of the new and of the old regime.

    Args:
        new: examples from the change point on.
        old: examples from before it; may be empty.
        policy: what must be shown.
        seed: of the bootstrap.

    Raises:
        BadInputError: the arrays of a regime differ in length.
    """
    outcome, kept = new.outcome(), old.outcome()
    if len(outcome) < policy.min_rows:
        rows = Check("enough_rows", False, len(outcome), policy.min_rows)
        return _conclude([rows], None, None, "")
    gain = float(outcome.mean())
    interval = gain_interval(outcome, policy.confidence, policy.resamples, seed)
    checks = [
        Check("enough_rows", True, len(outcome), policy.min_rows),
        _floor(new, policy),
        Check("minimum_gain", gain >= policy.minimum_gain, gain, policy.minimum_gain),
        Check("new_regime", interval[0] >= policy.interval_floor, interval[0], policy.interval_floor),
    ]
    told = f"the new regime gains {100 * gain:+.1f} points ({_spread(interval, policy)})"
    if len(kept):
        lower = gain_interval(kept, policy.confidence, policy.resamples, seed)
        checks.append(Check("old_regime", lower[0] >= -policy.old_margin, lower[0], -policy.old_margin))
        told += f", the old one {100 * float(kept.mean()):+.1f} ({_spread(lower, policy)})"
    return _conclude(checks, interval, gain, told)


def _floor(new: Answered, policy: RegimePolicy) -> Check:
    accuracy = float((new.challenger == new.labels).mean())
    constant = float(np.unique(new.labels, return_counts=True)[1].max()) / len(new.labels)
    needed = constant + policy.floor_skill * (1 - constant)
    return Check("floor", accuracy >= needed, accuracy, needed)


def _spread(interval: tuple[float, float], policy: RegimePolicy) -> str:
    low, high = (f"{100 * end:+.1f}" for end in interval)
    return f"{policy.confidence:.0%} interval {low} to {high}"


def _conclude(checks: Sequence[Check], interval: tuple[float, float] | None, gain: float | None, told: str) -> Decision:
    failed = [
        f"{check.name} is {_number(check.found)}, needed {_number(check.needed)}"
        for check in checks
        if not check.passed
    ]
    parts = [part for part in (told, "; ".join(failed)) if part]
    return Decision(not failed, ": ".join(parts), tuple(checks), interval, gain)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
