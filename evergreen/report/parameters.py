"""The parameters of a run as a report shows them."""

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import yaml


def as_yaml(params: Mapping[str, Any]) -> str:
    """The parameters as YAML, without places on a machine."""
    return str(yaml.safe_dump(without_places(dict(params)), sort_keys=False, allow_unicode=True, width=100))


def without_places(value: Any) -> Any:
    """Parameters without absolute paths, which say where a run was and not what it did.

    >>> without_places({"folder": "/home/me/pictures", "days": [25]})
    {'folder': '(a folder)', 'days': [25]}
    """
    if isinstance(value, Mapping):
        return {key: without_places(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(entry) for entry in value]
    if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        return "(a folder)"
    return value
