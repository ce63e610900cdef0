"""Retrieval from one labelled image per class: how many of the others get their right label."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from evergreen.config import Config
from evergreen.files import write_json
from evergreen.images.bundle import load_encoder
from evergreen.images.layout import ImageLayout
from evergreen.images.probe import embed_rows
from evergreen.images.retrieval import RetrievalConfig, retrieval_from_one_per_class
from evergreen.images.study_images import open_study, studies_folder
from evergreen.progress import track
from evergreen.training.precision import best_device, set_threads

TABLE = "retrieval"


class RetrievalStudyConfig(Config):
    """What is retrieved.

    Attributes:
        draws: how often one image per class is drawn.
        images: labelled images of split train to retrieve among; more are left out, at random.
        retrieval: how labels spread.
    """

    draws: int = Field(default=10, ge=1)
    images: int = Field(default=10_000, ge=2)
    retrieval: RetrievalConfig = RetrievalConfig()


def run(workspace: Path, params: dict[str, Any], config: RetrievalStudyConfig) -> dict[str, Any]:
    """Retrieve with both methods; write ``studies/retrieval.json`` and return it.

    Args:
        workspace: one in which an encoder was pretrained.
        params: of the images.
        config: what to retrieve.
    """
    set_threads(params["threads"])
    layout, seed = ImageLayout(workspace), int(params["seed"])
    study = open_study(layout)
    encoder, description = load_encoder(layout.encoder, best_device())
    rows = np.sort(np.random.default_rng(seed).permutation(study.rows("train"))[: config.images])
    with track("embed", total=len(rows), unit="images") as bar:
        size, precision = int(description["image_size"]), description["precision"]
        embeddings: torch.Tensor = embed_rows(encoder, study.images, rows, size, precision, bar.advance)
    methods = []
    for method in ("nearest", "spread"):
        how = config.retrieval.model_copy(update={"method": method})
        found = retrieval_from_one_per_class(embeddings, study.labels[rows], how, config.draws, seed)
        methods.append(
            {"name": method, "accuracy": found.mean, "accuracy_sd": found.spread if config.draws > 1 else None}
        )
    result = {
        "config": config.model_dump(mode="json"),
        "labelled": len(np.unique(study.labels[rows])),
        "images": len(rows),
        "encoder_sha256": description["weights_sha256"],
        "methods": methods,
    }
    write_json(studies_folder(layout) / f"{TABLE}.json", result)
    return result
