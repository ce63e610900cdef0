"""A folder of own images as a stream: each file arrives once, at its modification time, and stays as it arrived."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.errors import BadInputError, EvergreenError
from evergreen.files import CHUNK
from evergreen.images.arrays import FolderWriter, open_folder, pixel_sha256, write_folder
from evergreen.images.days import claim, day_folders, next_folder, write_gone
from evergreen.images.decode import RefusedImageError, decode
from evergreen.images.folder import Entry, digest_of, scan
from evergreen.images.ingest_config import IngestConfig
from evergreen.images.layout import ImageLayout
from evergreen.images.outcome import Outcome
from evergreen.images.quarantine import Quarantine
from evergreen.images.splits import Split, split_of
from evergreen.progress import track

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Picture:
    """One accepted image; ``label`` is what its path says, whoever may know it."""

    image_id: str
    arrived_us: int
    label: str | None
    split: Split
    sha256: str
    pixels: NDArray[np.uint8]


def ingest_folder(layout: ImageLayout, folder: Path, config: IngestConfig, seed: int) -> Outcome:
    """Take in the files of a folder that were not taken in before, day by day.

    Days that exist are never rewritten: a file that comes late for its day opens a part of its own (``<day>.1``). Test
    set, gate labels, quarantine and the note of images whose file is gone (so that validation can tell a moved file
    from a copy) are made anew from the files that the folder holds now. Memory holds one day.

    Raises:
        BadInputError: the folder is missing, empty, changed since params.yaml was written, overlaps with the
            workspace's own data, or holds no usable image at all.
    """
    entries = _expected_entries(layout, folder, config)
    claim(layout.raw, config.identity(seed))
    arrived = _arrived(layout.raw)
    kept = added = 0
    gone = set(arrived)
    gate: list[tuple[str, str]] = []
    with (
        track("ingest", total=len(entries), unit="files") as bar,
        Quarantine(layout.quarantine / "ingest") as quarantine,
        FolderWriter(layout.test / "clean", config.image_size) as test,
    ):
        for entry in entries:
            if entry.problem is not None:
                quarantine.refuse(entry.name, entry.problem)
                bar.advance(1)
        for day, members in groupby(sorted(_readable(entries), key=_arrival), key=_day):
            pictures: list[Picture] = []
            for entry in members:
                picture = _take(folder, entry, arrived, config, seed, quarantine)
                bar.advance(1)
                if isinstance(picture, Picture):
                    pictures.append(picture)
                    if picture.split == "gate" and picture.label is not None:
                        gate.append((picture.image_id, picture.label))
                elif picture is not None:
                    kept += 1
                    gone.discard(picture)
                    if arrived[picture] == "gate" and entry.label is not None:
                        gate.append((picture, entry.label))
            pictures.sort(key=lambda picture: (picture.arrived_us, picture.image_id))
            added += _write_day(pictures, day, layout.raw, test)
    write_gone(layout.raw, gone)
    _check(len(entries), kept + added, test.rows, quarantine)
    return Outcome(
        read=len(entries),
        test_images=test.rows,
        gate=pd.DataFrame(gate, columns=["image_id", "label"], dtype=str),
        quarantined=len(quarantine),
    )


def _expected_entries(layout: ImageLayout, folder: Path, config: IngestConfig) -> list[Entry]:
    own, given = layout.root.resolve(), folder.resolve()
    if own.is_relative_to(given) or given.is_relative_to(own):
        raise BadInputError(
            f"{folder} and the workspace's own data in {layout.root} lie in one another. Name a folder that holds "
            "nothing but your images, or another workspace with --workdir."
        )
    entries = scan(folder)
    if digest_of(entries) != config.folder_digest:
        raise BadInputError(
            f"{folder} does not hold what params.yaml says: {len(entries):,} files found, digest {digest_of(entries)}, "
            f"expected {config.folder_digest}. Files came, went or changed. To take in the folder as it is now: "
            f"evergreen step images ingest --folder {folder}"
        )
    return entries


def _arrived(raw: Path) -> dict[str, str]:
    """image_id → split of everything that arrived before."""
    arrived: dict[str, str] = {}
    for path in day_folders(raw):
        _, index = open_folder(path)
        arrived.update(zip(index["image_id"], index["split"], strict=True))
    return arrived


def _readable(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.problem is None]


def _arrival(entry: Entry) -> tuple[int, bytes]:
    return entry.arrived_us, os.fsencode(entry.relative)


def _day(entry: Entry) -> str:
    return (EPOCH + timedelta(microseconds=entry.arrived_us)).date().isoformat()


def _take(
    folder: Path, entry: Entry, arrived: dict[str, str], config: IngestConfig, seed: int, quarantine: Quarantine
) -> Picture | str | None:
    """Read one file: a picture that is new, the image_id of one that arrived before, or None for a refused file."""
    try:
        with (folder / entry.relative).open("rb") as file:
            sha256, size_bytes = _hash(file)
            image_id = entry.image_id(sha256)
            if image_id in arrived:
                return image_id
            try:
                pixels = decode(file, config.image_size, config.max_pixels) if size_bytes else None
            except RefusedImageError as error:
                quarantine.refuse_with_bytes(entry.name, str(error), size_bytes, sha256, file)
                return None
            found = os.fstat(file.fileno())
            if (found.st_size, found.st_mtime_ns, size_bytes) != (entry.size_bytes, entry.mtime_ns, entry.size_bytes):
                quarantine.refuse(entry.name, "changed: somebody wrote to it while it was read", size_bytes, sha256)
                return None
    except OSError as error:
        quarantine.refuse(entry.name, f"unreadable file: {error.strerror}", entry.size_bytes)
        return None
    if pixels is None:
        quarantine.refuse(entry.name, "empty file: zero bytes", size_bytes, sha256)
        return None
    pixels_sha256 = pixel_sha256(pixels)
    split = _split(pixels_sha256, entry.label is not None, config, seed)
    return Picture(image_id, entry.arrived_us, entry.label, split, pixels_sha256, pixels)


def _hash(file: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while piece := file.read(CHUNK):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


def _split(sha256: str, labelled: bool, config: IngestConfig, seed: int) -> Split:
    """Gate and test set are made of labelled images only: without a label they could prove nothing."""
    split = split_of(sha256, seed, test=config.test_fraction, gate=config.gate_fraction, val=config.val_fraction)
    return split if labelled or split == "val" else "train"


def _write_day(pictures: list[Picture], day: str, raw: Path, test: FolderWriter) -> int:
    """Append the test images to ``test`` and write the others as the day's next folder; returns how many others."""
    for_test = [picture for picture in pictures if picture.split == "test"]
    if for_test:
        test.append(np.stack([picture.pixels for picture in for_test]), _index(for_test))
    streamed = [picture for picture in pictures if picture.split != "test"]
    if streamed:
        write_folder(next_folder(raw, day), np.stack([picture.pixels for picture in streamed]), _index(streamed))
    return len(streamed)


def _index(pictures: list[Picture]) -> pd.DataFrame:
    arrived = np.array([picture.arrived_us for picture in pictures], dtype="datetime64[us]")
    return pd.DataFrame(
        {
            "image_id": [picture.image_id for picture in pictures],
            "arrived_at": pd.DatetimeIndex(arrived).tz_localize("UTC"),
            "label": [None if picture.split == "gate" else picture.label for picture in pictures],
            "split": [picture.split for picture in pictures],
            "sha256": [picture.sha256 for picture in pictures],
        }
    )


def _check(read: int, streamed: int, tested: int, quarantine: Quarantine) -> None:
    refused = len(quarantine)
    if streamed + tested + refused != read:
        raise EvergreenError(
            f"ingest lost count: {streamed} in the stream, {tested} in the test set and {refused} in quarantine are "
            f"not the {read} files read. This is a defect of Evergreen; nothing was removed from the folder."
        )
    if streamed + tested == 0:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in quarantine.kinds().items())
        raise BadInputError(f"None of the {read} files is a usable image ({kinds}). Details: {quarantine.path}")
