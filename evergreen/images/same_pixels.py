"""Rows of the stream with the same pixels: which one counts.

Of a benchmark the first row counts and the others are duplicates. Own images are labelled, renamed and corrected by
moving their files, and each move makes a new row with the same pixels. For them, in this order:

- a file that is still there outranks those that are gone, which were ``moved``;
- a labelled copy (its label is known, or it is an image of the gate or of the test set) outranks unlabelled ones, which
  were ``labelled later``;
- labelled copies that remain and disagree are all refused: nothing tells which label is right;
- of copies that agree the first counts, the others are duplicates.

A label can so be corrected or withdrawn by moving the file again.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd


def settle(
    frame: pd.DataFrame, pixels: pd.Series, tests: pd.DataFrame | None, gone: Collection[str] | None
) -> pd.DataFrame:
    """Name the row that counts beside each one that does not.

    Args:
        frame: the rows of the stream, with image_id, label and split.
        pixels: the hash of each row's pixels.
        tests: index of the test set.
        gone: image_ids whose file is gone; None for a benchmark, where nothing moves.

    Returns:
        One row each, image_ids or null: ``labelled_as``, ``moved_to``, ``copy_of_test_image``, ``contradicts``,
        ``duplicate_of``; at most one of the first two is set, and then none of the others.
    """
    tests = frame.iloc[:0] if tests is None else tests
    rows = _copies(frame, pixels, tests, gone or ())
    none = pd.Series(None, index=rows.index, dtype=object)
    labelled_as, moved_to, contradicts = none, none, none
    left = rows["streamed"]
    if gone is not None:
        there = rows["pixels"].map(_first(rows[~rows["gone"]]))
        current = ~rows["gone"] | there.isna()
        labelled = rows["pixels"].map(_first(rows[current & rows["labelled"]]))
        labelled_as = labelled.where(left & ~rows["labelled"])
        moved_to = there.where(left & ~current & labelled_as.isna())
        left = left & labelled_as.isna() & moved_to.isna()
        contradicts = _contradicted(rows[left]).reindex(rows.index)
    test_copy = rows["pixels"].map(_first(rows[~rows["streamed"]])).where(left)
    again = rows["pixels"].map(_first(rows[left])).where(left & rows["pixels"].where(left).duplicated())
    columns = {
        "labelled_as": labelled_as,
        "moved_to": moved_to,
        "copy_of_test_image": test_copy,
        "contradicts": contradicts,
        "duplicate_of": again,
    }
    return pd.DataFrame({name: values.astype(object) for name, values in columns.items()}).iloc[: len(frame)]


def _copies(frame: pd.DataFrame, pixels: pd.Series, tests: pd.DataFrame, gone: Collection[str]) -> pd.DataFrame:
    """The rows of the stream and then those of the test set, with what decides between copies."""
    return pd.DataFrame(
        {
            "image_id": [*frame["image_id"], *tests["image_id"]],
            "pixels": [*pixels, *tests["sha256"]],
            "label": pd.Series([*frame["label"], *[None] * len(tests)], dtype=object),
            "labelled": [*(frame["label"].notna() | (frame["split"] == "gate")), *[True] * len(tests)],
            "gone": [*frame["image_id"].isin(list(gone)), *[False] * len(tests)],
            "streamed": np.arange(len(frame) + len(tests)) < len(frame),
        }
    ).astype({"labelled": bool, "gone": bool, "pixels": object, "image_id": object})


def _first(rows: pd.DataFrame) -> dict[str, str]:
    """Pixels → image_id of the first of these rows that has them."""
    return dict(zip(rows["pixels"][::-1], rows["image_id"][::-1], strict=True))


def _contradicted(rows: pd.DataFrame) -> "pd.Series[str]":
    """For each row with a label the image_id of the first with the same pixels, where not all their labels agree."""
    known = rows[rows["label"].notna()]
    several = known.groupby("pixels")["label"].transform("nunique") > 1
    return known["pixels"].map(_first(known))[several]
