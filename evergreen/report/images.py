"""Step `report`: one self-contained page about a run of the image pipeline."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.images.arrays import open_folder
from evergreen.images.augment import AugmentConfig
from evergreen.images.bundle import embed_batches, load_encoder
from evergreen.images.imageset import open_windows
from evergreen.images.layout import ImageLayout
from evergreen.report import figures, scores, words
from evergreen.report.identity import identify
from evergreen.report.inputs import Inputs, read_inputs
from evergreen.report.page import render, write_page
from evergreen.report.parameters import as_yaml
from evergreen.report.pictures import Picture, augmented, picture
from evergreen.report.projection import project
from evergreen.report.timeline import first_drift, heat_map, timeline
from evergreen.training.precision import best_device, set_threads

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Images (N, H, W, 3) to feature vectors (N, D)."""


class ReportConfig(Config):
    """How much the page shows."""

    map_points: int = Field(default=3000, ge=0)
    """Images in the 2-D map, noisy ones included."""
    arrivals: int = Field(default=12, ge=0)
    """Images shown of the first window, and of the first one that drifted."""
    map_noisy_share: float = Field(default=0.2, ge=0, le=0.5)
    augmented_images: int = Field(default=6, ge=0)
    augmented_views: int = Field(default=8, ge=1)
    mistakes: int = Field(default=24, ge=0)
    large_matrix: int = Field(default=20, ge=2)
    """More classes than this make the confusion matrix a picture instead of a table of numbers."""


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Write ``report.html`` from what the earlier steps left."""
    config = ReportConfig.read(params["report"], "params.yaml: images.report")
    set_threads(params["threads"])
    inputs = read_inputs(ImageLayout(workspace), params)
    encoder, description = load_encoder(inputs.layout.encoder, best_device())

    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches = list(embed_batches(encoder, images, int(description["image_size"]), description["precision"]))
        return np.concatenate([batch.cpu().numpy() for batch in batches] or [np.zeros((0, 1), np.float32)])

    write_page(inputs.layout.report, build(inputs, config, embed))


def build(inputs: Inputs, config: ReportConfig, embed: Embed) -> str:
    """The page as HTML. The same inputs give the same text."""
    registered = inputs.finetune[0] if inputs.finetune else None
    rows = scores.result_rows(inputs.probe, inputs.finetune, inputs.predictions)
    context = {
        "inputs": inputs,
        "config": config,
        "summary": words.summary(inputs),
        "cards": words.cards(inputs, rows),
        "rows": rows,
        "registered": registered,
        "recalls": scores.gate_recalls(inputs.evaluate),
        "mistakes": mistakes(inputs, config.mistakes),
        "identity": identify(inputs),
        "parameters": as_yaml(inputs.params),
        "stream_sentence": words.stream_sentence(inputs),
        "labels_sentence": words.labels_sentence(inputs),
        "validation_sentence": words.validation_sentence(inputs),
        "pretrain_sentence": words.pretrain_sentence(inputs),
        "gate_sentence": words.gate_sentence(inputs),
        **stream_section(inputs, config),
        **pretrain_section(inputs, config),
        **map_section(inputs, config, embed),
        **confusion_section(registered, config),
    }
    return render("images.html", context)


def stream_section(inputs: Inputs, config: ReportConfig) -> dict[str, Any]:
    """Windows, drift, and labels by day."""
    drift = inputs.drift
    training = {str(window["window_id"]) for window in inputs.training}
    alpha = inputs.params["drift"].get("alpha")
    return {
        "timeline": timeline(drift, training, alpha, inputs.noise_start, words.timeline_alt(inputs)) if drift else None,
        "heat_map": heat_map(drift, words.tests_alt(inputs)) if drift else None,
        "first_drift": first_drift(drift),
        "training": training,
        "record_of": {record["window_id"]: record for record in drift},
        "labels": figures.labels_by_day(inputs.days, words.labels_alt(inputs)) if len(inputs.days) else None,
        "noise_start": inputs.noise_start,
        "arrivals": arrivals(inputs, config.arrivals),
    }


def arrivals(inputs: Inputs, number: int) -> list[tuple[str, list[Picture]]]:
    """Some images of the first window and of the first one that drifted: (title, pictures)."""
    found, first = first_drift(inputs.drift), inputs.windows[0]
    shown = [("From the first window", first.window_id, str(first.start))]
    if found is not None and found["window_id"] != first.window_id:
        shown.append(("From the first window that drifted", str(found["window_id"]), str(found["start"])))
    rows = []
    for title, window_id, start in shown:
        images = open_windows(inputs.layout.windows, [window_id])
        chosen = sample(len(images), number, inputs.params["seed"])
        named = zip(images.take(chosen).numpy(), _labels(images.index, chosen), strict=True)
        pictures = [picture(image, label or "an unlabelled image") for image, (_, label) in named]
        rows.append((f"{title}, {start[:10]}", pictures))
    return rows if number else []


def pretrain_section(inputs: Inputs, config: ReportConfig) -> dict[str, Any]:
    """Loss curves and sample augmentations."""
    return {"curves": figures.curves(inputs.epochs), "augmentations": augmentations(inputs, config)}


def augmentations(inputs: Inputs, config: ReportConfig) -> list[list[Picture]]:
    """A few training images with views of them as the encoder saw them: same operations, same size."""
    windows = [str(window["window_id"]) for window in inputs.training]
    if not windows:
        return []
    images = open_windows(inputs.layout.windows, windows)
    rows = sample(len(images), config.augmented_images, inputs.params["seed"])
    settings = inputs.params["pretrain"]
    augment = AugmentConfig.read(settings.get("augment", {}), "params.yaml: images.pretrain.augment")
    size = (settings.get("view_sizes") or [images.size])[-1]
    names = [str(label) if label else f"image {row}" for row, label in _labels(images.index, rows)]
    pixels = images.take(rows).numpy()
    return augmented(pixels, names, config.augmented_views, augment, inputs.params["seed"], size)


def map_section(inputs: Inputs, config: ReportConfig, embed: Embed) -> dict[str, Any]:
    """The 2-D map of test images, or of the stream's where there is no test set."""
    images, labels, noisy, source = map_images(inputs, config)
    if not len(images):
        return {"maps": [], "map_sentence": "There is no image to place."}
    places = project(embed(images), inputs.params["seed"])
    clean = [label for label, is_noisy in zip(labels, noisy, strict=True) if not is_noisy]
    maps = [figures.embedding_map(places[~noisy], clean, words.map_alt(clean, source))]
    if noisy.any():
        maps.append(figures.noise_map(places, noisy, words.noise_map_alt(noisy)))
    return {"maps": maps, "map_sentence": words.map_sentence(noisy, source)}


