"""Images of many windows as one indexable set that stays on disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from evergreen.images.arrays import open_images, read_index


class ImageSet:
    """The images of several array folders, in order, memory-mapped.

    ``index`` has the rows of all folders' index.parquet, one for each image, numbered from 0.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.arrays: list[NDArray[np.uint8]] = [open_images(folder) for folder in folders]
        frames = [read_index(folder) for folder in folders]
        self.index: pd.DataFrame = pd.concat(frames, ignore_index=True)
        self.starts = np.cumsum([0, *(len(a) for a in self.arrays)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.arrays[0].shape[1])

    def take(self, rows: NDArray[np.integer]) -> Tensor:
        """Images by row number, in the order asked for: uint8 tensor (n, H, W, 3)."""
        out = np.empty((len(rows), *self.arrays[0].shape[1:]), dtype=np.uint8)
        folder_of = np.searchsorted(self.starts, rows, side="right") - 1
        for folder in np.unique(folder_of):
            here = folder_of == folder
            out[here] = self.arrays[folder][rows[here] - self.starts[folder]]
        return torch.from_numpy(out)

    def channel_statistics(self, chunk: int = 4096) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each colour channel, in units of 1 (not 255), exact integer sums."""
        count, total, squares = 0, np.zeros(3, np.int64), np.zeros(3, np.int64)
        for array in self.arrays:
            for start in range(0, len(array), chunk):
                values = np.asarray(array[start : start + chunk]).reshape(-1, 3).astype(np.int64)
                count += len(values)
                total += values.sum(axis=0)
                squares += np.square(values).sum(axis=0)
        mean = total / count / 255
        std = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 1e-12))
        return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std)


def open_windows(root: Path, window_ids: Sequence[str]) -> ImageSet:
    """The images of some windows, in the order given."""
    return ImageSet([root / window_id for window_id in window_ids])
