"""Step `finetune`: few labels → a classifier, beside the same network trained from scratch at equal compute."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.files import read_json, remove, write_atomically, write_json
from evergreen.images.arrays import open_images, read_index
from evergreen.images.augment import to_float
from evergreen.images.bundle import Classifier, load_encoder, save
from evergreen.images.encoders import EncoderConfig, forward_flops
from evergreen.images.fewlabel import FinetuneConfig, fine_tune
from evergreen.images.imageset import TRAINING_SPLITS, ImageSet, all_windows, open_windows
from evergreen.images.labels import all_labels, known_classes, read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.linear import stratified_folds
from evergreen.images.linear_start import linear_start
from evergreen.images.normalisation import measure_statistics, random_batches
from evergreen.images.scores import classification_scores
from evergreen.images.simclr import SimCLRConfig
from evergreen.images.supervised import SupervisedConfig, equal_compute_steps, train_supervised
from evergreen.images.training_parts import PASSES, Labelled, Network
from evergreen.images.windows import read_windows
from evergreen.progress import track
from evergreen.training.memory import keep_freed_memory
from evergreen.training.precision import Resolved, best_device, set_threads

MIN_LABELS = 10


class StepConfig(Config):
    """The step's parameters: the recipe, the rival, and the label shares studied beside the known labels."""

    recipe: FinetuneConfig
    supervised: SupervisedConfig = SupervisedConfig()
    study_fractions: tuple[float, ...] = Field(default=(), description="taken from the hidden labels too")


@dataclass
class Task:
    """What every training of the step shares."""

    layout: ImageLayout
    config: StepConfig
    encoder_config: EncoderConfig
    pretrain_flops: float
    images: ImageSet
    image_size: int
    precision: Resolved
    device: torch.device
    seed: int


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Train with the known labels, then with each studied share; write classifier, predictions and finetune.json."""
    layout = ImageLayout(workspace)
    config = StepConfig.read(params["finetune"], "params.yaml: images.finetune")
    set_threads(params["threads"])
    keep_freed_memory()
    started = time.perf_counter()
    images = open_windows(layout.windows, all_windows(layout.windows), TRAINING_SPLITS)
    classes = known_classes([images.index])
    known = images.index["label"]
    if known.notna().sum() < max(MIN_LABELS, 2 * len(classes)) or len(classes) < 2:
        skip(layout, int(known.notna().sum()), len(classes))
        return
    task = prepare(layout, config, params, images)
    entries = [study(task, known, classes, register=True)]
    if config.study_fractions:
        hidden = read_labels(layout.hidden_labels)
        everything = all_labels(images.index, hidden)
        for fraction in config.study_fractions:
            entries.append(study(task, share_of(everything, fraction, task.seed), classes, register=False))
    write_json(layout.metrics / "finetune.json", entries)
    write_json(layout.metrics / "finetune.timing.json", {"seconds": time.perf_counter() - started})


def skip(layout: ImageLayout, labels: int, classes: int) -> None:
    """Leave an empty record: there is nothing to learn from."""
    needed = max(MIN_LABELS, 2 * classes)
    reason = f"found {labels} known labels of {classes} classes, fine-tuning needs {needed} of at least 2 classes"
    remove(layout.classifier)
    write_json(layout.classifier / "skipped.json", {"skipped": reason})
    empty = pd.DataFrame({name: pd.Series(dtype="str") for name in ("image_id", "label", "prediction", "supervised")})
    write_predictions(layout, empty.assign(score=pd.Series(dtype="float32")))
    write_json(layout.metrics / "finetune.json", [])


def prepare(layout: ImageLayout, config: StepConfig, params: dict[str, Any], images: ImageSet) -> Task:
    """Gather what all trainings share; the cost of pretraining is counted from its own parameters."""
    device = best_device()
    encoder, description = load_encoder(layout.encoder, device)  # its operations are counted as they are done there
    pretrain = SimCLRConfig.read(params["pretrain"], "params.yaml: images.pretrain")
    used = math.prod(pretrain.batches(int(read_json(layout.metrics / "pretrain.json")["images"])))
    passes = sum(forward_flops(encoder, pretrain.view_size(epoch)) for epoch in range(pretrain.epochs))
    return Task(
        layout=layout,
        config=config,
        encoder_config=EncoderConfig.read(description["encoder"], "the encoder's config.json"),
        pretrain_flops=float(PASSES * 2 * used * passes),
        images=images,
        image_size=int(description["image_size"]),
        precision=description["precision"],
        device=device,
        seed=int(params["seed"]),
    )


def share_of(labels: "pd.Series[str]", fraction: float, seed: int) -> "pd.Series[str]":
    """A seeded share of the labels, the others set to null."""
    there = np.flatnonzero(labels.notna())
    chosen = np.random.default_rng((seed, round(fraction * 1e6))).permutation(there)[: round(fraction * len(labels))]
    mask = np.zeros(len(labels), dtype=bool)
    mask[chosen] = True
    return labels.where(mask)


def study(task: Task, labels: "pd.Series[str]", classes: list[str], register: bool) -> dict[str, Any]:
    """Fine-tune and train the rival on the same labels; read the test set once, at the end.

    With ``register`` the classifier and its test predictions are written: it is the one the registry gets.
    """
    rows = np.flatnonzero(labels.notna())
    numbers = np.searchsorted(classes, labels.to_numpy()[rows].astype(str))
    labelled = Labelled(
        to_float(task.images.take(rows).to(task.device)), torch.from_numpy(numbers).to(task.device), len(classes)
    )
    recipe = task.config.recipe
    tuned, flops = tune(task, labelled)
    rival, choice = supervise(task, labelled, flops)
    networks = {"": tuned, "linear_": linear(task, labelled), "supervised_": rival}
    contenders = {prefix: as_classifier(task, network, classes) for prefix, network in networks.items()}
    entry = {"label_fraction": len(rows) / len(task.images), "labels": len(rows), "classes": classes}
    entry |= compare(task, contenders, predictions_to=task.layout if register else None)
    if register:
        horizon = read_windows(task.layout.windows)[-1].end.isoformat()
        facts = {"trained_on_labels": len(rows), "view_size": recipe.view_size, "horizon": horizon}
        save(task.layout.classifier, contenders[""], **facts)
    return {**entry, **choice, "compute_flops": flops, "precision": task.precision}


def tune(task: Task, labelled: Labelled) -> tuple[Network, float]:
    """Fine-tune a fresh copy of the encoder; returns it and what it cost, pretraining included, in FLOPs."""
    encoder, _ = load_encoder(task.layout.encoder, task.device)
    recipe = task.config.recipe.for_labels(len(labelled.labels))
    flops = task.pretrain_flops + recipe.flops(encoder, task.image_size, len(labelled.labels))
    with track("fine-tune", total=recipe.images(), unit="images") as bar:
        return fine_tune(encoder, labelled, task.images, recipe, task.seed, task.precision, bar), flops


def linear(task: Task, labelled: Labelled) -> Network:
    """The encoder's weights as they are, its statistics measured, and a linear head: what fine-tuning must beat."""
    encoder, _ = load_encoder(task.layout.encoder, task.device)
    generator = torch.Generator().manual_seed(task.seed)
    measure_statistics(encoder, random_batches(task.images, generator, task.device), task.precision)
    return Network(encoder, linear_start(encoder, labelled, task.config.recipe.head_l2, task.precision))


