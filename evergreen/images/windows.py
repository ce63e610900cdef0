"""Step `windows`: the accepted images, cut into tumbling windows → one array folder a window."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from evergreen.errors import BadInputError
from evergreen.files import read_json, remove, write_atomically, write_json
from evergreen.images.accepted import ACCEPTED_FILE, read_accepted
from evergreen.images.arrays import FolderWriter, content_sha256, open_folder, open_images, pixel_sha256, read_index
from evergreen.images.days import day_folders
from evergreen.images.layout import ImageLayout
from evergreen.progress import Progress, track
from evergreen.stream.windows import Tumbling, runs

DESCRIPTION = "window.json"
COPIED_AT_ONCE = 1024


class WindowsConfig(Tumbling):
    """How the stream is cut, and how many of the first windows pretraining may use."""

    training_windows: int = Field(20, ge=1)


@dataclass(frozen=True)
class Window:
    """A window of the stream: what window.json holds.

    Attributes:
        window_id: names start, end and content, so that the same images in the same window always have the same one.
        number: orders the windows of a stream.
        start: by time, the beginning of its hours; by count, the arrival of its first image.
        end: by time, where its hours end, not part of it; by count, the arrival of its last image.
        rows: images in it.
        content_hash: SHA-256 over the rows of its index, hence over the images.
    """

    window_id: str
    number: int
    start: datetime
    end: datetime
    rows: int
    content_hash: str

    @classmethod
    def of(cls, number: int, start: datetime, end: datetime, index: pd.DataFrame) -> Self:
        """The window from ``start`` to ``end`` that holds the images of ``index``."""
        digest = content_sha256(index)
        window_id = f"images-{start:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}-{digest[:12]}"
        return cls(window_id, number, start, end, len(index), digest)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "start": self.start.isoformat(), "end": self.end.isoformat()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        times = {name: datetime.fromisoformat(values[name]) for name in ("start", "end")}
        return cls(**{**values, **times})


@dataclass(frozen=True)
class Plan:
    """A window and where its images are.

    Attributes:
        window: what will be written.
        index: its rows.
        segments: arrival folders and the positions of the window's images in each, in order.
    """

    window: Window
    index: pd.DataFrame
    segments: tuple[tuple[Path, NDArray[np.int64]], ...]


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Write the window folders and training_windows.json; leave finished windows alone, remove those no longer planned.

    Raises:
        BadInputError: there is no accepted stream, it is not that of the arrivals, or a parameter does not fit.
    """
    config = WindowsConfig.read(params["windows"], "params.yaml: images.windows")
    layout = ImageLayout(workspace)
    started = time.perf_counter()
    accepted = read_accepted(layout.validation / ACCEPTED_FILE)
    with track("windows", total=len(accepted), unit="images") as progress:
        windows = write_windows(layout.windows, plan(day_folders(layout.raw), accepted, config), progress)
    training = [
        {"window_id": window.window_id, "rows": window.rows, "content_hash": window.content_hash}
        for window in windows[: config.training_windows]
    ]
    write_json(layout.training_windows, {"windows": training})
    write_json(layout.metrics / "windows.timing.json", {"seconds": time.perf_counter() - started})


def plan(days: Sequence[Path], accepted: pd.DataFrame, config: Tumbling) -> Iterator[Plan]:
    """Cut the accepted stream into windows, in the order of time; memory holds the index of one day and one window.

    Args:
        days: arrival folders in order.
        accepted: day, row, image_id of the accepted images, in order.
        config: how to cut.

    Raises:
        BadInputError: the accepted rows are not those of the arrivals, or the arrivals are out of order.
    """
    by_folder = {str(day): rows for day, rows in accepted.groupby("day", sort=False)}
    if unknown := sorted(set(by_folder) - {day.name for day in days}):
        raise BadInputError(f"Validation accepted images of {', '.join(unknown)}, which is gone. Run `validate` again.")
    number, parts, segments, seen = -1, list[pd.DataFrame](), list[tuple[Path, NDArray[np.int64]]](), 0
    for _, folders in groupby((day for day in days if day.name in by_folder), key=lambda day: day.name[:10]):
        stretches: list[tuple[int, Path, NDArray[np.int64], pd.DataFrame]] = []
        for day in folders:
            rows, index = _accepted_rows(day, by_folder[day.name])
            for run_number, start, stop in runs(config.numbers(_microseconds(index), seen)):
                stretches.append((run_number, day, rows[start:stop], index.iloc[start:stop]))
            seen += len(rows)
        for run_number, day, rows, index in sorted(stretches, key=itemgetter(0)):  # a late part goes back in time
            if run_number != number and parts:
                yield _close(number, parts, segments, config)
                parts, segments = [], []
            if run_number < number:
                raise BadInputError(
                    f"The images of {day} arrived before those of the folder before it; validate again."
                )
            number = run_number
            parts.append(index)
            segments.append((day, rows))
    if parts:
        yield _close(number, parts, segments, config)


