"""Array folders: ``{images.npy, index.parquet}``, image i of the one belongs to row i of the other."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import remove, sha256_json, write_atomically

IMAGES_FILE = "images.npy"
INDEX_FILE = "index.parquet"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("arrived_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("label", pa.string()),  # the class name where it is known on arrival
        pa.field("split", pa.string(), nullable=False),  # train, val, gate or test
        pa.field("sha256", pa.string(), nullable=False),  # of the image's pixel bytes
    ]
)
"""The columns of an index.parquet, in this order."""


class FolderWriter:
    """Writes an array folder piece by piece, so that memory holds one piece only.

    Everything goes to a temporary folder beside ``path`` that takes the place of ``path`` when the context is left
    without an error; after a kill there is the old folder or the new one.

    Args:
        path: the array folder.
        size: side of the square images in pixels.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.rows = 0
        self._part = path.with_name(f".{path.name}.growing")
        self._tables: list[pa.Table] = []

    def __enter__(self) -> Self:
        remove(self._part)
        self._part.mkdir(parents=True)
        self._file: BinaryIO = (self._part / IMAGES_FILE).open("wb")
        self._write_header()
        return self

    def append(self, images: NDArray[np.uint8], index: pd.DataFrame) -> None:
        """Add images (n, size, size, 3) and their n rows of the index.

        Raises:
            ValueError: the shapes do not fit each other or the folder: a defect of the caller.
        """
        expected = (len(index), self.size, self.size, 3)
        if images.shape != expected or images.dtype != np.uint8:
            raise ValueError(f"images are {images.dtype}{images.shape}, expected uint8{expected}")
        self._file.write(np.ascontiguousarray(images).data)
        self._tables.append(to_table(index, INDEX_SCHEMA))
        self.rows += len(index)

    def _write_header(self) -> None:
        header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (self.rows, self.size, self.size, 3)}
        # numpy pads this header so that it keeps its length while the first axis grows: it can be written again
        np.lib.format.write_array_header_1_0(self._file, header)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()
        if kind is not None:
            remove(self._part)
            return
        pq.write_table(pa.concat_tables([INDEX_SCHEMA.empty_table(), *self._tables]), self._part / INDEX_FILE)
        write_atomically(self.path, self._part.rename)


def write_folder(path: Path, images: NDArray[np.uint8], index: pd.DataFrame) -> None:
    """Write an array folder in one piece; a folder that is in the way is replaced whole.

    Args:
        path: the folder.
        images: uint8 (N, size, size, 3).
        index: N rows with the columns of :data:`INDEX_SCHEMA`.
    """
    with FolderWriter(path, images.shape[1]) as writer:
        writer.append(images, index)


def read_index(path: Path) -> pd.DataFrame:
    """The index of an array folder, one row an image.

    Raises:
        BadInputError: it is missing, unreadable, or has other columns than :data:`INDEX_SCHEMA`.
    """
    return read_table(path / INDEX_FILE, INDEX_SCHEMA)


def open_images(path: Path) -> NDArray[np.uint8]:
    """The images of an array folder, uint8 (N, H, W, 3), memory-mapped and read-only.

    Raises:
        BadInputError: the file is missing, damaged, or holds something else.
    """
    file = path / IMAGES_FILE
    try:
        images: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise BadInputError(f"{file} is missing. Run the step that writes it.") from error
    except (ValueError, OSError, EOFError) as error:
        raise BadInputError(
            f"{file} is damaged ({error}). Remove its folder and run the step that writes it."
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise BadInputError(f"{file} holds {images.dtype}{images.shape}, expected uint8(N, height, width, 3).")
    return images


def open_folder(path: Path) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """Images and index of an array folder.

    Raises:
        BadInputError: one of them is missing or damaged, or their lengths differ.
    """
    images, index = open_images(path), read_index(path)
    if len(images) != len(index):
        raise BadInputError(
            f"{path} holds {len(images)} images and an index of {len(index)} rows. "
            "Remove the folder and run the step that writes it."
        )
    return images, index


def pixel_sha256(image: NDArray[np.uint8]) -> str:
    """SHA-256 of one image's pixels (H, W, 3), row by row, as hex digits."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def content_sha256(index: pd.DataFrame) -> str:
    """SHA-256 over the rows of an index, hence over the images they stand for, whatever the files' encoding."""
    rows = to_table(index, INDEX_SCHEMA)
    columns = [
        rows["arrived_at"].cast(pa.int64()) if name == "arrived_at" else rows[name] for name in rows.column_names
    ]
    return sha256_json([column.to_pylist() for column in columns])


def to_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """A frame as an Arrow table of exactly this schema, without the metadata that pandas adds."""
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    return table.replace_schema_metadata(None)


def read_table(file: Path, schema: pa.Schema) -> pd.DataFrame:
    """Read a Parquet file whose columns must be those of ``schema``, in name, type and order.

    Raises:
        BadInputError: the file is missing, damaged, or has other columns; the message names both.
    """
    try:
        table = pq.read_table(file, partitioning=None)
    except FileNotFoundError as error:
        raise BadInputError(f"{file} is missing. Run the step that writes it.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInputError(f"{file} is no readable Parquet file: {error}") from error
    found = [(field.name, str(field.type)) for field in table.schema]
    expected = [(field.name, str(field.type)) for field in schema]
    if found != expected:
        raise BadInputError(f"{file} has the columns {_spell(found)}; expected {_spell(expected)}.")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _spell(columns: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns)
