"""Step `probe`: how much a frozen encoder knows, measured with all labels there are, the hidden ones too."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.files import read_json, write_json
from evergreen.images.arrays import open_images, read_index
from evergreen.images.bundle import embed_batches, load_encoder
from evergreen.images.imageset import ImageSet, open_windows
from evergreen.images.labels import all_labels, read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.linear import Split, accuracy, fit_linear, spread
from evergreen.progress import track
from evergreen.training.precision import Resolved, best_device, set_threads

MIN_LABELS = 20


class ProbeConfig(Config):
    """What is tried; the choice is made on the validation split."""

    knn_neighbours: tuple[int, ...] = (10, 50, 200)
    knn_temperature: float = Field(default=0.1, gt=0)
    l2: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)
    max_iterations: int = 100


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Fit linear probe and kNN on the training windows' features; write probe.json."""
    layout = ImageLayout(workspace)
    config = ProbeConfig.read(params["probe"], "params.yaml: images.probe")
    set_threads(params["threads"])
    started = time.perf_counter()
    selection = read_json(layout.training_windows)
    images = open_windows(layout.windows, [w["window_id"] for w in selection["windows"]])
    test = read_index(layout.test / "clean")
    labels = all_labels(images.index, read_labels(layout.hidden_labels))
    labelled = labels.notna() & images.index["split"].isin(["train", "val"])
    if labelled.sum() < MIN_LABELS or len(test) == 0 or labels[labelled].nunique() < 2:
        reason = (
            f"found {int(labelled.sum())} labelled images of {labels[labelled].nunique()} classes and {len(test)} test "
            f"images; the probe needs {MIN_LABELS} in at least 2 classes and a test set."
        )
        write_json(layout.metrics / "probe.json", {"skipped": reason})
        return
    metrics = probe(layout, images, labels.where(labelled), config)
    write_json(layout.metrics / "probe.json", metrics)
    write_json(layout.metrics / "probe.timing.json", {"seconds": time.perf_counter() - started})


def probe(layout: ImageLayout, images: ImageSet, labels: "pd.Series[str]", config: ProbeConfig) -> dict[str, Any]:
    """Embed, choose on validation, read the test set once.

    The encoder's weights and batch-norm buffers are hashed before and after: a frozen encoder must not move.
    """
    device = best_device()
    encoder, description = load_encoder(layout.encoder, device)
    before = state_digest(encoder)
    classes = sorted(labels.dropna().unique())
    rows = np.flatnonzero(labels.notna())
    splits = images.index["split"].to_numpy()[rows]
    size, precision = int(description["image_size"]), description["precision"]
    with track("embed", total=len(rows), unit="images") as bar:
        features = embed_rows(encoder, images, rows, size, precision, bar.advance)
    numbers = torch.from_numpy(np.searchsorted(classes, labels.to_numpy()[rows].astype(str))).to(device)
    is_val = torch.from_numpy(splits == "val").to(device)
    if not bool(is_val.any()):  # few labels and no validation image among them: take every tenth
        is_val = torch.arange(len(rows), device=device) % 10 == 0
    mean, std = spread(features[~is_val])
    standard = (features - mean) / std
    train, val = Split(standard[~is_val], numbers[~is_val]), Split(standard[is_val], numbers[is_val])

    linear, linear_choice = choose_linear(train, val, len(classes), config)
    neighbours = choose_neighbours(train, val, len(classes), config)
    metrics: dict[str, Any] = {}
    for copy, suffix in (("clean", ""), ("noisy", "_noisy")):
        index = read_index(layout.test / copy)
        if len(index) == 0:
            continue
        parts = list(embed_batches(encoder, open_images(layout.test / copy), size, precision))
        test = Split((torch.cat(parts) - mean) / std, class_numbers(index["label"], classes, device))
        metrics[f"linear_accuracy{suffix}"] = accuracy(linear(test.features).argmax(dim=1), test.labels)
        metrics[f"knn_accuracy{suffix}"] = accuracy(
            knn(train, test.features, neighbours, len(classes), config.knn_temperature), test.labels
        )
        metrics[f"n_test{suffix}"] = len(index)
    if state_digest(encoder) != before:
        raise AssertionError("The frozen encoder changed during the probe.")
    return {
        **metrics,
        "n_train": int((~is_val).sum()),
        "n_val": int(is_val.sum()),
        "l2": linear_choice,
        "neighbours": neighbours,
        "val_linear_accuracy": accuracy(linear(val.features).argmax(dim=1), val.labels),
        "classes": classes,
        "encoder_sha256": description["weights_sha256"],
    }


def embed_rows(
    encoder: nn.Module, images: ImageSet, rows: NDArray[np.int64], size: int, precision: Resolved, advance: Any
) -> Tensor:
    """Features of some rows of an image set, chunk by chunk."""
    parts = []
    for start in range(0, len(rows), 2048):
        chunk = images.take(rows[start : start + 2048]).numpy()
        parts += list(embed_batches(encoder, chunk, size, precision))  # type: ignore[arg-type]
        advance(len(chunk))
    return torch.cat(parts)


def class_numbers(labels: "pd.Series[str]", classes: list[str], device: torch.device) -> Tensor:
    """Numbers of the labels in ``classes``; -1 for a class that is not there, which no prediction equals."""
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number.get(label, -1) for label in labels], device=device)


def choose_linear(train: Split, val: Split, classes: int, config: ProbeConfig) -> tuple[nn.Linear, float]:
    """Fit a linear classifier for each penalty; keep the one with the best validation accuracy."""
    best: tuple[float, nn.Linear, float] | None = None
    for l2 in config.l2:
        linear = fit_linear(train, classes, l2, config.max_iterations)
        found = accuracy(linear(val.features).argmax(dim=1), val.labels)
        if best is None or found > best[0]:
            best = (found, linear, l2)
    assert best is not None
    return best[1], best[2]


def choose_neighbours(train: Split, val: Split, classes: int, config: ProbeConfig) -> int:
    """The number of neighbours with the best validation accuracy."""
    possible = [k for k in config.knn_neighbours if k <= len(train.labels)] or [len(train.labels)]
    found = [accuracy(knn(train, val.features, k, classes, config.knn_temperature), val.labels) for k in possible]
    return possible[int(np.argmax(found))]


def knn(train: Split, queries: Tensor, neighbours: int, classes: int, temperature: float) -> Tensor:
    """Weighted nearest neighbours by cosine similarity s, each voting exp(s/τ) (Wu et al. 2018, section 3.4).

    Returns:
        (N,) class numbers.
    """
    keys = functional.normalize(train.features, dim=1)
    answers = []
    for chunk in functional.normalize(queries, dim=1).split(1024):
        similarity, nearest = (chunk @ keys.T).topk(neighbours, dim=1)  # (n, k)
        votes = functional.one_hot(train.labels[nearest], classes) * (similarity / temperature).exp().unsqueeze(2)
        answers.append(votes.sum(dim=1).argmax(dim=1))
    return torch.cat(answers)


def state_digest(module: nn.Module) -> str:
    """SHA-256 over all weights and buffers, bytes and names."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
