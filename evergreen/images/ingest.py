"""Step `ingest`: a source → one array folder a day, label files, test set, quarantine."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evergreen.errors import BadInputError
from evergreen.files import remove, write_json
from evergreen.images.arrays import content_sha256, open_folder, read_index, write_folder
from evergreen.images.benchmark import Benchmark
from evergreen.images.days import claim, day_folders
from evergreen.images.digits import load_digits
from evergreen.images.folder_stream import ingest_folder
from evergreen.images.held_out import held_out_index, write_noisy_copy
from evergreen.images.ingest_config import IngestConfig
from evergreen.images.labels import known_classes, write_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.outcome import Outcome
from evergreen.images.quarantine import Quarantine
from evergreen.images.simulated import Day, days
from evergreen.images.sources import load_cifar
from evergreen.progress import track


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Take in what the source has and write everything that the later steps read.

    Arrival days that are there already and still the same are left untouched.

    Raises:
        BadInputError: a parameter does not fit, or the source is missing, damaged or changed.
    """
    config = IngestConfig.read(params["ingest"], "params.yaml: images.ingest")
    layout, seed = ImageLayout(workspace), int(params["seed"])
    started = time.perf_counter()
    if config.source == "folder" and config.folder is not None:
        outcome = ingest_folder(layout, workspace / config.folder.expanduser(), config, seed)
    else:
        outcome = _ingest_benchmark(_load(config, workspace, seed), layout, config, seed)
    write_noisy_copy(layout.test / "clean", layout.test / "noisy", config.noise_severity, seed)
    write_labels(layout.hidden_labels, outcome.hidden)
    write_labels(layout.gate_labels, outcome.gate)
    seconds = time.perf_counter() - started
    write_json(layout.metrics / "ingest.json", _summary(layout, config.source, outcome))
    write_json(layout.metrics / "ingest.timing.json", {"seconds": seconds})


def downloads_folder(workspace: Path) -> Path:
    """Where downloads are kept: in EVERGREEN_HOME if that is set, else in the workspace's ``.evergreen``."""
    return Path(os.environ.get("EVERGREEN_HOME") or workspace / ".evergreen") / "downloads"


def _load(config: IngestConfig, workspace: Path, seed: int) -> Benchmark:
    if config.source == "digits":
        return load_digits(config.image_size, seed)
    folder = config.cifar_folder
    return load_cifar(workspace / folder.expanduser() if folder else None, downloads_folder(workspace))


def _ingest_benchmark(data: Benchmark, layout: ImageLayout, config: IngestConfig, seed: int) -> Outcome:
    claim(layout.raw, config.identity(seed))
    planned: list[Path] = []
    hidden: list[pd.DataFrame] = []
    gate: list[pd.DataFrame] = []
    streamed = config.days * config.images_per_day
    with track("ingest", total=streamed + len(data.test_images), unit="images") as bar:
        for day in days(data, config, seed):
            folder = layout.raw / day.name
            if not _holds(folder, day):
                write_folder(folder, day.images, day.index)
            planned.append(folder)
            hidden.append(day.hidden)
            gate.append(day.gate)
            bar.advance(len(day.index), day=day.name)
        for folder in day_folders(layout.raw):
            if folder not in planned:
                remove(folder)
        write_folder(layout.test / "clean", data.test_images, held_out_index(data, config))
        bar.advance(len(data.test_images))
    with Quarantine(layout.quarantine / "ingest"):  # a benchmark has nothing to refuse
        pass
    return Outcome(
        read=streamed + len(data.test_images),
        test_images=len(data.test_images),
        gate=pd.concat(gate),
        hidden=pd.concat(hidden),
    )


def _holds(folder: Path, day: Day) -> bool:
    """Whether a day's folder is there and holds exactly these arrivals."""
    if not folder.exists():
        return False
    try:
        images, index = open_folder(folder)
    except BadInputError:  # damaged: it is written anew
        return False
    return content_sha256(index) == content_sha256(day.index) and np.array_equal(images, day.images)


def _summary(layout: ImageLayout, source: str, outcome: Outcome) -> dict[str, Any]:
    """What metrics/ingest.json says: counts of the whole stream as it is on disk, and a line for each day."""
    per_day: list[dict[str, Any]] = []
    known: set[str] = set()
    for folder in day_folders(layout.raw):
        index = read_index(folder)
        known.update(known_classes([index]))
        per_day.append(
            {
                "day": folder.name,
                "rows": len(index),
                "known": int(index["label"].notna().sum()),
                "sha256": content_sha256(index),
            }
        )
    return {
        "source": source,
        "read": outcome.read,
        "days": len(per_day),
        "images": sum(day["rows"] for day in per_day),
        "known_labels": sum(day["known"] for day in per_day),
        "hidden_labels": len(outcome.hidden),
        "gate_labels": len(outcome.gate),
        "test_images": outcome.test_images,
        "quarantined": outcome.quarantined,
        "classes": sorted(known),
        "per_day": per_day,
    }
