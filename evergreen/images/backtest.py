"""What would each policy have done? The live loop, run over the stream's history once for each policy.

The champion at the start is made as the pipeline would have made it then: few-label training on the windows before.
Decisions see what a live system would have seen. Only afterwards are the answers compared with all labels of a
benchmark, the hidden ones too.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from pydantic import Field

from evergreen.code import code_sha256
from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_json, write_json
from evergreen.images.adapt import state_folder
from evergreen.images.arrays import open_folder, read_index
from evergreen.images.augment import to_float
from evergreen.images.bundle import Classifier, load_encoder
from evergreen.images.encoders import EncoderConfig
from evergreen.images.fewlabel import FinetuneConfig, fine_tune
from evergreen.images.imageset import TRAINING_SPLITS, open_windows
from evergreen.images.labels import all_labels, known_classes, read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.stream_domain import ImageDomain, Setting
from evergreen.images.training_parts import Labelled
from evergreen.progress import track
from evergreen.stream.adaptation import NO_POLICY
from evergreen.stream.loop import Loop, LoopState, Trigger
from evergreen.stream.replay import final_state, replay
from evergreen.training.precision import best_device, set_threads

RESULT = "backtest.json"


class BacktestConfig(Config):
    """What is compared.

    Attributes:
        start: windows that the first champion is trained on; the rest is replayed.
        policies: each with the trigger of ``adapt.loop``.
        always: this policy is also run after every window, whatever it holds; null leaves that out.
    """

    start: int = Field(20, ge=1)
    policies: tuple[str, ...] = ("none", "head", "finetune", "retrain", "replay")
    always: str | None = "head"


@dataclass(frozen=True)
class Contender:
    """A policy and when it acts."""

    name: str
    policy: str
    trigger: Trigger


def contenders(config: BacktestConfig, trigger: Trigger) -> list[Contender]:
    """The runs of a backtest; ``none`` never acts, so it is the never-fire of the comparison."""
    runs = [Contender(policy, policy, "never" if policy == NO_POLICY else trigger) for policy in config.policies]
    if config.always:
        runs.append(Contender(f"{config.always}, always", config.always, "always"))
    return runs


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Replay the stream for each contender; write backtest/backtest.json.

    An interrupted run goes on where it was: models and finished windows are kept in EVERGREEN_HOME.

    Raises:
        BadInputError: a parameter does not fit, or there are no windows after the start.
    """
    layout = ImageLayout(workspace)
    setting, config = Setting.read(workspace, params), read_config(params)
    set_threads(params["threads"])
    store = state_folder(workspace)
    domain = ImageDomain(layout, setting, store)
    if config.start >= len(domain.windows):
        raise BadInputError(
            f"images.backtest.start is {config.start}, but the stream has {len(domain.windows)} windows: nothing is "
            "left to replay. Lower it."
        )
    recipe = FinetuneConfig.read(params["finetune"]["recipe"], "params.yaml: images.finetune.recipe")
    first, base_seconds = first_champion(domain, config.start, recipe, setting)
    results = []
    for contender in contenders(config, setting.adapt.loop.trigger):
        loop_config = setting.adapt.loop.model_copy(update={"policy": contender.policy, "trigger": contender.trigger})
        loop = Loop(domain, loop_config)
        start = loop.start(first, config.start)
        folder = store / "backtests" / sha256_json([setting.identity(), start.to_json(), vars(contender)])[:32]
        left = sum(window.rows for window in domain.windows[config.start :])
        with track(contender.name, total=left, unit="images") as bar:
            records = replay(loop, start, folder, params["model_name"], bar)
        results.append(summary(layout, domain, contender, records, folder, final_state(folder, start), loop_config))
    write_json(
        layout.backtest / RESULT,
        {
            "start": config.start,
            "first_champion": {"model": first, "cpu_seconds": base_seconds, "test": test_scores(layout, domain, first)},
            "contenders": [scored | recovery(layout, domain, first, scored) for scored in results],
        },
    )


def read_config(params: dict[str, Any]) -> BacktestConfig:
    """The section images.backtest."""
    return BacktestConfig.read(params["backtest"], "params.yaml: images.backtest")


