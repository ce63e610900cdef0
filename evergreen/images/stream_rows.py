"""The arrivals as data frames that can be checked: one row a folder, and one row an image with its statistics."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.images.arrays import IMAGES_FILE, INDEX_FILE, open_folder, pixel_sha256, read_index
from evergreen.images.expectations import CLASHES, FOLDER_COLUMNS, INDEX_COLUMNS
from evergreen.images.same_pixels import settle
from evergreen.images.statistics import CHANNELS, FEATURES, chunks, describe
from evergreen.progress import Progress

HASHED_AT_ONCE = 1024


@dataclass(frozen=True)
class StreamRows:
    """Every image of the stream, in order of its folder and row.

    Attributes:
        index: the columns :data:`evergreen.images.expectations.INDEX_COLUMNS`.
        statistics: the columns :data:`evergreen.images.statistics.FEATURES`, and ``spread``, the largest standard
            deviation of a channel.
    """

    index: pd.DataFrame
    statistics: pd.DataFrame


def folder_rows(folders: Sequence[Path]) -> pd.DataFrame:
    """One row an array folder, with what can be said of it without reading its pixels.

    ``problem`` is null where both files can be opened; ``surplus`` is the number of images minus that of index rows.
    """
    return pd.DataFrame([_folder_row(folder) for folder in folders], columns=list(FOLDER_COLUMNS)).astype(
        {"problem": object, "columns": object, "dtype": object}
    )


def _folder_row(folder: Path) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(FOLDER_COLUMNS)
    row["folder"] = folder.name
    if missing := [name for name in (INDEX_FILE, IMAGES_FILE) if not (folder / name).is_file()]:
        row["problem"] = f"{' and '.join(missing)} is missing"
        return row
    try:
        index = pq.ParquetFile(folder / INDEX_FILE)
        row["columns"] = ", ".join(f"{field.name} {field.type}" for field in index.schema_arrow)
        images = np.load(folder / IMAGES_FILE, mmap_mode="r", allow_pickle=False)
    except (pa.ArrowInvalid, OSError, ValueError, EOFError) as error:
        row["problem"] = str(error)
    else:
        row["surplus"] = len(images) - index.metadata.num_rows
        row["dtype"] = str(images.dtype)
        row["height"], row["width"], row["channels"] = (*images.shape[1:4], 0, 0, 0)[:3]
    return row


def stream_rows(
    days: Sequence[Path], tests: Sequence[Path], progress: Progress, gone: Collection[str] | None = None
) -> StreamRows:
    """Read every image once, a piece at a time: its hash and its statistics.

    Args:
        days: array folders of the stream, in order of arrival.
        tests: array folders of the test set.
        progress: told of every image of the stream.
        gone: of own images, the image_ids whose file is gone; None for a benchmark.
    """
    parts, statistics, hashes = [], [], []
    for day in days:
        images, index = open_folder(day)
        parts.append(index.assign(day=day.name, row=np.arange(len(index))))
        for _, block in chunks(images, HASHED_AT_ONCE):
            hashes += [pixel_sha256(image) for image in block]
            statistics.append(describe(block))
            progress.advance(len(block))
    frame = pd.concat(parts, ignore_index=True)
    numbers = pd.concat(statistics, ignore_index=True) if statistics else pd.DataFrame(columns=list(FEATURES))
    numbers["spread"] = numbers[[f"std_{channel}" for channel in CHANNELS]].max(axis=1)
    test_index = pd.concat([read_index(folder) for folder in tests], ignore_index=True) if tests else None
    pixels = pd.Series(hashes, dtype=object)
    return StreamRows(_with_clashes(frame, pixels, settle(frame, pixels, test_index, gone)), numbers)


def _with_clashes(frame: pd.DataFrame, pixels: pd.Series, settled: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that name what a row clashes with: null where all is well, the first of several is well."""
    place = frame["day"] + "/" + frame["row"].astype(str)
    first_place = dict(zip(frame["image_id"][::-1], place[::-1], strict=True))
    again = frame["image_id"].duplicated() & frame["image_id"].notna()
    clashes = {
        "misplaced": (place + " arrived " + frame["arrived_at"].astype(str)).where(_misplaced(frame), None),
        "repeats": frame["image_id"].map(first_place).where(again, None),
        "damage": ("pixels hash to " + pixels).where(pixels != frame["sha256"], None),
        **{name: settled[name] for name in settled},
    }
    objects = {name: clashes[name].astype(object).where(clashes[name].notna(), None) for name in CLASHES}
    return frame.assign(**objects)[list(INDEX_COLUMNS)]


def _misplaced(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Whether an image lies in the folder of another day, or behind one that arrived later.

    Only within a folder: what comes late for its day lies in a part of its own, behind all that came in time.
    """
    times = frame["arrived_at"]
    midnights = {day: pd.Timestamp(str(day)[:10], tz="UTC") for day in frame["day"].unique()}
    elsewhere = times.dt.normalize() != frame["day"].map(midnights).astype(times.dtype)
    misplaced: pd.Series[bool] = elsewhere | (times < times.groupby(frame["day"]).shift())
    return misplaced
