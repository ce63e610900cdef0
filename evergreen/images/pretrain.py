"""Step `pretrain`: SimCLR on the training windows → an encoder."""

import math
import os
import time
from pathlib import Path
from typing import Any

import torch

from evergreen.files import read_json, sha256_json, write_json
from evergreen.images.bundle import save_encoder
from evergreen.images.imageset import TRAINING_SPLITS, open_windows
from evergreen.images.layout import ImageLayout
from evergreen.images.simclr import SimCLRConfig, pretrain
from evergreen.progress import track
from evergreen.training import checkpoints
from evergreen.training.precision import best_device, set_threads


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Pretrain on the windows named in training_windows.json; write encoder, metrics and the loss curve."""
    layout = ImageLayout(workspace)
    config = SimCLRConfig.read(params["pretrain"], "params.yaml: images.pretrain")
    set_threads(params["threads"])
    device = best_device()
    selection = read_json(layout.training_windows)
    images = open_windows(layout.windows, [w["window_id"] for w in selection["windows"]], TRAINING_SPLITS)
    mean, std = images.channel_statistics()
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update={"mean": mean, "std": std})})

    identity = [config.model_dump(mode="json"), params["seed"], params["threads"], selection, str(device)]
    checkpoint = checkpoint_folder(workspace, sha256_json(identity))
    total = config.epochs * math.prod(config.batches(max(1, len(images))))
    started = time.perf_counter()
    with track("pretrain", total=total, unit="pairs") as bar:
        result = pretrain(images, config, params["seed"], device, bar, checkpoint)
    seconds = time.perf_counter() - started

    digest = save_encoder(
        layout.encoder, result.encoder, config.encoder, images.size, result.precision, pretrained_on=len(images)
    )
    last = result.history[-1]
    write_json(
        layout.metrics / "pretrain.json",
        {
            "profile": params["profile"],
            "encoder": config.encoder.name,
            "epochs": config.epochs,
            "loss": last["loss"],
            "alignment": last["alignment"],
            "uniformity": last["uniformity"],
            "images": len(images),
            "precision": result.precision,
            "device": device.type,
            "torch": torch.__version__,
            "weights_sha256": digest,
        },
    )
    write_json(
        layout.metrics / "pretrain.timing.json", {"seconds": seconds, "pairs_per_second": total / max(seconds, 1e-9)}
    )
    write_json(layout.plots / "pretrain.json", result.history)
    checkpoints.discard(checkpoint)


def checkpoint_folder(workspace: Path, step_key: str) -> Path:
    """Where an unfinished run of this very step leaves its checkpoint: in EVERGREEN_HOME, outside DVC's outputs."""
    home = Path(os.environ.get("EVERGREEN_HOME") or workspace / ".evergreen")
    return home / "checkpoints" / step_key[:32]
