"""Labels: which are known on arrival, which are kept apart, and the classes that follow from them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import write_atomically
from evergreen.images.arrays import read_table, to_table

LABELS_SCHEMA = pa.schema(
    [pa.field("image_id", pa.string(), nullable=False), pa.field("label", pa.string(), nullable=False)]
)
"""The columns of hidden.parquet and gate.parquet."""


def write_labels(path: Path, labels: pd.DataFrame) -> None:
    """Write a label file (image_id, label), sorted by image_id; it exists even with 0 rows."""
    table = to_table(labels.sort_values("image_id"), LABELS_SCHEMA)
    write_atomically(path, lambda part: pq.write_table(table, part))


def read_labels(path: Path) -> pd.DataFrame:
    """Read a label file: columns image_id and label (class name), sorted by image_id.

    Raises:
        BadInputError: it is missing, damaged, or has other columns.
    """
    return read_table(path, LABELS_SCHEMA)


def known_classes(indexes: Iterable[pd.DataFrame]) -> list[str]:
    """The class names among the known labels of some indexes, each once, sorted.

    >>> known_classes([pd.DataFrame({"label": ["ship", None]}), pd.DataFrame({"label": ["cat", "ship"]})])
    ['cat', 'ship']
    """
    return sorted({str(label) for index in indexes for label in index["label"].dropna().unique()})


def draw_known(splits: NDArray[np.str_], fraction: float, seed: int, day: int) -> NDArray[np.bool_]:
    """Choose the images of one day whose label is known on arrival.

    Exactly ``round(fraction · rows)`` of them, drawn evenly among those of split train and val.

    Args:
        splits: the split of each image of the day, in order.
        fraction: share of the day's images, 0 to 1.
        seed: of the run.
        day: number of the day, from 0; every day has a draw of its own.

    Raises:
        BadInputError: the day has fewer images outside the gate than that.
    """
    candidates = np.flatnonzero(np.isin(splits, ("train", "val")))
    count = round(fraction * len(splits))
    if count > len(candidates):
        raise BadInputError(
            f"known_fraction {fraction} asks for {count} known labels on day {day}, but only {len(candidates)} of its "
            f"{len(splits)} images are not set apart for the gate. Lower known_fraction or gate_fraction."
        )
    known = np.zeros(len(splits), dtype=bool)
    known[np.random.default_rng([seed, day]).choice(candidates, size=count, replace=False)] = True
    return known


def all_labels(index: pd.DataFrame, hidden: pd.DataFrame) -> "pd.Series[str]":
    """Known and hidden labels of the images, null where neither exists."""
    lookup = dict(zip(hidden["image_id"], hidden["label"], strict=True))
    return index["label"].where(index["label"].notna(), index["image_id"].map(lookup))
