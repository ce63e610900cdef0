"""The default where answers, labels and losses are all known: two detectors side by side, an alarm of either.

A loss sees within some ten labels that something comes up that a model thought impossible, and is blind to shares that
merely change. Labels by key see those too, and need more of them.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pydantic

from evergreen.errors import BadInputError
from evergreen.stream.detectors.detector import Detector, DetectorConfig, finite
from evergreen.stream.detectors.labels import LabelConfig, LabelDetector, Labelled
from evergreen.stream.detectors.performance import Adwin, AdwinConfig


class Outcome(NamedTuple):
    """What came of one answer.

    Attributes:
        key: what was known before: the model's answer, or the last activity.
        label: what came true.
        loss: −log of the probability that the model gave the label.
    """

    key: str
    label: str
    loss: float


class OutcomeConfig(DetectorConfig):
    """Settings of the two, with their names; evidence and cool-down hold for both together."""

    minimum_evidence: int = pydantic.Field(500, ge=0)
    cool_down: int = pydantic.Field(250, ge=0)
    direction: Literal["up", "both"] = "both"
    run_length: float = pydantic.Field(1e6, ge=10, le=1e12)
    memory: float = pydantic.Field(80, ge=2)
    strength: float = pydantic.Field(10, gt=0)
    delta: float = pydantic.Field(0.002, gt=0, lt=1)


class OutcomeDetector(Detector[Outcome]):
    """ADWIN on the loss, and the labels of each key; both start anew after an alarm of either."""

    name = "outcomes"
    settings = OutcomeConfig
    config: OutcomeConfig

    def __init__(self, config: OutcomeConfig | None = None) -> None:
        super().__init__(config)
        c = self.config
        self._loss = Adwin(AdwinConfig(minimum_evidence=c.minimum_evidence, delta=c.delta))
        self._labels = LabelDetector(
            LabelConfig(
                minimum_evidence=c.minimum_evidence,
                cool_down=0,
                direction=c.direction,
                run_length=c.run_length,
                memory=c.memory,
                strength=c.strength,
            )
        )
        self.cause: Literal["loss", "labels"] | None = None
        """Which of the two raised the last alarm."""

    def update(self, item: Outcome) -> bool:
        """Take the next outcome; True if it raises an alarm.

        Raises:
            BadInputError: a part is missing, no name, or no finite number.
        """
        outcome = _checked(item)
        if self._cools_down():
            return False
        by_loss = self._loss.update(outcome.loss)
        by_labels = self._labels.update(Labelled(outcome.key, outcome.label))
        # where labels move up or down is a question of agreement: a loss that rises is the clearer word
        self.direction = "up" if by_loss else self._labels.direction or self._loss.direction
        if not (by_loss or by_labels):
            return False
        self.drift_detected, self.cause = True, "loss" if by_loss else "labels"
        self.restart()
        return True

    def restart(self) -> None:
        self._loss.restart()
        self._labels.restart()
        self.evidence = 0
        self.cooling = self.config.cool_down

    def _memory(self) -> dict[str, Any]:
        return {"loss": self._loss.state(), "labels": self._labels.state(), "cause": self.cause}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._loss = Adwin.from_state(memory["loss"])
        self._labels = LabelDetector.from_state(memory["labels"])
        self.cause = memory["cause"]


def _checked(item: object) -> Outcome:
    names = item[:2] if isinstance(item, tuple) and len(item) == 3 else (None, None)
    if not isinstance(item, tuple) or not all(isinstance(name, str) and name for name in names):
        raise BadInputError(
            f"Detector outcomes was given {item!r}, expected two names and a number: (key, label, loss)."
        )
    return Outcome(item[0], item[1], finite(item[2], "The loss"))