def _accepted_rows(day: Path, accepted: pd.DataFrame) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Positions and index rows of a day's accepted images."""
    rows = accepted["row"].to_numpy(dtype=np.int64)
    index = read_index(day)
    if len(index) <= rows.max() or index["image_id"].iloc[rows].tolist() != accepted["image_id"].tolist():
        raise BadInputError(f"{day} changed since it was validated. Run `evergreen step images validate` again.")
    return rows, index.iloc[rows]


def _microseconds(index: pd.DataFrame) -> NDArray[np.int64]:
    times: NDArray[np.int64] = index["arrived_at"].dt.as_unit("us").to_numpy(dtype="datetime64[us]").view(np.int64)
    return times


def _close(
    number: int, parts: list[pd.DataFrame], segments: list[tuple[Path, NDArray[np.int64]]], config: Tumbling
) -> Plan:
    index = pd.concat(parts, ignore_index=True)
    times = _microseconds(index)
    start, end = config.bounds(number, int(times.min()), int(times.max()))
    return Plan(Window.of(number, start, end, index), index, tuple(segments))


def write_windows(root: Path, plans: Iterable[Plan], progress: Progress) -> list[Window]:
    """Make ``root`` hold exactly the planned windows; returns them in order.

    A window that is there, whole and the same, is not touched. Every other one is written under a temporary name and
    renamed, so that a window is there or not, whenever the step is killed.

    Args:
        root: the folder of all windows.
        plans: what to write.
        progress: told of every image.

    Raises:
        BadInputError: there is nothing to write.
    """
    windows = []
    for planned in plans:
        path = root / planned.window.window_id
        if not is_whole(path, planned.window):
            write_atomically(path, partial(_write, planned))
        windows.append(planned.window)
        progress.advance(planned.window.rows)
    if not windows:
        raise BadInputError("No image was accepted, so there is no window. Look at the validation's Data Docs.")
    for entry in set(os.listdir(root)) - {window.window_id for window in windows}:
        remove(root / entry)
    return windows


def _write(planned: Plan, part: Path) -> None:
    size = open_images(planned.segments[0][0]).shape[1]
    written = 0
    with FolderWriter(part, size) as writer:
        for day, rows in planned.segments:
            images = open_images(day)
            for start in range(0, len(rows), COPIED_AT_ONCE):
                piece = rows[start : start + COPIED_AT_ONCE]
                writer.append(images[piece], planned.index.iloc[written : written + len(piece)])
                written += len(piece)
    write_json(part / DESCRIPTION, planned.window.as_json())


def is_whole(path: Path, window: Window) -> bool:
    """Whether a folder holds exactly this window, to the last pixel."""
    try:
        if read_json(path / DESCRIPTION) != window.as_json():
            return False
        images, index = open_folder(path)
    except (OSError, ValueError, BadInputError):
        return False
    return content_sha256(index) == window.content_hash and all(
        pixel_sha256(image) == expected for image, expected in zip(images, index["sha256"], strict=True)
    )


def read_windows(root: Path) -> list[Window]:
    """The windows under ``root``, in the order of time.

    Raises:
        BadInputError: there is none.
    """
    windows = [Window.from_json(read_json(path)) for path in root.glob(f"*/{DESCRIPTION}")]
    if not windows:
        raise BadInputError(f"There are no windows in {root}. Run `evergreen step images windows` first.")
    return sorted(windows, key=lambda window: (window.start, window.number))