def map_images(
    inputs: Inputs, config: ReportConfig
) -> tuple[NDArray[np.uint8], list[str | None], NDArray[np.bool_], str]:
    """Choose the images of the map, evenly at random.

    Returns:
        Images (N, H, W, 3), N labels (None: no label), N times whether it is a noisy copy, and what they are called.
    """
    seed = inputs.params["seed"]
    clean, clean_index = open_folder(inputs.layout.test / "clean")
    if not len(clean):
        images = open_windows(inputs.layout.windows, [window.window_id for window in inputs.windows])
        rows = sample(len(images), config.map_points, seed)
        labels = [label for _, label in _labels(images.index, rows)]
        return images.take(rows).numpy(), labels, np.zeros(len(rows), bool), "images of the stream"
    noisy, noisy_index = open_folder(inputs.layout.test / "noisy")
    extra = sample(len(noisy), round(config.map_points * config.map_noisy_share), seed + 1)
    rows = sample(len(clean), config.map_points - len(extra), seed)
    labels = [label for _, label in (*_labels(clean_index, rows), *_labels(noisy_index, extra))]
    is_noisy = np.repeat([False, True], [len(rows), len(extra)])
    return np.concatenate([clean[rows], noisy[extra]]), labels, is_noisy, "test images"


def confusion_section(registered: Any, config: ReportConfig) -> dict[str, Any]:
    """The confusion matrix of the registered model: numbers for few classes, a picture for many."""
    if not registered or not registered.get("confusion"):
        return {"confusion": None, "confusion_picture": None}
    matrix = scores.confusion(registered)
    large = len(matrix.classes) > config.large_matrix
    return {
        "confusion": matrix,
        "confusion_picture": figures.large_confusion(matrix, words.confusion_alt(matrix)) if large else None,
    }


def mistakes(inputs: Inputs, most: int) -> list[dict[str, Any]]:
    """The most confident mistakes on the clean test images, with their pictures."""
    wrong = scores.confident_mistakes(inputs.predictions, most)
    if wrong.empty:
        return []
    images, index = open_folder(inputs.layout.test / "clean")
    row_of = dict(zip(index["image_id"], range(len(index)), strict=True))
    shown = []
    for image_id, label, prediction, score in wrong[["image_id", "label", "prediction", "score"]].to_numpy(object):
        if image_id in row_of:
            seen = picture(images[row_of[image_id]], f"a test image of class {label}, taken for {prediction}")
            shown.append({"picture": seen, "label": label, "prediction": prediction, "score": float(score)})
    return shown


def sample(population: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most ``most`` of the numbers below ``population``, evenly at random, ascending."""
    rows = np.random.default_rng(seed).choice(population, size=min(most, population), replace=False)
    return np.sort(rows).astype(np.int64)


def _labels(index: pd.DataFrame, rows: Sequence[int] | NDArray[np.int64]) -> list[tuple[int, str | None]]:
    labels = index["label"].to_numpy(object)
    return [(int(row), None if pd.isna(labels[row]) else str(labels[row])) for row in rows]