def first_champion(domain: ImageDomain, start: int, recipe: FinetuneConfig, setting: Setting) -> tuple[str, float]:
    """The classifier that the pipeline would have made from the first windows; its name and CPU seconds."""
    encoder_path = domain.layout.encoder
    windows = [window.window_id for window in domain.windows[:start]]
    identity = [recipe.model_dump(mode="json"), windows, setting.seed, torch.get_num_threads(), code_sha256("images")]
    identity.append(read_json(encoder_path / "config.json")["weights_sha256"])
    record = domain.store / "first" / f"{sha256_json(identity)[:32]}.json"
    if not record.is_file():
        used = time.process_time()
        images = open_windows(domain.layout.windows, windows, TRAINING_SPLITS)
        classes = known_classes([images.index])
        rows = np.flatnonzero(images.index["label"].notna())
        if len(classes) < 2 or len(rows) < 2 * len(classes):
            raise BadInputError(
                f"The first {start} windows have {len(rows)} known labels of {len(classes)} classes, too few for a "
                "first champion. Raise images.backtest.start, or label more images."
            )
        encoder, description = load_encoder(encoder_path, best_device())
        numbers = torch.from_numpy(np.searchsorted(classes, images.index["label"].to_numpy()[rows].astype(str)))
        device = encoder.mean.device
        labelled = Labelled(to_float(images.take(rows).to(device)), numbers.to(device), len(classes))
        precision = description["precision"]
        with track("first champion", total=recipe.images(), unit="images") as bar:
            network = fine_tune(encoder, labelled, images, recipe, setting.seed, precision, bar)
        config = EncoderConfig.read(description["encoder"], "the encoder's config.json")
        size = int(description["image_size"])
        classifier = Classifier(network.encoder, network.head, config, classes, size, precision)
        model = domain.keep(classifier, horizon=domain.windows[start - 1].end.isoformat())
        write_json(record, {"model": model, "cpu_seconds": time.process_time() - used})
    found = read_json(record)
    return found["model"], found["cpu_seconds"]


def summary(
    layout: ImageLayout,
    domain: ImageDomain,
    contender: Contender,
    records: list[dict[str, Any]],
    folder: Path,
    final: LoopState,
    config: Any,
) -> dict[str, Any]:
    """A contender's timeline: accuracy of the answers it gave, what it did, and what that cost."""
    predictions = pq.read_table(folder / "predictions.parquet").to_pandas()
    accuracy = window_accuracy(layout, [record["window_id"] for record in records], predictions)
    last = final.incoming[0] if final.incoming else final.model
    timeline = [
        {
            **{name: record[name] for name in ("window_id", "start", "end", "rows", "drift", "action", "flops")},
            "harmful": bool(record["harm"] and record["harm"]["harmful"]),
            "expected_fall": record["harm"]["expected_fall"] if record["harm"] else None,
            "reason": record["decision"]["reason"] if record["decision"] else None,
            "accuracy": accuracy.get(record["window_id"]),
        }
        for record in records
    ]
    flops = sum(record["flops"] for record in records)
    known = [row["accuracy"] for row in timeline if row["accuracy"] is not None]
    return {
        "name": contender.name,
        "policy": contender.policy,
        "trigger": contender.trigger,
        "windows": timeline,
        "mean_accuracy": float(np.mean(known)) if known else None,
        "adaptations": sum(record["flops"] > 0 for record in records),
        "promotions": sum(record["action"] == "promoted" for record in records),
        "flops": flops,
        "model_seconds": flops / config.flops_per_second,
        "cpu_seconds": sum(domain.training_seconds(r["challenger"]) for r in records if r["flops"] > 0),
        "final_model": last,
    }


def window_accuracy(layout: ImageLayout, windows: list[str], predictions: pd.DataFrame) -> dict[str, float]:
    """Accuracy of the answers on each window, over the images whose label is known by now, hidden ones too."""
    truth = read_labels(layout.hidden_labels)
    gate = read_labels(layout.gate_labels)
    said = dict(zip(predictions["example_id"], predictions["prediction"], strict=True))
    found = {}
    for window in windows:
        index = read_index(layout.windows / window)
        labels = all_labels(index, pd.concat([truth, gate], ignore_index=True))
        rows = labels.notna().to_numpy()
        if rows.any():
            answers = index["image_id"].map(said)
            found[window] = float((answers[rows] == labels[rows]).mean())
    return found


def test_scores(layout: ImageLayout, domain: ImageDomain, model: str) -> dict[str, float]:
    """Accuracy on the clean and on the noisy test set; empty where there is none."""
    record = domain.store / "tested" / f"{model}.json"
    if not record.is_file():
        classifier, scores = domain.classifier(model), {}
        for copy in ("clean", "noisy"):
            images, index = open_folder(layout.test / copy)
            rows = np.flatnonzero(index["label"].isin(classifier.classes))
            if len(rows):
                said = np.array(classifier.classes)[classifier.predict_probabilities(images[rows]).argmax(axis=1)]
                scores[copy] = float((said == index["label"].to_numpy()[rows]).mean())
        write_json(record, scores)
    scores_: dict[str, float] = read_json(record)
    return scores_


def recovery(layout: ImageLayout, domain: ImageDomain, first: str, scored: dict[str, Any]) -> dict[str, Any]:
    """Test accuracies at the end, and which share of the first champion's loss under noise came back."""
    before, after = test_scores(layout, domain, first), test_scores(layout, domain, scored["final_model"])
    out: dict[str, Any] = {"test": after}
    if {"clean", "noisy"} <= set(before):
        lost = before["clean"] - before["noisy"]
        out["recovered"] = (after["noisy"] - before["noisy"]) / lost if lost > 0 else None
        out["clean_change"] = after["clean"] - before["clean"]
    return out
