"""Step `pretrain`: SimCLR on the training windows → an encoder."""

import math
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from evergreen.files import read_json, sha256_json, write_json
from evergreen.images.bundle import save_encoder
from evergreen.images.distributed import joined
from evergreen.images.heads import save_head
from evergreen.images.imageset import TRAINING_SPLITS, ImageSet, open_windows
from evergreen.images.layout import ImageLayout
from evergreen.images.simclr import Pretrained, SimCLRConfig, pretrain
from evergreen.progress import Silent, track
from evergreen.training import checkpoints
from evergreen.training.memory import keep_freed_memory
from evergreen.training.precision import set_threads

MONITORS = ("loss", "alignment", "uniformity", "feature_std", "rankme", "knn_accuracy")


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Pretrain on the windows named in training_windows.json; write encoder, head, metrics and the loss curve.

    Under torchrun all its processes train together and the first one writes.
    """
    layout = ImageLayout(workspace)
    config = SimCLRConfig.read(params["pretrain"], "params.yaml: images.pretrain")
    set_threads(params["threads"])
    keep_freed_memory()
    selection = read_json(layout.training_windows)
    images = open_windows(layout.windows, [w["window_id"] for w in selection["windows"]], TRAINING_SPLITS)
    mean, std = images.channel_statistics()
    config = config.model_copy(update={"encoder": config.encoder.normalised_by(mean, std)})

    with joined() as (processes, device):
        world = processes.world
        identity = [config.model_dump(mode="json"), params["seed"], params["threads"], selection, str(device), world]
        checkpoint = checkpoint_folder(workspace, sha256_json(identity))
        total = config.epochs * math.prod(config.batches(max(1, len(images)), world))
        started = time.perf_counter()
        with track("pretrain", total=total, unit="pairs") if processes.writes else nullcontext(Silent()) as bar:
            result = pretrain(
                images,
                config,
                params["seed"],
                device,
                bar,
                checkpoint,
                labels=training_labels(images.index),
                processes=processes,
            )
        if processes.writes:
            write(layout, params, config, result, images, device, world)
            write_timing(layout, time.perf_counter() - started, total)
            checkpoints.discard(checkpoint)


def training_labels(index: pd.DataFrame) -> NDArray[np.int64]:
    """Class number of each image whose label is known, -1 elsewhere and on the validation split, which chooses later.

    >>> index = pd.DataFrame({"label": ["ship", None, "cat", "cat"], "split": ["train", "train", "train", "val"]})
    >>> training_labels(index).tolist()
    [1, -1, 0, -1]
    """
    known = (index["label"].notna() & (index["split"] == "train")).to_numpy()
    labels = np.full(len(index), -1, dtype=np.int64)
    labels[known] = np.unique(index["label"].to_numpy()[known].astype(str), return_inverse=True)[1]
    return labels


def write(
    layout: ImageLayout,
    params: dict[str, Any],
    config: SimCLRConfig,
    result: Pretrained,
    images: ImageSet,
    device: torch.device,
    world: int,
) -> None:
    """Write encoder, head, metrics and the curves."""
    digest = save_encoder(
        layout.encoder, result.encoder, config.encoder, images.size, result.precision, pretrained_on=len(images)
    )
    save_head(layout.encoder, result.head)
    last = result.history[-1]
    write_json(
        layout.metrics / "pretrain.json",
        {
            "profile": params["profile"],
            "encoder": config.encoder.name,
            "epochs": config.epochs,
            **{name: last[name] for name in MONITORS if name in last},
            "images": len(images),
            "precision": result.precision,
            "device": device.type,
            "processes": world,
            "torch": torch.__version__,
            "weights_sha256": digest,
        },
    )
    write_json(layout.plots / "pretrain.json", result.history)


def write_timing(layout: ImageLayout, seconds: float, pairs: int) -> None:
    """Write how long it took, where no stage owns it."""
    write_json(
        layout.metrics / "pretrain.timing.json", {"seconds": seconds, "pairs_per_second": pairs / max(seconds, 1e-9)}
    )


def checkpoint_folder(workspace: Path, step_key: str) -> Path:
    """Where an unfinished run of this very step leaves its checkpoint: in EVERGREEN_HOME, outside DVC's outputs."""
    home = Path(os.environ.get("EVERGREEN_HOME") or workspace / ".evergreen")
    return home / "checkpoints" / step_key[:32]
