"""Hashes of rows, 64 bits, whole columns at a time: for duplicates, for a fixed order of ties and for partitions.

They are no protection against forgery: whoever chooses ids can make two collide. Two of n different rows collide with
probability n² / 2⁶⁵: 3 in 100 million for a million rows.
"""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
NULL = np.uint64(0x6E756C6C6E756C6C)


def mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), in place: a bijection that spreads every bit."""
    values += GOLDEN
    values ^= values >> np.uint64(30)
    values *= FIRST
    values ^= values >> np.uint64(27)
    values *= SECOND
    values ^= values >> np.uint64(31)
    return values


def hash_column(column: pa.Array) -> Hashes:
    """(n,) hashes of a column's values; equal values of one type have equal hashes, nulls too."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return hash_column(column.cast(kind.value_type))
    if pa.types.is_null(kind):
        return np.full(len(column), NULL, dtype=np.uint64)
    if pa.types.is_boolean(kind):
        hashes = mix(np.asarray(pc.fill_null(column, False).cast(pa.uint8())).astype(np.uint64))
    elif pa.types.is_integer(kind) or pa.types.is_temporal(kind) or pa.types.is_floating(kind):
        hashes = mix(_bits(column))
    else:
        hashes = hash_bytes(*_text(column))
    if column.null_count:
        hashes[np.asarray(column.is_null())] = NULL
    return hashes


def hash_rows(batch: pa.RecordBatch, without: str | None = None) -> Hashes:
    """(n,) hashes of the rows over all columns but ``without``."""
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name != without:
            total *= GOLDEN
            total ^= hash_column(column)
            mix(total)
    return total


def hash_bytes(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> Hashes:
    """Hashes of byte strings, eight bytes of all strings at a time.

    Args:
        offsets: (n + 1,) string i is data[offsets[i]:offsets[i + 1]].
        data: the bytes.
    """
    padded = np.zeros(len(data) + 8, dtype=np.uint8)
    padded[: len(data)] = data
    words = np.ndarray((len(data) + 1,), dtype="<u8", buffer=padded, strides=(1,))  # a word begins at every byte
    left = np.diff(offsets)
    hashes = mix(left.astype(np.uint64))
    active, at = np.flatnonzero(left > 0), offsets[:-1]
    at, left = at[active], left[active]
    while len(active):
        chunk = words[at].astype(np.uint64)
        cut = left < 8
        chunk[cut] &= (np.uint64(1) << (np.uint64(8) * left[cut].astype(np.uint64))) - np.uint64(1)
        hashes[active] = mix((hashes[active] * GOLDEN) ^ chunk)
        more = left > 8
        active, at, left = active[more], at[more] + 8, left[more] - 8
    return hashes


def content_sha256(batch: pa.RecordBatch, place: str) -> str:
    """SHA-256 over a batch's values, row order included, and ``place``; whatever file format it is kept in."""
    digest = hashlib.sha256(place.encode())
    for field, column in zip(batch.schema, batch.columns, strict=True):
        digest.update(f"\n{field.name} {field.type} {len(column)}\n".encode())
        for part in _canonical(column):
            digest.update(part.view(np.uint8).data)
    return digest.hexdigest()


def _canonical(column: pa.Array) -> list[NDArray[Any]]:
    """The values as arrays that depend on nothing else: what lies under nulls, and slicing, do not count."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _canonical(column.cast(kind.value_type))
    if pa.types.is_null(kind):
        return []
    missing = [np.asarray(column.is_null())] if column.null_count else []
    if pa.types.is_boolean(kind):
        return [np.asarray(pc.fill_null(column, False).cast(pa.uint8())), *missing]
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind) or pa.types.is_floating(kind):
        return [_raw(column), *missing]
    offsets, data = _text(column)
    return [np.ascontiguousarray(np.diff(offsets)), data, *missing]


def _raw(column: pa.Array) -> NDArray[Any]:
    """A fixed-width column's values as integers of its width, zero where null; no copy if there are no nulls."""
    width = column.type.bit_width // 8
    dtype = np.dtype(f"<u{width}")
    values = np.frombuffer(column.buffers()[1] or b"", dtype=dtype)[column.offset : column.offset + len(column)]
    return np.where(np.asarray(column.is_null()), dtype.type(0), values) if column.null_count else values


def _bits(column: pa.Array) -> Hashes:
    values = _raw(column)
    return values.astype(np.uint64)  # always a copy: mix works in place


def _text(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets (n + 1,), from 0, and bytes of texts; other kinds of values through their text."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
            pass
        elif pa.types.is_string_view(kind) or pa.types.is_decimal(kind):
            column = column.cast(pa.string())
        elif pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
            column = column.cast(pa.binary())
        else:
            column = pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.string())
    if column.null_count:
        column = pc.fill_null(column, b"" if "binary" in str(column.type) else "")
    wide = str(column.type).startswith("large")
    _, offset_buffer, data_buffer = column.buffers()
    if len(column) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int64 if wide else np.int32)
    offsets = offsets[column.offset : column.offset + len(column) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer if data_buffer is not None else b"", dtype=np.uint8)
    return offsets - offsets[0], data[offsets[0] : offsets[-1]]
