"""What a run was made of: enough to tell two runs apart and to make one again."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from evergreen.files import read_json, sha256_json
from evergreen.report.inputs import Inputs
from evergreen.report.parameters import without_places

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
    """Names and values in groups, and one hash over all of it and the parameters.

    Neither the clock nor a place on a machine is part of it: the same inputs have the same identity anywhere.
    """

    groups: Mapping[str, Mapping[str, str]]
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
    return Identity(groups, sha256_json([groups, params]))


def _weights(description: Any) -> str:
    return str(read_json(description)["weights_sha256"]) if description.is_file() else "none"
