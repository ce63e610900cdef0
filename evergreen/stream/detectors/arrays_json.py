"""Arrays as JSON and back, bit for bit."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_json(array: NDArray[Any]) -> dict[str, Any]:
    """Numbers become the bytes of little-endian float64, anything else a list of strings."""
    if array.dtype.kind in "fiub":
        raw = np.ascontiguousarray(array, dtype="<f8").tobytes()
        return {"shape": list(array.shape), "float64": base64.b64encode(raw).decode()}
    return {"shape": list(array.shape), "strings": array.astype(str).ravel().tolist()}


def from_json(value: dict[str, Any]) -> NDArray[Any]:
    """What :func:`to_json` was given, as float64 or strings."""
    if "float64" in value:
        numbers = np.frombuffer(base64.b64decode(value["float64"]), dtype="<f8").astype(np.float64)
        return numbers.reshape(value["shape"])
    return np.array(value["strings"], dtype=np.str_).reshape(value["shape"])
