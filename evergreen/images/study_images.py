"""What the studies of the image domain look at: the training windows with all labels there are, the hidden ones too."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.images.imageset import TRAINING_SPLITS, ImageSet, open_windows
from evergreen.images.labels import all_labels, read_labels
from evergreen.images.layout import ImageLayout

NO_LABEL = -1


@dataclass(frozen=True)
class StudyImages:
    """The images of splits train and val.

    Attributes:
        images: the images; no gate and no test image is among them.
        labels: (N,) class numbers, -1 where no label exists.
        classes: their names, sorted.
        identity: JSON that changes with the images or their labels.
    """

    images: ImageSet
    labels: NDArray[np.int64]
    classes: list[str]
    identity: list[object]

    def rows(self, split: str, labelled: bool = True) -> NDArray[np.int64]:
        """Row numbers of a split; by default only those with a label."""
        there = (self.images.index["split"] == split).to_numpy()
        return np.flatnonzero(there & (self.labels != NO_LABEL) if labelled else there)


def studies_folder(layout: ImageLayout) -> Path:
    """Where studies leave tables and figures."""
    return layout.root / "studies"


def open_study(layout: ImageLayout) -> StudyImages:
    """Open the training windows of a workspace.

    Raises:
        BadInputError: there are none yet, or fewer than two classes have labels.
    """
    if not layout.training_windows.is_file():
        raise BadInputError(
            f"{layout.training_windows} is missing: a study needs the windows of a workspace. "
            f"Run `evergreen run images --workdir {layout.workspace}` first."
        )
    selection = read_json(layout.training_windows)
    images = open_windows(layout.windows, [w["window_id"] for w in selection["windows"]], TRAINING_SPLITS)
    names = all_labels(images.index, read_labels(layout.hidden_labels))
    classes = sorted({str(name) for name in names.dropna().unique()})
    if len(classes) < 2:
        raise BadInputError(
            f"A study needs labels of at least 2 classes, found {len(classes)} among {len(images)} images of the "
            "training windows. Label some images."
        )
    labels = np.full(len(images), NO_LABEL, dtype=np.int64)
    known = names.notna().to_numpy()
    labels[known] = np.searchsorted(classes, names.to_numpy()[known].astype(str))
    identity: list[object] = [selection, classes, np.bincount(labels[known], minlength=len(classes)).tolist()]
    return StudyImages(images, labels, classes, identity)


def subset(images: ImageSet, rows: NDArray[np.int64]) -> ImageSet:
    """Some images of a set, as a set of its own over the same files."""
    part = copy.copy(images)
    part.rows = images.rows[rows]
    part.index = images.index.iloc[rows].reset_index(drop=True)
    return part


def stratified(
    rows: NDArray[np.int64], labels: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A share of some rows, drawn class by class, at least one row of each class; ascending.

    Args:
        rows: (M,) row numbers to draw from.
        labels: (M,) their class numbers.
        fraction: share of each class, 0 to 1.
        rng: a larger fraction drawn from an equal generator holds the smaller one.

    >>> rows, labels = np.arange(6), np.array([0, 0, 0, 0, 1, 1])
    >>> len(stratified(rows, labels, 0.5, np.random.default_rng(0)))
    3
    """
    chosen = []
    for number in np.unique(labels):
        order = rng.permutation(rows[labels == number])
        chosen.append(order[: max(1, round(fraction * len(order)))])
    return np.sort(np.concatenate(chosen))


def over_seeds(frame: pd.DataFrame, keys: list[str]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds of what a table measures, a row for each combination of ``keys``.

    Args:
        frame: a row for each key and seed; every column of floats that is no key is a measure, nan where there is none.
        keys: columns.

    Returns:
        The keys, ``seeds`` with a measure, the means, and each measure's ``_sd``; None where there is none.

    >>> frame = pd.DataFrame({"way": ["a", "a", "b"], "seed": [0, 1, 0], "f1": [0.5, 0.75, 0.25]})
    >>> [(row["way"], row["f1"], row["seeds"]) for row in over_seeds(frame, ["way"])]
    [('a', 0.625, 2), ('b', 0.25, 1)]
    """
    measures = [name for name in frame.columns if name not in keys and frame[name].dtype.kind == "f"]
    out = []
    for _, group in frame.groupby(keys, sort=False, dropna=False):
        row: dict[str, Any] = {key: plain(group[key].iloc[0]) for key in keys}
        row["seeds"] = int(group[measures].notna().all(axis=1).sum())
        for measure in measures:
            values = group[measure].dropna().to_numpy(dtype=np.float64)
            row[measure] = float(values.mean()) if len(values) else None
            row[f"{measure}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
        out.append(row)
    return out


def plain(value: Any) -> Any:
    """A cell of a frame as JSON has it."""
    if value is None or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value
