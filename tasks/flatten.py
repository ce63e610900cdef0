"""Nested metrics as MLflow wants them: one name, one number."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LONGEST = 250
# What tells the entries of a list apart; the first that they all have becomes part of the name.
KEYS = ("window_id", "label_fraction", "class", "name")


def flatten(value: Any, prefix: str) -> dict[str, float]:
    """The numbers in a JSON value under slash-separated names; text, nulls and matrices are left out.

    >>> flatten({"loss": 4.5, "n": {"test": 10}, "note": "x"}, "pretrain")
    {'pretrain/loss': 4.5, 'pretrain/n/test': 10.0}
    >>> flatten([{"label_fraction": 0.01, "accuracy": 0.5}], "finetune")
    {'finetune/0.01/accuracy': 0.5}
    """
    return {name[:LONGEST]: number for name, number in _numbers(value, prefix)}


def series(rows: Sequence[Mapping[str, Any]], prefix: str) -> list[tuple[str, float, int]]:
    """Rows of a curve as (name, number, step). The step is the row's ``epoch``, or its place in the list."""
    points = []
    for place, row in enumerate(rows):
        step = int(row.get("epoch", place))
        points += [(name, number, step) for name, number in flatten(row, prefix).items() if name != f"{prefix}/epoch"]
    return points


def _numbers(value: Any, prefix: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, (bool, int, float)):
        if math.isfinite(value):
            yield prefix, float(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{prefix}/{_part(name)}")
    elif isinstance(value, list) and not any(isinstance(inner, list) for inner in value):
        for name, inner in _named(value):
            yield from _numbers(inner, f"{prefix}/{_part(name)}")


def _named(values: list[Any]) -> list[tuple[str, Any]]:
    """The entries of a list under what tells them apart, which then is no number of theirs; else under their place."""
    for key in KEYS:
        if values and all(isinstance(value, Mapping) and key in value for value in values):
            return [(str(v[key]), {name: inner for name, inner in v.items() if name != key}) for v in values]
    return [(str(place), value) for place, value in enumerate(values)]


def _part(name: str) -> str:
    """A part of a name with only what MLflow allows in one: a class may be called anything."""
    allowed = re.sub(r"[^\w\-. :]", "_", name)
    return allowed if allowed.strip(".") else "_"
