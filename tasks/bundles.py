"""What the registry knows of each domain's model bundle: how it is loaded, described, and served by MLflow.

A bundle is a folder with safetensors and JSON. Each domain's module ``bundle`` has ``load(folder, expected_sha256)``,
whose result has ``weights_sha256``; its module ``pyfunc`` is what MLflow loads.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.workspace import IMAGES, Workspace

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

TORCH = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "pyyaml", "safetensors", "torch")
CONFIG = "config.json"


@dataclass(frozen=True)
class BundleKind:
    """A domain's bundle.

    Attributes:
        domain: images, retail or process.
        name: of the logged model.
        folder: of the new model, below the domain's data.
        requirements: packages that the loader imports; evergreen itself is installed from its checkout or wheel.
    """

    domain: str
    name: str
    folder: str
    requirements: tuple[str, ...]

    @property
    def loader(self) -> str:
        """The module that MLflow loads."""
        return f"evergreen.{self.domain}.pyfunc"

    def path(self, workspace: Workspace) -> Path:
        """The new model's folder."""
        return workspace.data / self.folder

    def load(self, folder: Path, expected_sha256: str | None = None, device: str = "cpu") -> Any:
        """The model, its weights checked.

        Raises:
            BadInputError: a file is missing, or the weights are not those expected.
        """
        module = import_module(f"evergreen.{self.domain}.bundle")
        if self.domain == IMAGES:
            return module.load(folder, expected_sha256=expected_sha256, device=device)
        return module.load(folder, expected_sha256=expected_sha256)

    def tags(self, model: Any) -> dict[str, str]:
        """What a version says of the model beside its identity."""
        if self.domain == IMAGES:
            return {"precision": model.precision, "classes": json.dumps(model.classes)}
        return {}

    def metadata(self, model: Any) -> dict[str, Any]:
        """What whoever loads the model through MLflow needs to read its answers."""
        return {"classes": model.classes} if self.domain == IMAGES else {}

    def signature(self, model: Any) -> tuple[ModelSignature, Any]:
        """MLflow's signature and an input that fits it."""
        if self.domain == IMAGES:
            return image_signature(model.image_size)
        loader = import_module(self.loader)
        return table_signature(loader.inputs(model), loader.OUTPUTS, loader.OPTIONAL)


KINDS = {
    kind.domain: kind
    for kind in (
        BundleKind(IMAGES, "classifier", "models/classifier", (*TORCH, "torchvision")),
        BundleKind("retail", "churn", "models/champion", TORCH),
        BundleKind("process", "process", "models/champion", TORCH),
    )
}
BY_LOADER = {kind.loader: kind for kind in KINDS.values()}


def image_signature(size: int) -> tuple[ModelSignature, Any]:
    """Images in, class, score and probabilities out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec
    from mlflow.types.schema import Array, DataType

    outputs = [
        ColSpec("string", "prediction"),
        ColSpec("float", "score"),
        ColSpec(Array(DataType.double), "probabilities"),
    ]
    inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))])
    return ModelSignature(inputs, Schema(outputs)), np.zeros((1, size, size, 3), dtype=np.uint8)


def table_signature(
    inputs: dict[str, str], outputs: dict[str, str], optional: Collection[str]
) -> tuple[ModelSignature, Any]:
    """Columns by name and type, in and out; ``optional`` ones may be missing in the input."""
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    empty: dict[str, Any] = {"string": "", "double": 0.0, "datetime": pd.Timestamp(0)}
    taken = Schema([ColSpec(kind, name, required=name not in optional) for name, kind in inputs.items()])
    given = Schema([ColSpec(kind, name) for name, kind in outputs.items()])
    return ModelSignature(taken, given), pd.DataFrame({name: [empty[kind]] for name, kind in inputs.items()})
