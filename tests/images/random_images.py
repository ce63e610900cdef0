"""Images to train on where it does not matter what they show."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from evergreen.images.arrays import write_folder


def image_folder(path: Path, count: int, seed: int = 0, size: int = 32) -> Path:
    """An array folder of random pictures in which neighbours differ in colour."""
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 255, (count, 1, 1, 3))
    noise = generator.integers(-30, 30, (count, size, size, 3))
    return _unlabelled(path, base + noise)


def bright_or_dark(path: Path, bright: np.ndarray, size: int, generator: np.random.Generator) -> Path:
    """An array folder of noisy pictures whose class, (N,) whether they are bright, can be told from them alone."""
    level = 90 + 70 * bright[:, None, None, None]
    return _unlabelled(path, generator.normal(level, 30, (len(bright), size, size, 3)))


def _unlabelled(path: Path, pixels: np.ndarray) -> Path:
    """Write pictures, (N, size, size, 3) around 0 to 255, all of split train and without a label."""
    count = len(pixels)
    index = pd.DataFrame(
        {
            "image_id": [f"{path.name}-{i}" for i in range(count)],
            "arrived_at": pd.date_range("2026-01-01", periods=count, freq="s", tz="UTC"),
            "label": [None] * count,
            "split": "train",
            "sha256": [f"{i:064x}" for i in range(count)],
        }
    )
    write_folder(path, np.clip(pixels, 0, 255).astype(np.uint8), index)
    return path


class Stack:
    """An array of images in the place of an image set."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> torch.Tensor:
        return self.images[torch.from_numpy(np.asarray(rows))]
