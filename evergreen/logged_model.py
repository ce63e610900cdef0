"""What the generic models that MLflow loads by name have in common."""

from collections.abc import Mapping
from typing import Any

from evergreen.errors import BadInputError


def named_sha256(model_config: Mapping[str, Any] | None) -> str:
    """The hash that a logged model's weights must have.

    Args:
        model_config: what MLflow hands to ``_load_pyfunc``.

    Raises:
        BadInputError: the model was logged without one.
    """
    expected = (model_config or {}).get("sha256")
    if not expected:
        raise BadInputError("The logged model names no SHA-256 of its weights, expected one in its model_config.")
    return str(expected)