def supervise(task: Task, labelled: Labelled, flops: float) -> tuple[Network, dict[str, Any]]:
    """Choose the rival's learning rate on held-out labels, then train it on all of them for ``flops``."""
    config, recipe = task.config.supervised, task.config.recipe
    encoder, _ = load_encoder(task.layout.encoder, task.device)
    steps = equal_compute_steps(encoder, flops, config, recipe.view_size)
    held_out = torch.from_numpy(stratified_folds(labelled.labels.cpu().numpy(), 5) == 0).to(task.device)
    train, val = labelled.rows(~held_out), labelled.rows(held_out)
    search = min(config.search_steps, steps)
    found: dict[float, float] = {}
    total = (search * len(config.learning_rates) + steps) * config.batch_size
    with track("supervised", total=total, unit="images") as bar:
        for rate in config.learning_rates:
            network = train_supervised(
                task.encoder_config, train, task.images, search, rate, config, recipe, task.seed, task.precision, bar
            )
            found[rate] = held_out_accuracy(network, val)
        rate = max(found, key=lambda r: found[r])
        network = train_supervised(
            task.encoder_config, labelled, task.images, steps, rate, config, recipe, task.seed, task.precision, bar
        )
    return network, {
        "supervised_learning_rate": rate,
        "supervised_val_accuracy": {str(r): a for r, a in found.items()},
        "supervised_steps": steps,
    }


def held_out_accuracy(network: Network, val: Labelled) -> float:
    """Accuracy on whole, unchanged images."""
    with torch.no_grad():
        logits = network.head(network.encoder(val.images).float())
    return float((logits.argmax(dim=1) == val.labels).double().mean())


def as_classifier(task: Task, network: Network, classes: list[str]) -> Classifier:
    """A network as what is stored and scored with."""
    return Classifier(network.encoder, network.head, task.encoder_config, classes, task.image_size, task.precision)


def compare(task: Task, contenders: dict[str, Classifier], predictions_to: ImageLayout | None) -> dict[str, Any]:
    """All classifiers on the clean and the noisy test set.

    Args:
        task: where the test sets are.
        contenders: by the prefix of their figures; the fine-tuned one has none, ``supervised_`` is its rival.
        predictions_to: where the answers to the clean test set go.
    """
    out: dict[str, Any] = {}
    classes = contenders[""].classes
    for copy, suffix in (("clean", ""), ("noisy", "_noisy")):
        index = read_index(task.layout.test / copy)
        index = index[index["label"].isin(classes)]
        if len(index) == 0:
            continue
        test = open_images(task.layout.test / copy)[index.index.to_numpy()]
        labels = np.searchsorted(classes, index["label"].to_numpy().astype(str))
        said = {prefix: model.predict_probabilities(test) for prefix, model in contenders.items()}
        scores = {prefix: classification_scores(labels, p.argmax(axis=1), classes) for prefix, p in said.items()}
        for prefix, found in scores.items():
            out |= {f"{prefix}{name}{suffix}": found[name] for name in ("accuracy", "macro_f1")}
        out[f"n_test{suffix}"] = len(index)
        if copy == "clean":
            out |= {name: scores[""][name] for name in ("per_class", "confusion")}
            if predictions_to:
                write_predictions(predictions_to, predictions(index, classes, said[""], said["supervised_"]))
    return out


def predictions(
    index: pd.DataFrame, classes: list[str], ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> pd.DataFrame:
    """image_id, label, prediction, score (its probability) and the rival's prediction."""
    names = np.array(classes)
    return pd.DataFrame(
        {
            "image_id": index["image_id"].to_numpy(),
            "label": index["label"].to_numpy(),
            "prediction": names[ours.argmax(axis=1)],
            "score": ours.max(axis=1),
            "supervised": names[theirs.argmax(axis=1)],
        }
    )


def write_predictions(layout: ImageLayout, frame: pd.DataFrame) -> None:
    """Write predictions/test.parquet."""
    write_atomically(layout.predictions / "test.parquet", lambda part: frame.to_parquet(part, index=False))
