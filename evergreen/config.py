"""Configuration: frozen, typed, and strict about names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pydantic
import yaml
from pydantic_core import ErrorDetails

from evergreen.errors import BadInputError


class Config(pydantic.BaseModel):
    """Base of every configuration: immutable, unknown keys are errors."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str) -> Self:
        """Build the configuration from plain values.

        Args:
            values: what the user wrote.
            where: the place it came from, for the message, e.g. ``params.yaml: images.pretrain``.

        Raises:
            BadInputError: a key is unknown or a value is out of range; the message names each.
        """
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            lines = [f"  {_spell(e)}" for e in error.errors()]
            known = ", ".join(cls.model_fields)
            raise BadInputError(f"{where} does not fit:\n" + "\n".join(lines) + f"\nKnown keys: {known}.") from error


def _spell(error: ErrorDetails) -> str:
    """One complaint as ``key: message (found value)``; a rule over several keys has neither key nor single value."""
    if not error["loc"]:
        return error["msg"]
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']} (found {error['input']!r})"


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        BadInputError: the file is missing, is no YAML, or is no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise BadInputError(
            f"{path} is missing. Run the command from a workspace, or name one with --workdir."
        ) from error
    except yaml.YAMLError as error:
        raise BadInputError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise BadInputError(f"{path} holds {type(values).__name__}, expected a mapping of names to values.")
    return values
