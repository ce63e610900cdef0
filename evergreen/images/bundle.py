"""Models on disk: safetensors weights beside a JSON description, bound together by a hash."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_file, write_atomically, write_json
from evergreen.images.augment import to_float
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder
from evergreen.training.precision import Resolved, autocast

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass
class Classifier:
    """An encoder with a linear head, ready to answer.

    ``image_size`` is the side of the images it was trained on; others are resized to it.
    """

    encoder: Encoder
    head: nn.Linear
    encoder_config: EncoderConfig
    classes: list[str]
    image_size: int
    precision: Resolved
    weights_sha256: str = ""

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def predict_probabilities(self, images: NDArray[np.uint8], batch_size: int = 512) -> NDArray[np.float32]:
        """Class probabilities (N, classes), columns as in ``classes``, of uint8 images (N, H, W, 3)."""
        parts = [self.head(features).softmax(dim=1) for features in self._features(images, batch_size)]
        return _stack(parts, len(self.classes))

    def embed(self, images: NDArray[np.uint8], batch_size: int = 512) -> NDArray[np.float32]:
        """Features (N, D) of uint8 images (N, H, W, 3)."""
        return _stack(list(self._features(images, batch_size)), self.encoder.features)

    def _features(self, images: NDArray[np.uint8], batch_size: int) -> Iterator[Tensor]:
        yield from embed_batches(self.encoder, images, self.image_size, self.precision, batch_size)


def _stack(parts: list[Tensor], width: int) -> NDArray[np.float32]:
    if not parts:
        return np.empty((0, width), dtype=np.float32)
    stacked: NDArray[np.float32] = torch.cat(parts).detach().cpu().numpy()
    return stacked


def embed_batches(
    encoder: Encoder, images: NDArray[np.uint8], image_size: int, precision: Resolved, batch_size: int = 512
) -> Iterator[Tensor]:
    """Features of images, batch by batch, with the encoder in eval mode and no gradient.

    Args:
        encoder: left in eval mode; neither weights nor batch-norm buffers change.
        images: uint8 (N, H, W, 3), may be memory-mapped.
        image_size: images of another size are resized to this side.
        precision: of the forward pass.
        batch_size: images at a time.

    Yields:
        float32 (batch, D) on the encoder's device.
    """
    encoder.eval()
    device = encoder.mean.device
    for start in range(0, len(images), batch_size):
        batch = to_float(torch.from_numpy(np.array(images[start : start + batch_size])).to(device))
        if batch.shape[2:] != (image_size, image_size):
            batch = functional.interpolate(batch, size=(image_size, image_size), mode="bilinear", antialias=True)
        with torch.no_grad(), autocast(precision, device):
            features = encoder(batch)
        yield features.float()


def save_encoder(
    path: Path, encoder: Encoder, config: EncoderConfig, image_size: int, precision: Resolved, **facts: Any
) -> str:
    """Write an encoder; ``facts`` (JSON values) are kept in its description. Returns the weights' SHA-256."""
    return _save(path, encoder.state_dict(), config, image_size, precision, facts)


def load_encoder(path: Path, device: str | torch.device = "cpu") -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder and its description; see :func:`load` for what is checked."""
    description, tensors = _read(path, None)
    encoder = build_encoder(EncoderConfig.read(description["encoder"], f"{path / CONFIG}: encoder"))
    _fill(encoder, tensors, path)
    return encoder.eval().to(device), description


def save(path: Path, classifier: Classifier, **facts: Any) -> str:
    """Write a classifier as a bundle, a folder that replaces ``path``; returns the weights' SHA-256."""
    tensors = {f"encoder.{name}": value for name, value in classifier.encoder.state_dict().items()}
    tensors |= {f"head.{name}": value for name, value in classifier.head.state_dict().items()}
    facts = {"classes": classifier.classes, **facts}
    return _save(path, tensors, classifier.encoder_config, classifier.image_size, classifier.precision, facts)


def load(path: Path, expected_sha256: str | None = None, device: str | torch.device = "cpu") -> Classifier:
    """Read a bundle. Nothing is unpickled.

    Args:
        path: the bundle's folder.
        expected_sha256: what the weights' hash must be, besides the one in the bundle's own description.
        device: where it will run.

    Raises:
        BadInputError: a file is missing, the hash is another one, or weights and description do not fit.
    """
    description, tensors = _read(path, expected_sha256)
    if "classes" not in description:
        raise BadInputError(f"{path} holds an encoder without classes, expected a classifier.")
    config = EncoderConfig.read(description["encoder"], f"{path / CONFIG}: encoder")
    encoder = build_encoder(config)
    head = nn.Linear(encoder.features, len(description["classes"]))
    _fill(encoder, {n.removeprefix("encoder."): t for n, t in tensors.items() if n.startswith("encoder.")}, path)
    _fill(head, {n.removeprefix("head."): t for n, t in tensors.items() if n.startswith("head.")}, path)
    return Classifier(
        encoder.eval().to(device),
        head.eval().to(device),
        config,
        list(description["classes"]),
        int(description["image_size"]),
        description["precision"],
        description["weights_sha256"],
    )


def _save(
    path: Path,
    tensors: dict[str, Tensor],
    config: EncoderConfig,
    image_size: int,
    precision: Resolved,
    facts: dict[str, Any],
) -> str:
    digest = ""

    def write(part: Path) -> None:
        nonlocal digest
        part.mkdir(parents=True)
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part / WEIGHTS)
        digest = sha256_file(part / WEIGHTS)
        description = {"encoder": config.model_dump(mode="json"), "image_size": image_size, "precision": precision}
        write_json(part / CONFIG, {**description, **facts, "weights_sha256": digest})

    write_atomically(path, write)
    return digest


def _read(path: Path, expected_sha256: str | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    for name in (WEIGHTS, CONFIG):
        if not (path / name).is_file():
            raise BadInputError(f"{path} is no model: {name} is missing. Run the pipeline, or export the model again.")
    description: dict[str, Any] = read_json(path / CONFIG)
    found = sha256_file(path / WEIGHTS)
    for expected in filter(None, (description.get("weights_sha256"), expected_sha256)):
        if found != expected:
            raise BadInputError(
                f"The weights in {path} have SHA-256 {found}, expected {expected}: they were changed or damaged. "
                "Fetch the model from the registry again; do not use this copy."
            )
    return description, load_file(path / WEIGHTS)


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInputError(f"The weights in {path} do not fit its {CONFIG}: {error}") from error
