"""Where images to score come from: a folder of files, a Parquet file, or an array folder. Read a batch at a time."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import CHUNK, sha256_file
from evergreen.images.arrays import IMAGES_FILE, INDEX_FILE, open_folder
from evergreen.images.decode import RefusedImageError, decode
from evergreen.images.folder import Entry, scan

IMAGE_COLUMNS = ("image", "image_bytes", "bytes", "content", "path", "file", "file_name", "filename")
"""Names under which a Parquet file's images are looked for, in this order."""
ID_COLUMNS = ("image_id", "id")


@dataclass(frozen=True)
class Refused:
    """What could not be scored: where it is, its row in a Parquet file, and ``kind: details``."""

    path: str | None
    row: int | None
    reason: str


@dataclass
class Batch:
    """Some images, their names and places, and what was refused on the way to them.

    ``images``: uint8 (n, size, size, 3) arrays, one for each of ``ids`` and ``paths``.
    """

    ids: list[str] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids) + len(self.refused)

    def add(self, image_id: str, path: str | None, image: NDArray[np.uint8]) -> None:
        """Take an image in."""
        self.ids.append(image_id)
        self.paths.append(path)
        self.images.append(image)


class Source(Protocol):
    """Images, counted and in a fixed order."""

    @property
    def total(self) -> int:
        """How many images or refusals the batches hold altogether."""

    def batches(self, batch_size: int, size: int, max_pixels: int) -> Iterator[Batch]:
        """The images, ``batch_size`` at a time, decoded to ``size``; those above ``max_pixels`` are refused unread."""


def open_source(path: Path, image_column: str | None = None, without: tuple[Path, ...] = ()) -> Source:
    """Open what a user named.

    Args:
        path: a folder of image files, an array folder or its index.parquet, or a Parquet file with a column of images:
            encoded bytes, paths relative to the Parquet file, or a struct of both as Hugging Face writes it.
        image_column: that column's name; by default the first of :data:`IMAGE_COLUMNS` that there is.
        without: files in the folder that are not meant, such as an earlier run's output.

    Raises:
        BadInputError: there is nothing of that kind.
    """
    if (path / IMAGES_FILE).is_file() and (path / INDEX_FILE).is_file():
        return ArraySource(path)
    if path.is_dir():
        return FolderSource(path, without)
    if not path.exists():
        raise BadInputError(f"{path} does not exist. Name a folder of images or a Parquet file.")
    if path.name == INDEX_FILE and path.with_name(IMAGES_FILE).is_file() and image_column is None:
        return ArraySource(path.parent)
    return ParquetSource(path, image_column)


class FolderSource:
    """Image files in a folder and below."""

    def __init__(self, folder: Path, without: tuple[Path, ...] = ()) -> None:
        self.folder = folder
        hidden = {path.resolve() for path in without}
        self.entries = [entry for entry in scan(folder) if (folder / entry.relative).resolve() not in hidden]

    @property
    def total(self) -> int:
        return len(self.entries)

    def batches(self, batch_size: int, size: int, max_pixels: int) -> Iterator[Batch]:
        for start in range(0, len(self.entries), batch_size):
            batch = Batch()
            for entry in self.entries[start : start + batch_size]:
                self._read(entry, batch, size, max_pixels)
            yield batch

    def _read(self, entry: Entry, batch: Batch, size: int, max_pixels: int) -> None:
        if entry.problem is not None:
            batch.refused.append(Refused(entry.name, None, entry.problem))
            return
        path = self.folder / entry.relative
        try:
            image = _decode_file(path, size, max_pixels)
            # the name that ingest gives the same file
            batch.add(entry.image_id(sha256_file(path)), entry.name, image)
        except RefusedImageError as error:
            batch.refused.append(Refused(entry.name, None, str(error)))
        except OSError as error:
            batch.refused.append(Refused(entry.name, None, f"unreadable file: {error.strerror or error}"))


