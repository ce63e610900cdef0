"""Counts of a feature's values in the bins that a reference gives it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


@dataclass(frozen=True)
class Bins:
    """Where to cut a feature.

    Attributes:
        edges: (B − 1,) inner edges of a numeric feature's bins, which hold about equally many reference values.
        categories: the values of a feature of names; one more bin takes what the reference never had.
    """

    edges: NDArray[np.float64] | None
    categories: tuple[str, ...] | None

    @classmethod
    def of(cls, reference: Values, count: int) -> "Bins":
        """Bins for the values (n,) of a reference: at most ``count`` for numbers, one for each name."""
        if reference.dtype.kind not in "fiub":
            return cls(None, tuple(np.unique(reference.astype(str)).tolist()))
        distinct = np.unique(reference)
        if len(distinct) <= count:  # few values are categories that happen to be numbers: cut halfway between them
            return cls((distinct[1:] + distinct[:-1]) / 2, None)
        return cls(np.unique(np.quantile(reference, np.arange(1, count) / count)), None)

    def counts(self, values: Values) -> NDArray[np.int64]:
        """(B,) how many of the values (n,) are in each bin."""
        if self.edges is not None:
            codes = np.searchsorted(self.edges, values.astype(np.float64), side="right")
            return np.bincount(codes, minlength=len(self.edges) + 1)
        assert self.categories is not None
        known = {name: code for code, name in enumerate(self.categories)}
        codes = np.array([known.get(name, len(known)) for name in values.astype(str)], dtype=np.int64)
        return np.bincount(codes, minlength=len(known) + 1)
