"""Detectors that test each feature of a window on its own, and account for there being many."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.stream.detectors.arrays_json import from_json, to_json
from evergreen.stream.detectors.binned_tests import chi_square, stability_index
from evergreen.stream.detectors.bins import Bins
from evergreen.stream.detectors.fdr import benjamini_hochberg
from evergreen.stream.detectors.windows import FeatureTest, WindowConfig, WindowDetector
from evergreen.stream.two_sample import Comparison, holm, kolmogorov_smirnov

Table = dict[str, NDArray[Any]]
CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {"holm": holm, "fdr": benjamini_hochberg}


class FeatureConfig(WindowConfig):
    """How features are tested.

    Attributes:
        correction: ``holm`` bounds the probability of any false alarm in a window, ``fdr`` (Benjamini-Hochberg) the
            share of false ones among the features reported; without drift both err with probability alpha.
    """

    correction: Literal["holm", "fdr"] = "holm"


class FeatureDetector(WindowDetector[Table]):
    """A test for each column. Windows are data frames, mappings of names to arrays, or arrays (n, d)."""

    settings = FeatureConfig
    config: FeatureConfig
    numbers_only = False

    def __init__(self, config: FeatureConfig | None = None) -> None:
        super().__init__(config)
        self._table: Table = {}

    @abstractmethod
    def _compare(self, name: str, values: NDArray[Any]) -> Comparison: ...

    def _tests(self, window: Table) -> list[FeatureTest]:
        found = {name: self._compare(name, values) for name, values in window.items()}
        adjusted = CORRECTIONS[self.config.correction]([result.p_value for result in found.values()])
        return [
            FeatureTest(name, result.statistic, result.p_value, p, self._moved(name, window[name]))
            for (name, result), p in zip(found.items(), adjusted, strict=True)
        ]

    def _moved(self, name: str, values: NDArray[Any]) -> Literal["up", "down", "changed"]:
        if values.dtype.kind != "f" or (difference := float(values.mean() - self._table[name].mean())) == 0:
            return "changed"
        return "up" if difference > 0 else "down"

    def _read(self, window: Any) -> Table:
        table = _as_table(window, self.name)
        known = self._table if self._fitted else (self._waiting[0] if self._waiting else table)
        if list(table) != list(known):
            raise BadInputError(
                f"The window has columns {list(table)}, expected those of the reference, {list(known)}."
            )
        for name, values in table.items():
            numbers = values.dtype.kind == "f"
            if numbers != (known[name].dtype.kind == "f") or (self.numbers_only and not numbers):
                raise BadInputError(
                    f"Column {name} holds {'numbers' if numbers else 'names'}, expected "
                    f"{'numbers' if self.numbers_only or not numbers else 'names'}."
                )
        return table

    def _fit(self, reference: Table) -> None:
        self._table = reference

    def _reference(self) -> Table:
        return self._table

    def _rows(self, window: Table) -> int:
        return len(next(iter(window.values())))

    def _pool(self, windows: Sequence[Table]) -> Table:
        return {name: np.concatenate([window[name] for window in windows]) for name in windows[0]}

    def _window_json(self, window: Table) -> Any:
        return [[name, to_json(values)] for name, values in window.items()]  # a list keeps the columns' order

    def _window_from_json(self, value: Any) -> Table:
        return {name: from_json(array) for name, array in value}


class KsDetector(FeatureDetector):
    """Kolmogorov-Smirnov test of each feature; numbers only."""

    name = "ks"
    numbers_only = True

    def _compare(self, name: str, values: NDArray[Any]) -> Comparison:
        return kolmogorov_smirnov(self._table[name], values)


class BinnedConfig(FeatureConfig):
    """How features are binned.

    Attributes:
        bins: of a feature of numbers, each with as many reference values; names are bins by themselves.
    """

    bins: int = pydantic.Field(10, ge=2)


class BinnedDetector(FeatureDetector):
    """A test of counts for each feature, numbers or names."""

    settings = BinnedConfig
    config: BinnedConfig

    def __init__(self, config: BinnedConfig | None = None) -> None:
        super().__init__(config)
        self._bins: dict[str, Bins] = {}

    def _fit(self, reference: Table) -> None:
        super()._fit(reference)
        self._bins = {name: Bins.of(values, self.config.bins) for name, values in reference.items()}


class ChiSquareDetector(BinnedDetector):
    """χ² test of each feature's counts."""

    name = "chi2"

    def _compare(self, name: str, values: NDArray[Any]) -> Comparison:
        return chi_square(*self._bins[name].count(values))


class PsiDetector(BinnedDetector):
    """Population stability index of each feature, with a p-value in place of a customary limit."""

    name = "psi"

    def _compare(self, name: str, values: NDArray[Any]) -> Comparison:
        return stability_index(*self._bins[name].count(values))


def _as_table(window: Any, detector: str) -> Table:
    if isinstance(window, pd.DataFrame):
        columns = {str(name): window[name].to_numpy() for name in window}
    elif isinstance(window, Mapping):
        columns = {str(name): np.asarray(values) for name, values in window.items()}
    else:
        array = np.asarray(window)
        if array.ndim != 2:
            raise BadInputError(f"Detector {detector} was given shape {array.shape}, expected rows and columns (n, d).")
        columns = {f"column_{number}": array[:, number] for number in range(array.shape[1])}
    if not columns or len({len(values) for values in columns.values()}) != 1 or not len(next(iter(columns.values()))):
        sizes = {name: len(values) for name, values in columns.items()}
        raise BadInputError(f"Detector {detector} was given columns of {sizes} rows, expected the same number, not 0.")
    return {name: _clean(name, values) for name, values in columns.items()}


def _clean(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim != 1:
        raise BadInputError(f"Column {name} has shape {values.shape}, expected one value a row.")
    if values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
        if not np.isfinite(numbers).all():
            bad = int(np.count_nonzero(~np.isfinite(numbers)))
            raise BadInputError(
                f"Column {name} holds {bad} values that are NaN or infinite: drop or impute them first."
            )
        return numbers
    if missing := int(pd.isna(values).sum()):
        raise BadInputError(f"Column {name} holds {missing} missing values: drop them or give them a name first.")
    return values.astype(np.str_)
