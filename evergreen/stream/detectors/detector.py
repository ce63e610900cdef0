"""What every drift detector is: fed one item at a time, frugal with alarms, and exactly restorable from JSON.

Two kinds share this frame. A *performance detector* is fed a model's losses or errors, number by number; after an alarm
it starts anew. A *window detector* is fed windows of features or embeddings and holds a reference to compare them with.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import pydantic

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import sha256_json

Direction = Literal["up", "down", "changed"]
"""Where a signal went; ``changed`` where up and down have no meaning."""

Item = TypeVar("Item")
STATE_VERSION = 1


class DetectorConfig(Config):
    """What all detectors have in common.

    Attributes:
        minimum_evidence: no alarm before this many observations (rows of the window, for a window detector). A
            difference that shows up earlier is not forgotten: if it still holds, it is an alarm then.
        cool_down: after an alarm, this many updates pass without another one.
    """

    minimum_evidence: int = pydantic.Field(30, ge=0)
    cool_down: int = pydantic.Field(0, ge=0)


class Detector(ABC, Generic[Item]):
    """The frame: counts, cool-down, state. Subclasses look at the items.

    Attributes:
        config: the settings.
        drift_detected: whether the last update raised an alarm.
        direction: where the signal went in the last update, if it moved; also where that was no alarm.
        updates: how many items there have been.
        evidence: observations since the detector last started anew.
        cooling: updates left until alarms are possible again.
    """

    name: ClassVar[str]
    settings: ClassVar[type[DetectorConfig]]

    def __init__(self, config: DetectorConfig | None = None) -> None:
        self.config = self.settings() if config is None else config
        self.drift_detected = False
        self.direction: Direction | None = None
        self.updates = 0
        self.evidence = 0
        self.cooling = 0

    @abstractmethod
    def update(self, item: Item) -> bool:
        """Take the next item; True if it raises an alarm.

        Raises:
            BadInputError: the item is not what the detector looks at. Its state is then as before.
        """

    def _cools_down(self) -> bool:
        """Count an item as an update, and as evidence unless an alarm is so fresh that the item has to pass."""
        self.updates += 1
        self.drift_detected, self.direction = False, None
        if self.cooling:
            self.cooling -= 1
            return True
        self.evidence += 1
        return False

    @abstractmethod
    def restart(self) -> None:
        """Forget what was seen, as after an alarm: for when the model, or the reference, is replaced."""

    @abstractmethod
    def _memory(self) -> dict[str, Any]:
        """What the subclass remembers, as JSON."""

    @abstractmethod
    def _remember(self, memory: Mapping[str, Any]) -> None:
        """Take over what :meth:`_memory` gave."""

    def state(self) -> dict[str, Any]:
        """Everything, as JSON without NaN: :meth:`from_state` continues as if there had been no break."""
        state = {
            "detector": self.name,
            "version": STATE_VERSION,
            "settings": self.config.model_dump(mode="json"),
            "drift_detected": self.drift_detected,
            "direction": self.direction,
            "updates": self.updates,
            "evidence": self.evidence,
            "cooling": self.cooling,
            "memory": self._memory(),
        }
        return {**state, "sha256": sha256_json(state)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The detector that :meth:`state` describes.

        Raises:
            BadInputError: it is another detector's state, of another version, or not as it was written.
        """
        values = dict(state)
        digest = values.pop("sha256", None)
        if (found := values.get("detector")) != cls.name:
            raise BadInputError(f"This is the state of detector {found!r}, expected {cls.name!r}.")
        if (version := values.get("version")) != STATE_VERSION:
            raise BadInputError(f"State of version {version!r}, expected {STATE_VERSION}: start the detector anew.")
        if sha256_json(values) != digest:
            raise BadInputError("The detector's state is not as it was written: restore the file, or start anew.")
        detector = cls(cls.settings.read(values["settings"], f"settings of detector {cls.name}"))
        for name in ("drift_detected", "direction", "updates", "evidence", "cooling"):
            setattr(detector, name, values[name])
        detector._remember(values["memory"])
        return detector


def finite(value: object, what: str) -> float:
    """A finite number as a float.

    Raises:
        BadInputError: it is none.
    """
    if isinstance(value, str | bytes) or value is None:
        raise BadInputError(f"{what} is {value!r}, expected a finite number.")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{what} is {value!r}, expected a finite number.") from error
    if not math.isfinite(number):
        raise BadInputError(f"{what} is {number}, expected a finite number. Leave missing values out.")
    return number
