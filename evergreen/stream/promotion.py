"""The promotion gate: does a challenger take the champion's place?

Both models answer the same held-out examples. The challenger must reach a floor that holds for any number of classes,
gain enough on the champion, gain it beyond what the choice of examples explains (a paired bootstrap, Efron & Tibshirani
1993, ch. 13: the percentile interval), and let no class fall far. A first champion has nobody to beat and needs only
the floor.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.errors import BadInputError

Labels = NDArray[np.integer[Any]]


class PromotionPolicy(Config):
    """What a challenger must show. Fractions of 1."""

    min_rows: int = pydantic.Field(200, ge=1)
    """Fewer held-out examples than this prove nothing: a champion stays."""
    floor_accuracy: float = pydantic.Field(0.0, ge=0, le=1)
    """Accuracy that any champion must reach."""
    floor_skill: float = pydantic.Field(0.1, ge=0, le=1)
    """Share of the way from the best constant answer (the largest class) to perfection that it must have gone."""
    minimum_gain: float = pydantic.Field(0.005, ge=-1, le=1)
    """Accuracy that the challenger must gain on the champion."""
    confidence: float = pydantic.Field(0.9, gt=0, lt=1)
    """Of the two-sided bootstrap interval of the gain, whose lower end must not be below ``interval_floor``."""
    interval_floor: float = pydantic.Field(0.0, ge=-1, le=1)
    resamples: int = pydantic.Field(10_000, ge=100)
    max_class_drop: float = pydantic.Field(0.15, ge=0, le=1)
    """Recall that a class may lose against the champion."""
    min_class_rows: int = pydantic.Field(30, ge=1)
    """Classes with fewer held-out examples are not held to ``max_class_drop``: their recall is noise."""


@dataclass(frozen=True)
class Check:
    """One condition: what was found and what was needed."""

    name: str
    passed: bool
    found: float | str
    needed: float | str


@dataclass(frozen=True)
class Decision:
    """Whether to promote, why, and everything that was looked at."""

    promote: bool
    reason: str
    checks: tuple[Check, ...] = ()
    interval: tuple[float, float] | None = None
    gain: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The decision as plain JSON values."""
        return {
            "promote": self.promote,
            "reason": self.reason,
            "checks": [asdict(check) for check in self.checks],
            "interval": None if self.interval is None else list(self.interval),
            "gain": self.gain,
        }


def decide(
    labels: Labels,
    challenger: Labels,
    champion: Labels | None,
    classes: list[str],
    policy: PromotionPolicy,
    seed: int,
) -> Decision:
    """Decide on the answers to the same held-out examples.

    Args:
        labels: (N,) true classes, as indices into ``classes``.
        challenger: (N,) the challenger's answers.
        champion: (N,) the champion's answers, None if there is no champion.
        classes: names, for the report.
        policy: what must be shown.
        seed: of the bootstrap; the same inputs give the same decision.

    Raises:
        BadInputError: the arrays differ in length or hold an index outside of ``classes``.
    """
    _check_input(labels, challenger, champion, classes)
    if len(labels) == 0:
        return _without_labels(champion is not None)
    checks = [_floor(labels, challenger, policy)]
    if champion is None:
        return _conclude(checks, None, None, "no champion yet, and the floor is reached")
    outcome = (challenger == labels).astype(np.int8) - (champion == labels).astype(np.int8)  # (N,) in {-1, 0, 1}
    gain = float(outcome.mean())
    interval = gain_interval(outcome, policy.confidence, policy.resamples, seed)
    checks += [
        Check("enough_rows", len(labels) >= policy.min_rows, len(labels), policy.min_rows),
        Check("minimum_gain", gain >= policy.minimum_gain, gain, policy.minimum_gain),
        Check("interval", interval[0] >= policy.interval_floor, interval[0], policy.interval_floor),
        _class_drop(labels, challenger, champion, classes, policy),
    ]
    low, high = (f"{100 * end:+.1f}" for end in interval)
    spread = f"{policy.confidence:.0%} interval {low} to {high}"
    return _conclude(checks, interval, gain, f"accuracy gains {100 * gain:+.1f} points on the champion ({spread})")


def gain_interval(outcome: NDArray[Any], confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean paired difference when the examples are drawn again with replacement.

    A resample of N examples only matters through how many wins, ties and losses it holds, and these three counts are
    multinomial: drawing them is drawing the examples, in constant memory.

    Args:
        outcome: (N,) challenger right minus champion right: 1, 0 or -1; N > 0.
        confidence: of the two-sided interval.
        resamples: how many.
        seed: of the draws.
    """
    count = len(outcome)
    wins, losses = int((outcome > 0).sum()), int((outcome < 0).sum())
    shares = np.array([wins, count - wins - losses, losses]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=resamples)  # (resamples, 3)
    gains = (drawn[:, 0] - drawn[:, 2]) / count
    tail = (1 - confidence) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return float(low), float(high)


def recalls(labels: Labels, predictions: Labels, classes: int) -> NDArray[np.float64]:
    """Recall of each class, (classes,); NaN for a class that does not occur."""
    support = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[labels == predictions], minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / support, dtype=np.float64)


def _floor(labels: Labels, challenger: Labels, policy: PromotionPolicy) -> Check:
    constant = float(np.bincount(labels).max() / len(labels))
    needed = max(policy.floor_accuracy, constant + policy.floor_skill * (1 - constant))
    found = float((challenger == labels).mean())
    return Check("floor", found >= needed, found, needed)


def _class_drop(
    labels: Labels, challenger: Labels, champion: Labels, classes: list[str], policy: PromotionPolicy
) -> Check:
    support = np.bincount(labels, minlength=len(classes))
    drop = recalls(labels, champion, len(classes)) - recalls(labels, challenger, len(classes))
    drop = np.where(support >= policy.min_class_rows, drop, -np.inf)
    worst = int(np.argmax(drop))
    needed = f"no class with {policy.min_class_rows} examples loses more than {policy.max_class_drop:.3f} of recall"
    if not np.isfinite(drop[worst]):
        return Check("class_drop", True, "no class has enough examples", needed)
    # a rounding error of the two recalls' difference is no fall: 0.9 - 0.8 exceeds 0.1
    passed = bool(drop[worst] <= policy.max_class_drop + 1e-9)
    return Check("class_drop", passed, f"{classes[worst]} loses {drop[worst]:.3f}", needed)


def _without_labels(has_champion: bool) -> Decision:
    check = Check("gate_labels", not has_champion, 0, 0 if not has_champion else 1)
    if has_champion:
        return Decision(False, "no held-out labels to compare the models on: the champion stays", (check,))
    return Decision(True, "no champion yet, and no held-out labels to hold the challenger to the floor", (check,))


def _conclude(checks: list[Check], interval: tuple[float, float] | None, gain: float | None, success: str) -> Decision:
    failed = [f"{c.name} found {_show(c.found)}, needed {_show(c.needed)}" for c in checks if not c.passed]
    reason = "; ".join(failed) if failed else success
    return Decision(not failed, reason, tuple(checks), interval, gain)


def _show(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check_input(labels: Labels, challenger: Labels, champion: Labels | None, classes: list[str]) -> None:
    for name, values in (("labels", labels), ("challenger", challenger), ("champion", champion)):
        if values is None:
            continue
        if values.shape != labels.shape or values.ndim != 1:
            raise BadInputError(f"{name} has shape {values.shape}, expected {labels.shape} like the labels.")
        if len(values) and (values.min() < 0 or values.max() >= len(classes)):
            raise BadInputError(f"{name} holds {values.min()} to {values.max()}, expected 0 to {len(classes) - 1}.")
