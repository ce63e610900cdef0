"""Detectors that compare windows with a reference, in the common frame."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import pydantic

from evergreen.errors import BadInputError
from evergreen.stream.detectors.detector import Detector, DetectorConfig

Window = TypeVar("Window")


class WindowConfig(DetectorConfig):
    """What window detectors have in common.

    Attributes:
        minimum_evidence: rows that a window, and the reference, must have to be tested.
        alpha: probability of an alarm in a window without drift.
        reference_windows: the first windows, pooled, become the reference, unless ``fit`` gives one.
        seed: of whatever is drawn at random.
    """

    alpha: float = pydantic.Field(0.01, gt=0, lt=1)
    reference_windows: int = pydantic.Field(5, ge=1)
    seed: int = 0


@dataclass(frozen=True)
class FeatureTest:
    """The test of one feature, or of all at once.

    Attributes:
        p_adjusted: accounts for the other features of the window.
        moved: where the mean of a feature of numbers went.
    """

    name: str
    statistic: float
    p_value: float
    p_adjusted: float
    moved: Literal["up", "down", "changed"]


@dataclass(frozen=True)
class Finding:
    """What a test of a window found.

    Attributes:
        drift: whether ``p_value`` is at most alpha.
        p_value: the smallest adjusted one; None if the window was not tested.
        tests: each one, most significant first.
        note: why the window was not tested.
    """

    drift: bool
    p_value: float | None = None
    tests: tuple[FeatureTest, ...] = ()
    note: str | None = None


class WindowDetector(Detector[Any], Generic[Window]):
    """Compares each window with a reference, which stays until :meth:`fit` or :meth:`restart`.

    Attributes:
        finding: of the last update, also where cool-down kept it from being an alarm.
    """

    settings: ClassVar[type[WindowConfig]]
    config: WindowConfig

    def __init__(self, config: WindowConfig | None = None) -> None:
        super().__init__(config)
        self.finding = Finding(False, note="nothing seen yet")
        self._waiting: list[Window] = []
        self._fitted = False

    def update(self, item: Any) -> bool:
        """Take the next window; True if it raises an alarm. The first ones become the reference.

        Raises:
            BadInputError: the window is empty, has missing values or other columns than the reference.
        """
        window = self._read(item)
        self.updates += 1
        self.drift_detected, self.direction = False, None
        cooling, self.cooling = self.cooling > 0, max(0, self.cooling - 1)
        if not self._fitted:
            self._gather(window)
            return False
        self.evidence += self._rows(window)
        self.finding = self._finding(window)
        if not self.finding.drift:
            return False
        self.direction = "changed"
        self.drift_detected = not cooling
        if self.drift_detected:
            self.cooling = self.config.cool_down
        return self.drift_detected

    def fit(self, reference: Any) -> None:
        """Compare with this from now on.

        Raises:
            BadInputError: it is empty, has missing values, or fewer rows than ``minimum_evidence``.
        """
        self._waiting, self._fitted = [], False
        window = self._read(reference)
        if (rows := self._rows(window)) < self.config.minimum_evidence:
            raise BadInputError(
                f"The reference of detector {self.name} has {rows} rows, expected at least "
                f"{self.config.minimum_evidence}: give it more, or lower minimum_evidence."
            )
        self._fit(window)
        self._fitted = True

    def test(self, window: Any) -> Finding:
        """Compare a window with the reference; the detector stays as it is, and gives the same answer again.

        Raises:
            BadInputError: as :meth:`update`, or there is no reference yet.
        """
        if not self._fitted:
            raise BadInputError(f"Detector {self.name} has no reference yet: call fit(reference) first.")
        return self._finding(self._read(window))

    def restart(self) -> None:
        """Forget the reference; the next windows become the new one."""
        self._waiting, self._fitted = [], False
        self.evidence = 0
        self.cooling = 0

    def _gather(self, window: Window) -> None:
        self._waiting.append(window)
        self.finding = Finding(False, note="part of the reference")
        if len(self._waiting) < self.config.reference_windows:
            return
        pooled = self._pool(self._waiting)
        if self._rows(pooled) >= self.config.minimum_evidence:  # else the next window helps to make it large enough
            self._fit(pooled)
            self._waiting, self._fitted = [], True

    def _finding(self, window: Window) -> Finding:
        if (rows := self._rows(window)) < max(2, self.config.minimum_evidence):
            needed = max(2, self.config.minimum_evidence)
            return Finding(False, note=f"not tested: {rows} rows, at least {needed} are needed")
        tests = sorted(self._tests(window), key=lambda test: test.p_adjusted)
        p_value = tests[0].p_adjusted
        return Finding(p_value <= self.config.alpha, p_value, tuple(tests))

    @abstractmethod
    def _read(self, window: Any) -> Window:
        """Check a window and bring it into the form that the detector works on."""

    @abstractmethod
    def _rows(self, window: Window) -> int: ...

    @abstractmethod
    def _pool(self, windows: Sequence[Window]) -> Window: ...

    @abstractmethod
    def _fit(self, reference: Window) -> None: ...

    @abstractmethod
    def _tests(self, window: Window) -> list[FeatureTest]: ...

    @abstractmethod
    def _window_json(self, window: Window) -> Any: ...

    @abstractmethod
    def _window_from_json(self, value: Any) -> Window: ...

    @abstractmethod
    def _reference(self) -> Window:
        """What :meth:`_fit` was given; fitting it again gives the same detector."""

    def _memory(self) -> dict[str, Any]:
        return {
            "reference": self._window_json(self._reference()) if self._fitted else None,
            "waiting": [self._window_json(window) for window in self._waiting],
            "finding": {**vars(self.finding), "tests": [vars(test) for test in self.finding.tests]},
        }

    def _remember(self, memory: Mapping[str, Any]) -> None:
        if memory["reference"] is not None:
            self._fit(self._window_from_json(memory["reference"]))
            self._fitted = True
        self._waiting = [self._window_from_json(window) for window in memory["waiting"]]
        tests = tuple(FeatureTest(**test) for test in memory["finding"]["tests"])
        self.finding = Finding(**{**memory["finding"], "tests": tests})