class ArraySource:
    """An array folder: decoded images and their index."""

    def __init__(self, folder: Path) -> None:
        self.images, self.index = open_folder(folder)

    @property
    def total(self) -> int:
        return len(self.index)

    def batches(self, batch_size: int, size: int, max_pixels: int) -> Iterator[Batch]:
        """Images come in their own size: the classifier resizes them as it does in training."""
        for start in range(0, self.total, batch_size):
            rows = slice(start, start + batch_size)
            images = list(np.array(self.images[rows]))
            yield Batch(self.index["image_id"].iloc[rows].tolist(), [None] * len(images), images)


class ParquetSource:
    """A Parquet file with a column of encoded images or of paths to them."""

    def __init__(self, path: Path, image_column: str | None = None) -> None:
        self.path = path
        try:
            # so pages are read as they are needed; by default a row group's whole column would be
            self.file = pq.ParquetFile(path, buffer_size=CHUNK, pre_buffer=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInputError(
                f"{path} is no readable Parquet file ({error}). Name a folder of images or a Parquet file."
            ) from error
        schema = self.file.schema_arrow
        self.column = _choose_column(path, schema, image_column)
        self.id_column = next((name for name in ID_COLUMNS if name in schema.names), None)

    @property
    def total(self) -> int:
        return int(self.file.metadata.num_rows)

    def batches(self, batch_size: int, size: int, max_pixels: int) -> Iterator[Batch]:
        columns = [self.column] + ([self.id_column] if self.id_column else [])
        row = 0
        for table in self.file.iter_batches(batch_size=batch_size, columns=columns):
            batch = Batch()
            ids = table.column(self.id_column).to_pylist() if self.id_column else [None] * len(table)
            for value, image_id in zip(table.column(self.column).to_pylist(), ids, strict=True):
                self._read(value, image_id, row, batch, size, max_pixels)
                row += 1
            yield batch

    def _read(self, value: Any, image_id: Any, row: int, batch: Batch, size: int, max_pixels: int) -> None:
        content, path = _content_and_path(value)
        try:
            if content is not None:
                image = decode(io.BytesIO(content), size, max_pixels)
            elif path is not None:
                image = _decode_file(self.path.parent / path, size, max_pixels)
            else:
                raise RefusedImageError(f"empty: column {self.column} holds nothing")
        except RefusedImageError as error:
            batch.refused.append(Refused(path, row, str(error)))
        except (OSError, ValueError) as error:  # ValueError: a path with a null byte
            batch.refused.append(Refused(path, row, f"unreadable file: {getattr(error, 'strerror', None) or error}"))
        else:
            batch.add(str(row if image_id is None else image_id), path, image)


def _choose_column(path: Path, schema: pa.Schema, wanted: str | None) -> str:
    found = ", ".join(f"{entry.name} {entry.type}" for entry in schema)
    for name in (wanted,) if wanted else IMAGE_COLUMNS:
        if name in schema.names and _holds_images(schema.field(name).type):
            return name
    if wanted:
        expected = f"no column {wanted!r} of encoded images or paths"
    else:
        expected = f"none of {', '.join(IMAGE_COLUMNS)} as encoded images or paths; name the column with --image-column"
    raise BadInputError(f"{path} has the columns {found}: {expected}.")


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name in ("bytes", "path") for i in range(kind.num_fields))
    return kind in (pa.binary(), pa.large_binary(), pa.string(), pa.large_string())


def _content_and_path(value: Any) -> tuple[bytes | None, str | None]:
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return (value, None) if isinstance(value, bytes) else (None, value)


def _decode_file(path: Path, size: int, max_pixels: int) -> NDArray[np.uint8]:
    if not path.is_file():  # a pipe would wait for ever
        raise RefusedImageError("unreadable file: it is missing, or no regular file")
    with path.open("rb") as file:
        return decode(file, size, max_pixels)
