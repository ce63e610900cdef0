"""What the SimCLR benchmark runs on: images of a workspace, or the bundled digits, with labels for the linear probe."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.images.arrays import open_images, pixel_sha256, read_index, write_folder
from evergreen.images.bundle import embed_batches
from evergreen.images.digits import load_digits
from evergreen.images.encoders import Encoder
from evergreen.images.imageset import TRAINING_SPLITS, ImageSet
from evergreen.images.labels import all_labels, read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.linear import Split, accuracy, spread
from evergreen.images.probe import ProbeConfig, choose_linear, class_numbers, embed_rows
from evergreen.training.precision import Resolved


@dataclass(frozen=True)
class Data:
    """Training images, the label of each (null where there is none), and the folder of the test images."""

    name: str
    images: ImageSet
    labels: "pd.Series[str]"
    test: Path


def open_data(workspace: Path | None, scratch: Path) -> Data:
    """The training windows of a workspace; without one, the digits, written below ``scratch`` once."""
    if workspace is None:
        if not (scratch / "test").is_dir():
            write_digits(scratch)
        images = ImageSet([scratch / "train"])
        return Data("digits", images, images.index["label"], scratch / "test")
    layout = ImageLayout(workspace)
    if not layout.training_windows.is_file():
        raise BadInputError(f"{workspace} has no windows of images. Run `evergreen run images` there first.")
    windows = [layout.windows / window["window_id"] for window in read_json(layout.training_windows)["windows"]]
    images = ImageSet(windows, TRAINING_SPLITS)
    labels = all_labels(images.index, read_labels(layout.hidden_labels))
    return Data(images.index["image_id"].iloc[0].split("-")[0], images, labels, layout.test / "clean")


def write_digits(folder: Path) -> None:
    """Write ``train`` and ``test``; every tenth training image is for choices."""
    digits = load_digits(size=32, seed=0)
    parts = {"train": (digits.images, digits.labels), "test": (digits.test_images, digits.test_labels)}
    for name, (images, labels) in parts.items():
        validation = np.arange(len(images)) % 10 == 0
        index = pd.DataFrame(
            {
                "image_id": [f"digits-{name}-{i:05d}" for i in range(len(images))],
                "arrived_at": pd.Timestamp("2026-01-01", tz="UTC"),
                "label": [digits.classes[label] for label in labels],
                "split": np.where(validation, "val", "train") if name == "train" else "test",
                "sha256": [pixel_sha256(image) for image in images],
            }
        )
        write_folder(folder / name, images, index)


def linear_accuracy(encoder: Encoder, data: Data, precision: Resolved, most: int | None) -> dict[str, float]:
    """Accuracy on the test images of a linear classifier on frozen features of the whole images.

    Its penalty is chosen on the validation split.

    Args:
        encoder: not changed.
        data: what it is probed with.
        precision: of the forward passes.
        most: labelled images to use, evenly spaced; all of them if None.
    """
    rows = np.flatnonzero(data.labels.notna())
    if most is not None and most < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
    classes = sorted(data.labels.iloc[rows].astype(str).unique())
    features = embed_rows(encoder, data.images, rows, data.images.size, precision, lambda count: None)
    numbers = torch.from_numpy(np.searchsorted(classes, data.labels.to_numpy()[rows].astype(str)))
    validation = torch.from_numpy((data.images.index["split"] == "val").to_numpy()[rows])
    mean, std = spread(features[~validation])

    def split(vectors: Tensor, answers: Tensor) -> Split:
        return Split((vectors - mean) / std, answers)

    train, val = (split(features[part], numbers[part]) for part in (~validation, validation))
    linear, _ = choose_linear(train, val, len(classes), ProbeConfig())
    vectors = torch.cat(list(embed_batches(encoder, open_images(data.test), data.images.size, precision)))
    test = split(vectors, class_numbers(read_index(data.test)["label"], classes, torch.device("cpu")))
    return {
        "linear_accuracy": accuracy(linear(test.features).argmax(dim=1), test.labels),
        "probe_train": len(train.labels),
        "probe_test": len(test.labels),
    }
