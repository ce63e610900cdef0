"""A small stream of images in a workspace of its own."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.config import read_yaml
from evergreen.images.arrays import pixel_sha256, write_folder
from evergreen.images.layout import ImageLayout
from tasks.settings import CHECKOUT

SIZE = 8


def index_of(images: np.ndarray, arrived_at: Sequence[pd.Timestamp], name: str, split: str = "train") -> pd.DataFrame:
    """The index of some images, every third one labelled."""
    labels = [("cat", "dog")[row % 2] if row % 3 == 0 and split != "gate" else None for row in range(len(images))]
    return pd.DataFrame(
        {
            "image_id": [f"{name}-{row}" for row in range(len(images))],
            "arrived_at": pd.DatetimeIndex(arrived_at).as_unit("us"),
            "label": pd.Series(labels, dtype=object),
            "split": split,
            "sha256": [pixel_sha256(image) for image in images],
        }
    )


def pictures(count: int, seed: int, noise: float = 0.0) -> np.ndarray:
    """Random smooth images (two colour gradients), uint8 (count, SIZE, SIZE, 3), with Gaussian noise if asked for."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(20, 235, size=(count, 2, 2, 3))
    weight = np.linspace(0, 1, SIZE)
    rows = corners[:, :1] * (1 - weight)[None, :, None, None] + corners[:, 1:] * weight[None, :, None, None]
    images = rows[:, :, :1] * (1 - weight)[None, None, :, None] + rows[:, :, 1:] * weight[None, None, :, None]
    return np.clip(images + rng.normal(0, noise + 1e-9, images.shape), 0, 255).astype(np.uint8)


def write_stream(root: Path, days: int = 3, rows: int = 40, noisy_from: int | None = None) -> ImageLayout:
    """Write ``days`` arrival folders from 2026-01-01 on, ``rows`` images each, and a test set; returns the layout."""
    layout = ImageLayout(root)
    for day in range(days):
        images = pictures(rows, seed=day, noise=25.0 if noisy_from is not None and day >= noisy_from else 0.0)
        midnight = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=day)
        times = [midnight + pd.Timedelta(days=1) * row / rows for row in range(rows)]
        write_folder(layout.raw / f"{midnight:%Y-%m-%d}", images, index_of(images, times, f"d{day}"))
    for number, name in enumerate(("clean", "noisy")):
        images = pictures(10, seed=1000 + number)
        times = [pd.Timestamp("2026-01-01", tz="UTC")] * len(images)
        write_folder(layout.test / name, images, index_of(images, times, f"test-{name}", "test"))
    return layout


@pytest.fixture
def make_stream(tmp_path: Path) -> Callable[..., ImageLayout]:
    """Call it for a stream in ``tmp_path / "workspace"``, or in ``tmp_path / name``."""

    def make(name: str = "workspace", **options: int) -> ImageLayout:
        root = tmp_path / name
        root.mkdir()
        shutil.copy(CHECKOUT / "params.yaml", root / "params.yaml")
        return write_stream(root, **options)

    return make


@pytest.fixture
def params() -> dict:
    """The image parameters of the default workspace, for the images of ``make_stream`` taken as a user's own."""
    values = read_yaml(CHECKOUT / "params.yaml")["images"]
    values["ingest"] |= {"source": "folder", "image_size": SIZE}
    values["threads"] = 1
    return values


@pytest.fixture
def lenient(params: dict) -> dict:
    """Limits above any share of bad rows, to see which rows are refused."""
    params["validate"] |= {name: 1.0 for name in params["validate"] if name.endswith("_fraction")}
    return params


@pytest.fixture
def make_pictures() -> Callable[..., np.ndarray]:
    return pictures


@pytest.fixture
def make_index() -> Callable[..., pd.DataFrame]:
    return index_of
