"""What a run was made of: enough to tell two runs apart and to make one again."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from evergreen.files import read_json, sha256_json
from evergreen.report.inputs import Inputs

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "scikit-learn",
    "great-expectations",
    "pillow",
    "safetensors",
    "matplotlib",
)


@dataclass(frozen=True)
class Identity:
    """Names and values in groups, the parameters as YAML, and one hash over all of it.

    Neither the clock nor a place on a machine is part of it: the same inputs have the same identity anywhere.
    """

    groups: Mapping[str, Mapping[str, str]]
    parameters: str
    fingerprint: str


def identify(inputs: Inputs) -> Identity:
    """Collect the identity of a run."""
    params = without_places(inputs.params)
    champion = inputs.params.get("champion")
    run = {
        "profile": str(params["profile"]),
        "seed": str(params["seed"]),
        "threads": str(params["threads"]),
        "precision": str(inputs.pretrain.get("precision", "–")),
        "device": str(inputs.pretrain.get("device", "–")),
        "model name": str(params.get("model_name", "–")),
    }
    weights = {
        "encoder": _weights(inputs.layout.encoder / "config.json"),
        "classifier": _weights(inputs.layout.classifier / "config.json"),
        "champion compared with": str(champion) if champion else "none",
    }
    data = {
        "validation result": str(inputs.validation["hash"]),
        "all windows": sha256_json([window.content_hash for window in inputs.windows]),
        "training windows": sha256_json([window["content_hash"] for window in inputs.training]),
    }
    software = {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    groups = {"Run": run, "Weights (SHA-256)": weights, "Data (SHA-256)": data, "Software": software}
    text = yaml.safe_dump(params, sort_keys=False, allow_unicode=True, width=100)
    return Identity(groups, text, sha256_json([groups, params]))


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


def _weights(description: Any) -> str:
    return str(read_json(description)["weights_sha256"]) if description.is_file() else "none"
