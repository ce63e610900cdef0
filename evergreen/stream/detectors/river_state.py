"""River's detectors as JSON and back, without pickle.

Most are plain Python objects whose attributes are numbers. Two parts are written in Rust, ADWIN's window and the
exponentially weighted mean; they give and take their memory as bytes, which hold numbers and nothing that could run.
The shape of the object always comes from a new detector with the same settings: the state only fills in values.
"""

import base64
import math
import random
from collections import deque
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from evergreen.errors import BadInputError

PLAIN = (bool, int, float, str, type(None))


def read_state(thing: object) -> dict[str, Any]:
    """The attributes of a river object, nested ones too, as JSON."""
    return {"river": _river(), "fields": _read_fields(thing)}


def write_state(thing: object, state: Mapping[str, Any]) -> None:
    """Give a new river object the attributes that :func:`read_state` read from one with the same settings.

    Raises:
        BadInputError: they were read by another version of river.
    """
    if (found := state["river"]) != (installed := _river()):
        raise BadInputError(
            f"The state was written with river {found}, installed is {installed}: install that, or start anew."
        )
    _write_fields(thing, state["fields"])


@cache
def _river() -> str:
    return version("river")


def _read_fields(thing: object) -> dict[str, Any]:
    # a bound method is a choice that the settings made: the new object has made it too
    return {name: _read(value) for name, value in vars(thing).items() if not callable(value)}


def _write_fields(thing: object, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        setattr(thing, name, _written(getattr(thing, name), value))


def _read(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}  # JSON has no infinity
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, deque):
        return [_read(item) for item in value]
    if isinstance(value, random.Random):
        kind, numbers, spare = value.getstate()
        return [kind, list(numbers), spare]
    if hasattr(value, "__dict__"):
        return _read_fields(value)
    return {"bytes": base64.b64encode(value.__getstate__()).decode()}


def _written(current: Any, value: Any) -> Any:
    """The value for an attribute that now is ``current``; what is no plain value is filled in place."""
    if isinstance(value, dict) and value.keys() == {"float"}:
        return float(value["float"])
    if isinstance(current, PLAIN):
        return value
    if isinstance(current, deque):
        return deque((_written(0.0, item) for item in value), maxlen=current.maxlen)
    if isinstance(current, random.Random):
        kind, numbers, spare = value
        current.setstate((kind, tuple(numbers), spare))
    elif hasattr(current, "__dict__"):
        _write_fields(current, value)
    else:
        current.__setstate__(base64.b64decode(value["bytes"]))
    return current
