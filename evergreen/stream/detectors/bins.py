"""Counts of a feature's values in bins: of a reference, and of a window."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """A feature's bins.

    Attributes:
        edges: (B − 1,) inner edges of a numeric feature's bins, which hold about equally many reference values; None
            for a feature of names, each of which is a bin.
        names: (B,) of the reference, sorted; empty for numbers.
        reference: (B,) counts.
    """

    edges: NDArray[np.float64] | None
    names: NDArray[np.str_]
    reference: Counts

    @classmethod
    def of(cls, reference: Values, count: int) -> "Bins":
        """Bins for the values (n,) of a reference: at most ``count`` for numbers, one for each name."""
        if reference.dtype.kind not in "fiub":
            names, counts = np.unique(reference.astype(np.str_), return_counts=True)
            return cls(None, names, counts)
        distinct = np.unique(reference)
        few = len(distinct) <= count  # few values are categories that happen to be numbers: cut halfway between them
        quantiles = np.quantile(reference, np.arange(1, count) / count)
        edges = (distinct[1:] + distinct[:-1]) / 2 if few else np.unique(quantiles)
        return cls(edges, np.empty(0, dtype=np.str_), _placed(reference, edges))

    def count(self, values: Values) -> tuple[Counts, Counts]:
        """Counts of the reference and of the values (n,), (b,) each; names that only the values have are bins too."""
        if self.edges is not None:
            return self.reference, _placed(values, self.edges)
        names, codes = np.unique(np.concatenate([self.names, values.astype(np.str_)]), return_inverse=True)
        reference = np.zeros(len(names), dtype=np.int64)
        reference[codes[: len(self.names)]] = self.reference
        return reference, np.bincount(codes[len(self.names) :], minlength=len(names))


def _placed(values: Values, edges: NDArray[np.float64]) -> Counts:
    codes = np.searchsorted(edges, values.astype(np.float64), side="right")
    return np.bincount(codes, minlength=len(edges) + 1)
