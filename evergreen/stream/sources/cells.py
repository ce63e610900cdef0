"""Values that should fit a column's type: those that do not become null, and are told."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evergreen.errors import BadInputError


def fit_column(values: pa.Array, field: pa.Field) -> tuple[pa.Array, pa.Array | None]:
    """Cast a column to its type.

    Returns:
        The column, null where a value does not fit; and (n,) a note like ``amount: 'abc' is no double`` where it does
        not and null elsewhere, or None if all values fit.
    """
    try:
        return values.cast(field.type), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cells = [_fit(value, field.type) for value in values]
    column = pa.array([cell for cell, _ in cells], field.type)
    notes = [
        None if good else f"{field.name}: {value!r} is no {field.type}"
        for value, (_, good) in zip(values.to_pylist(), cells, strict=True)
    ]
    return column, pa.array(notes, pa.string())


def _fit(value: pa.Scalar, kind: pa.DataType) -> tuple[Any, bool]:
    try:
        return value.cast(kind).as_py(), True
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        return None, False


def fit_values(values: list[Any], field: pa.Field) -> tuple[pa.Array, pa.Array | None]:
    """Make a column of Python values, as :func:`fit_column`."""
    try:
        return pa.array(values, field.type), None
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, OverflowError, TypeError):
        cells = [_make(value, field.type) for value in values]
    notes = [
        None if good else f"{field.name}: {value!r} is no {field.type}"
        for value, (_, good) in zip(values, cells, strict=True)
    ]
    return pa.array([cell for cell, _ in cells], field.type), pa.array(notes, pa.string())


def _make(value: Any, kind: pa.DataType) -> tuple[Any, bool]:
    try:
        return pa.scalar(value, kind).as_py(), True
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, OverflowError, TypeError):
        return None, False


def merge_notes(notes: list[pa.Array | None]) -> pa.Array | None:
    """The first note of each row; None if there is none at all."""
    merged = None
    for note in notes:
        if note is not None:
            merged = note if merged is None else pc.coalesce(merged, note)
    return merged


def parse_type(name: str, column: str) -> pa.DataType:
    """A type by its Arrow name.

    Raises:
        BadInputError: there is no such type.
    """
    try:
        return pa.type_for_alias(name)
    except ValueError as error:
        raise BadInputError(
            f"{name!r}, given for column {column!r}, is no type. Expected for example string, int64, double, bool."
        ) from error
