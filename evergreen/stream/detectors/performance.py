"""Detectors that watch a model's performance: river's, in the common frame.

They are fed a number for each answer whose label is known: a loss, a 0/1 error, an accuracy. ``direction`` says where
harm lies. What moves the other way is no drift and does not start the detector anew.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import pydantic
from river.base.drift_detector import _BaseDriftDetector
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, EDDM, HDDMA, HDDMW

from evergreen.errors import BadInputError
from evergreen.stream.detectors.detector import Detector, DetectorConfig, Direction, finite
from evergreen.stream.detectors.river_state import read_state, write_state


class PerformanceConfig(DetectorConfig):
    """What performance detectors have in common.

    Attributes:
        direction: which way of the signal is drift: ``up`` for losses and errors, ``down`` for accuracies, ``both``.
    """

    direction: Literal["up", "down", "both"] = "up"


class PerformanceDetector(Detector[float]):
    """Watches a number. River's detector sees it mirrored where harm lies down, so that harm is always up."""

    settings: ClassVar[type[PerformanceConfig]]
    config: PerformanceConfig
    binary: ClassVar[bool] = False
    """Whether the signal must be 0 or 1."""

    def __init__(self, config: PerformanceConfig | None = None) -> None:
        super().__init__(config)
        self._inner: Any = self._new()  # river's classes are half typed

    @abstractmethod
    def _new(self) -> _BaseDriftDetector:
        """River's detector, new, with the settings."""

    @abstractmethod
    def _step(self, value: float) -> Direction | None:
        """Feed river's detector; where the (mirrored) signal went if it says that it went somewhere."""

    def update(self, item: float) -> bool:
        """Take the next value of the signal; True if it raises an alarm.

        While the detector cools down the values are counted but not looked at: what a model does while it is being
        replaced says nothing of the data. Then it starts from nothing, with the new model's level as its own.

        Raises:
            BadInputError: NaN, infinite, or for a detector of errors neither 0 nor 1.
        """
        value = self._checked(item)
        if self._cools_down():
            return False
        moved = self._step(self._mirrored(value))
        if moved is None:
            return False
        self.direction = self._seen_from_outside(moved)
        wanted = self.config.direction == "both" or self.direction == self.config.direction
        if not wanted or self.evidence < self.config.minimum_evidence:
            # river starts a detector anew after its alarms; this was none
            self._inner._drift_detected = False
            return False
        self.drift_detected = True
        self.restart()
        return True

    def restart(self) -> None:
        self._inner = self._new()
        self.evidence = 0
        self.cooling = self.config.cool_down

    def _checked(self, item: object) -> float:
        value = finite(item, "The performance signal")
        if self.binary and value not in (0.0, 1.0):
            raise BadInputError(f"{self.name} watches errors: found {value:g}, expected 0 (right) or 1 (wrong).")
        return value

    def _mirrored(self, value: float) -> float:
        if self.config.direction != "down":
            return value
        return 1 - value if self.binary else -value

    def _seen_from_outside(self, moved: Direction) -> Direction:
        if self.config.direction != "down":
            return moved
        return "down" if moved == "up" else "up"

    def _memory(self) -> dict[str, Any]:
        return read_state(self._inner)

    def _remember(self, memory: Mapping[str, Any]) -> None:
        write_state(self._inner, memory)


class AdwinConfig(PerformanceConfig):
    """ADWIN (Bifet & Gavaldà 2007), river's names.

    Attributes:
        delta: confidence; smaller means fewer alarms.
        clock: look for a change every so many values. River's own default is 32, which adds up to 31 values of delay.
        limit: larger values are cut here, so that a single surprise is no drift; none are cut if null.
    """

    delta: float = pydantic.Field(0.002, gt=0, lt=1)
    clock: int = pydantic.Field(1, ge=1)
    max_buckets: int = pydantic.Field(5, ge=1)
    min_window_length: int = pydantic.Field(5, ge=1)
    limit: float | None = pydantic.Field(None, gt=0)


class Adwin(PerformanceDetector):
    """Adaptive window: drift is when the older part of the window has another mean than the newer one."""

    name = "adwin"
    settings = AdwinConfig
    config: AdwinConfig

    def _new(self) -> ADWIN:
        c = self.config
        return ADWIN(c.delta, c.clock, c.max_buckets, c.min_window_length, grace_period=0)  # type: ignore[no-untyped-call]

    def _step(self, value: float) -> Direction | None:
        if self.config.limit is not None:
            value = max(-self.config.limit, min(self.config.limit, value))
        before = self._inner.estimation
        self._inner.update(value)
        if not self._inner.drift_detected:
            return None
        # the older part is gone from the window: a higher mean without it means that it was the lower one
        return "up" if self._inner.estimation > before else "down"


class PageHinkleyConfig(PerformanceConfig):
    """Page-Hinkley (Page 1954), river's names; ``threshold`` is in units of the signal."""

    delta: float = pydantic.Field(0.005, ge=0)
    threshold: float = pydantic.Field(50.0, gt=0)
    alpha: float = pydantic.Field(1 - 0.0001, gt=0, le=1)


