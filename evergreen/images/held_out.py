"""The test set: as it is, and a noisy copy beside it."""

from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.images.arrays import FolderWriter, open_folder, pixel_sha256
from evergreen.images.benchmark import Benchmark
from evergreen.images.corruption import noisy
from evergreen.images.ingest_config import IngestConfig

CHUNK = 2000


def held_out_index(data: Benchmark, config: IngestConfig) -> pd.DataFrame:
    """The index of a benchmark's test images: all labelled, and there since the first midnight."""
    ids = [data.test_id(number) for number in range(len(data.test_images))]
    start = pd.Timestamp(config.first_day, tz="UTC").as_unit("us")
    return pd.DataFrame(
        {
            "image_id": ids,
            "arrived_at": pd.DatetimeIndex([start] * len(ids)),
            "label": [data.classes[label] for label in data.test_labels],
            "split": "test",
            "sha256": [pixel_sha256(image) for image in data.test_images],
        }
    )


def write_noisy_copy(clean: Path, copy: Path, severity: int, seed: int) -> None:
    """Copy an array folder with Gaussian noise on every image; ids, labels and times stay, hashes are the copy's own.

    Args:
        clean: the array folder to copy.
        copy: where the copy goes; one that is there is replaced.
        severity: 1 to 5, see :mod:`evergreen.images.corruption`.
        seed: of the run.
    """
    images, index = open_folder(clean)
    with FolderWriter(copy, images.shape[1]) as writer:
        for start in range(0, len(index), CHUNK):
            rows = index.iloc[start : start + CHUNK]
            corrupted = noisy(np.asarray(images[start : start + CHUNK]), rows["image_id"].tolist(), severity, seed)
            writer.append(corrupted, rows.assign(sha256=[pixel_sha256(image) for image in corrupted]))
