"""Act on a window or not: drift beyond chance and expected harm, window after window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from evergreen.errors import BadInputError
from evergreen.stream.harm import HarmConfig, HarmEstimate


@dataclass(frozen=True)
class Verdict:
    """Whether to act on a window: retrain or not, and why."""

    act: bool
    expected_fall: float | None
    reason: str


@dataclass
class Judge:
    """Turns drift and expected harm of window after window into a decision.

    Difference alone is no reason to act, and neither is an estimate alone: a window must be shifted beyond chance, and
    the shift must be expected to do harm. A fall that is expected to be large is believed at once; a smaller one when
    the mean over this shifted window and the one before it reaches the threshold.

    Attributes:
        config: threshold and the fall that needs no second window.
        previous: expected fall of the window before, None if that was not shifted.
    """

    config: HarmConfig
    previous: float | None = None

    def update(self, shifted: bool, estimate: HarmEstimate | None) -> Verdict:
        """Judge the next window.

        Args:
            shifted: a test says that the window differs from the reference.
            estimate: of the harm; only needed where the window is shifted.

        Raises:
            BadInputError: the window is shifted and there is no estimate.
        """
        if not shifted:
            self.previous = None
            return Verdict(False, None, "no shift beyond chance")
        if estimate is None:
            raise BadInputError("Found a shifted window without an estimate of the harm; give both to the judge.")
        before, self.previous = self.previous, estimate.expected_fall
        fall = estimate.expected_fall
        if fall >= self.config.sure:
            return Verdict(True, fall, f"accuracy is expected to fall by {fall:.1%}")
        if before is None:
            wait = "wait for a second window" if fall >= self.config.threshold else "no harm expected"
            return Verdict(False, fall, f"accuracy is expected to fall by {fall:.1%}: {wait}")
        mean = (fall + before) / 2
        act = mean >= self.config.threshold
        return Verdict(act, mean, f"accuracy is expected to fall by {mean:.1%}, the mean of two shifted windows")

    def to_json(self) -> dict[str, Any]:
        """What the next decision depends on besides the configuration."""
        return {"previous": self.previous}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], config: HarmConfig) -> Self:
        return cls(config, values["previous"])