class PageHinkleyTest(PerformanceDetector):
    """Cumulated deviations from the running mean, compared with their smallest (largest) value so far."""

    name = "page_hinkley"
    settings = PageHinkleyConfig
    config: PageHinkleyConfig

    def _new(self) -> PageHinkley:
        c = self.config
        mode = "both" if c.direction == "both" else "up"
        return PageHinkley(min_instances=1, delta=c.delta, threshold=c.threshold, alpha=c.alpha, mode=mode)

    def _step(self, value: float) -> Direction | None:
        self._inner.update(value)
        if not self._inner.drift_detected:
            return None
        risen = self._inner._sum_increase - self._inner._min_increase
        return "up" if risen > self.config.threshold else "down"


class KswinConfig(PerformanceConfig):
    """KSWIN (Raab et al. 2020), river's names.

    Attributes:
        clock: test every so many values; river tests at each, which costs half a millisecond.
    """

    alpha: float = pydantic.Field(0.005, gt=0, lt=1)
    window_size: int = pydantic.Field(100, ge=4)
    stat_size: int = pydantic.Field(30, ge=2)
    clock: int = pydantic.Field(1, ge=1)
    seed: int = 0

    @pydantic.model_validator(mode="after")
    def _sizes(self) -> Self:
        if 2 * self.stat_size > self.window_size:
            raise ValueError("window_size must be at least twice stat_size: as many older values are compared")
        return self


class Kswin(PerformanceDetector):
    """Kolmogorov-Smirnov test of the newest values of a window against as many older ones."""

    name = "kswin"
    settings = KswinConfig
    config: KswinConfig

    def _new(self) -> KSWIN:
        c = self.config
        return KSWIN(c.alpha, c.window_size, c.stat_size, seed=c.seed)

    def _step(self, value: float) -> Direction | None:
        if (self._inner.n + 1) % self.config.clock:
            self._inner.n += 1
            self._inner.window.append(value)
            return None
        older = list(self._inner.window)[-(self.config.window_size - 1) : -(self.config.stat_size - 1)]
        self._inner.update(value)
        if not self._inner.drift_detected:
            return None
        newest = list(self._inner.window)[-self.config.stat_size :]
        return "up" if sum(newest) / len(newest) > sum(older) / len(older) else "down"


class OneSidedConfig(PerformanceConfig):
    """Of methods that only know errors becoming more frequent."""

    direction: Literal["up", "down"] = "up"


class DdmConfig(OneSidedConfig):
    """DDM (Gama et al. 2004), river's names."""

    drift_threshold: float = pydantic.Field(3.0, gt=0)


class Ddm(PerformanceDetector):
    """Drift is an error rate some standard deviations above its lowest value."""

    name, binary = "ddm", True
    settings = DdmConfig
    config: DdmConfig

    def _new(self) -> DDM:
        # before 30 values its estimate of the standard deviation is worth nothing, whatever evidence is asked for
        return DDM(max(30, self.config.minimum_evidence), drift_threshold=self.config.drift_threshold)

    def _step(self, value: float) -> Direction | None:
        self._inner.update(value)
        return "up" if self._inner.drift_detected else None


class EddmConfig(OneSidedConfig):
    """EDDM (Baena-García et al. 2006), river's names.

    Attributes:
        warm_start: errors, not values, before it judges.
        beta: the share of their largest distance that errors may come together to.
    """

    warm_start: int = pydantic.Field(30, ge=1)
    beta: float = pydantic.Field(0.9, gt=0, le=0.95)


class Eddm(PerformanceDetector):
    """Drift is errors that come closer together than they did."""

    name, binary = "eddm", True
    settings = EddmConfig
    config: EddmConfig

    def _new(self) -> EDDM:
        return EDDM(self.config.warm_start, beta=self.config.beta)

    def _step(self, value: float) -> Direction | None:
        self._inner.update(int(value))
        return "up" if self._inner.drift_detected else None


class HddmConfig(PerformanceConfig):
    """HDDM (Frías-Blanco et al. 2015), river's names."""

    drift_confidence: float = pydantic.Field(0.001, gt=0, lt=1)


class HddmA(PerformanceDetector):
    """Hoeffding's bound on the difference of two averages of the errors."""

    name, binary = "hddm_a", True
    settings = HddmConfig
    config: HddmConfig

    def _new(self) -> HDDMA:
        confidence = self.config.drift_confidence
        both = self.config.direction == "both"
        return HDDMA(confidence, confidence, two_sided_test=both)  # type: ignore[no-untyped-call]

    def _step(self, value: float) -> Direction | None:
        self._inner.update(int(value))
        if not self._inner.drift_detected:
            return None
        return "up" if self._inner._mean_incr(self.config.drift_confidence) else "down"


class HddmWConfig(HddmConfig):
    """HDDM with weights.

    Attributes:
        lambda_val: weight of the newest value in the moving average.
    """

    lambda_val: float = pydantic.Field(0.05, gt=0, lt=1)


class HddmW(PerformanceDetector):
    """McDiarmid's bound on the difference of two exponentially weighted averages of the errors."""

    name, binary = "hddm_w", True
    settings = HddmWConfig
    config: HddmWConfig

    def _new(self) -> HDDMW:
        c = self.config
        both = c.direction == "both"
        return HDDMW(c.drift_confidence, c.drift_confidence, c.lambda_val, both)  # type: ignore[no-untyped-call]

    def _step(self, value: float) -> Direction | None:
        self._inner.update(int(value))
        if not self._inner.drift_detected:
            return None
        return "up" if self._inner._detect_mean_incr(self.config.drift_confidence) else "down"
