"""Images of many windows as one indexable set that stays on disk."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from evergreen.images.arrays import open_images, read_index

TRAINING_SPLITS = ("train", "val")
"""Splits that a model may learn from; the gate's images are kept apart even unlabelled."""


class ImageSet:
    """The images of several array folders, in order, memory-mapped.

    Args:
        folders: array folders.
        splits: keep only images of these splits; all if not given.

    ``index`` has the rows of the folders' index.parquet that were kept, numbered from 0.
    """

    def __init__(self, folders: Sequence[Path], splits: Collection[str] | None = None) -> None:
        self.arrays: list[NDArray[np.uint8]] = [open_images(folder) for folder in folders]
        self.starts = np.cumsum([0, *(len(a) for a in self.arrays)])
        whole = pd.concat([read_index(folder) for folder in folders], ignore_index=True)
        kept = np.ones(len(whole), dtype=bool) if splits is None else whole["split"].isin(splits).to_numpy()
        self.rows = np.flatnonzero(kept)  # row here → row of all folders together
        self.index: pd.DataFrame = whole[kept].reset_index(drop=True)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.arrays[0].shape[1])

    def take(self, rows: NDArray[np.integer]) -> Tensor:
        """Images by row number, in the order asked for: uint8 tensor (n, H, W, 3)."""
        wanted = self.rows[rows]
        out = np.empty((len(wanted), *self.arrays[0].shape[1:]), dtype=np.uint8)
        folder_of = np.searchsorted(self.starts, wanted, side="right") - 1
        for folder in np.unique(folder_of):
            here = folder_of == folder
            out[here] = self.arrays[folder][wanted[here] - self.starts[folder]]
        return torch.from_numpy(out)

    def channel_statistics(self, chunk: int = 4096) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each colour channel, in units of 1 (not 255), from exact integer sums."""
        count, total, squares = 0, np.zeros(3, np.int64), np.zeros(3, np.int64)
        for start in range(0, len(self), chunk):
            values = self.take(np.arange(start, min(start + chunk, len(self)))).numpy().reshape(-1, 3).astype(np.int64)
            count += len(values)
            total += values.sum(axis=0)
            squares += np.square(values).sum(axis=0)
        mean = total / count / 255
        std = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 1e-12))
        return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std)


def open_windows(root: Path, window_ids: Sequence[str], splits: Collection[str] | None = None) -> ImageSet:
    """The images of some windows, in the order given; ``splits`` as for :class:`ImageSet`."""
    return ImageSet([root / window_id for window_id in window_ids], splits)


def all_windows(root: Path) -> list[str]:
    """The ids of all windows, in time order (a window's id begins with its start)."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
