"""Images of two regimes, drawn in a chosen proportion."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Images(Protocol):
    """A numbered collection of images."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.integer]) -> Tensor:
        """Images by number, uint8 (n, H, W, 3)."""


class Mixture:
    """Some rows of a collection, repeated so that each group has its share.

    Args:
        images: the collection.
        rows: row numbers in it, as from :func:`balanced`.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64]) -> None:
        self.images = images
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[np.integer]) -> Tensor:
        """Images by their number in the mixture, uint8 (n, H, W, 3)."""
        return self.images.take(self.rows[rows])


def balanced(old: NDArray[np.int64], new: NDArray[np.int64], new_share: float) -> NDArray[np.int64]:
    """Both groups of rows, the smaller one relative to its share repeated whole, so that ``new`` has about its share.

    A group without rows leaves all to the other.

    Args:
        old: row numbers.
        new: row numbers.
        new_share: wanted share of ``new``, in (0, 1).

    >>> balanced(np.arange(6), np.array([9, 8]), 0.5).tolist()
    [0, 1, 2, 3, 4, 5, 9, 8, 9, 8, 9, 8]
    """
    if not len(old) or not len(new):
        return np.concatenate([old, new])
    ratio = new_share / (1 - new_share) * len(old) / len(new)  # times that new goes into its share beside one old
    if ratio >= 1:
        return np.concatenate([old, np.tile(new, round(ratio))])
    return np.concatenate([np.tile(old, max(1, round(1 / ratio))), new])
