"""How much each label is worth: the pretrained encoder against other ways to learn, at equal compute.

Every way costs what pretraining and fine-tuning cost together, in images × FLOPs, and gets the same labels. The test
set is read once for each trained network; nothing is chosen on it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import read_json, write_atomically, write_json
from evergreen.images.arrays import open_images, read_index
from evergreen.images.augment import to_float
from evergreen.images.bundle import CONFIG, load_encoder, save_encoder
from evergreen.images.encoders import Encoder
from evergreen.images.fewlabel import FinetuneConfig, fine_tune
from evergreen.images.finetune import StepConfig, Task, as_classifier, held_out_accuracy, prepare
from evergreen.images.finished import Finished
from evergreen.images.layout import ImageLayout
from evergreen.images.linear import stratified_folds
from evergreen.images.rotation import RotationConfig, pretrain_rotation
from evergreen.images.scores import classification_scores
from evergreen.images.self_training import SelfTrainingConfig, self_train
from evergreen.images.study_images import StudyImages, open_study, over_seeds, stratified, studies_folder
from evergreen.images.supervised import equal_compute_steps, train_supervised
from evergreen.images.training_parts import Labelled, Network
from evergreen.progress import track
from evergreen.training.precision import set_threads

Method = Literal["simclr", "supervised", "rotation", "self_training"]
TABLE = "label-efficiency"

Row = dict[str, Any]


class LabelEfficiencyConfig(Config):
    """What is compared.

    Attributes:
        fractions: shares of the training labels, of each class alike and at least one label of each.
        seeds: draws of the labels, each with other weights, batches and views.
        methods: ``simclr``: the workspace's encoder, fine-tuned as the pipeline does; ``supervised``: the same network
            from scratch; ``rotation``: an encoder pretrained by predicting rotations, fine-tuned alike;
            ``self_training``: from scratch, then on its own confident answers.
        self_training: rounds and confidence of the last.
    """

    fractions: tuple[float, ...] = Field(default=(0.0002, 0.001, 0.01, 0.1, 1.0), min_length=1)
    seeds: int = Field(default=3, ge=1)
    methods: tuple[Method, ...] = Field(default=("simclr", "supervised", "rotation", "self_training"), min_length=1)
    self_training: SelfTrainingConfig = SelfTrainingConfig()


class Study:
    """One label-efficiency study of a workspace.

    Args:
        workspace: one in which an encoder was pretrained.
        params: of the images.
        config: what to compare.

    Raises:
        BadInputError: the encoder, the windows, the labels or the test set are missing.
    """

    def __init__(self, workspace: Path, params: dict[str, Any], config: LabelEfficiencyConfig) -> None:
        set_threads(params["threads"])
        layout = ImageLayout(workspace)
        self.config = config
        self.data: StudyImages = open_study(layout)
        step = StepConfig.read(params["finetune"], "params.yaml: images.finetune")
        self.task: Task = prepare(layout, step, params, self.data.images)
        self.layout = layout
        self.finished = Finished(workspace)
        self.test, self.truth = clean_test(layout, self.data.classes)
        weights = read_json(layout.encoder / CONFIG)["weights_sha256"]
        self.identity = [
            *(step.model_dump(mode="json", exclude={"study_fractions"}), weights, self.task.pretrain_flops),
            *(self.task.seed, torch.get_num_threads(), str(self.task.device), self.data.identity, len(self.truth)),
        ]

    @property
    def key(self) -> str:
        """The same for the same study of the same data by the same code."""
        return self.finished.key([self.config.model_dump(mode="json"), *self.identity])

    def run(self) -> list[Row]:
        """Train what is not trained yet; write ``studies/label-efficiency.{csv,json}``; a row for each network."""
        draws = self.draws()
        with track("study", total=len(draws) * len(self.config.methods), unit="networks") as bar:
            rows = []
            for labels, fraction, seed, drawn in draws:
                for method in self.config.methods:
                    rows.append(
                        {"method": method, "label_fraction": fraction, "labels": labels, "seed": seed}
                        | self.one(method, fraction, seed, drawn)
                    )
                    bar.advance(method=method, labels=labels)
        self.write(rows)
        return rows

    def draws(self) -> list[tuple[int, float, int, NDArray[np.int64]]]:
        """(labels, their share, seed, row numbers); a fraction without more labels than a smaller one is left out."""
        rows = self.data.rows("train")
        found: dict[tuple[int, int], tuple[int, float, int, NDArray[np.int64]]] = {}
        for fraction in sorted(self.config.fractions):
            for number in range(self.config.seeds):
                seed = self.task.seed + number
                drawn = stratified(rows, self.data.labels[rows], fraction, np.random.default_rng(seed))
                found.setdefault((len(drawn), seed), (len(drawn), len(drawn) / len(rows), seed, drawn))
        return list(found.values())

    def one(self, method: Method, fraction: float, seed: int, drawn: NDArray[np.int64]) -> Row:
        """Accuracy and macro F1 of a network, trained now or before."""
        extra = self.config.self_training.model_dump(mode="json") if method == "self_training" else None
        key = self.finished.key([TABLE, method, seed, drawn.tolist(), extra, *self.identity])

        def compute() -> Row:
            return self.scores(self.train(method, self.labelled(drawn), seed))

        return self.finished.once(key, compute)

    def labelled(self, rows: NDArray[np.int64]) -> Labelled:
        """The images of some rows with their labels."""
        device = self.task.device
        pixels = to_float(self.task.images.take(rows).to(device))
        return Labelled(pixels, torch.from_numpy(self.data.labels[rows]).to(device), len(self.data.classes))

    def train(self, method: Method, labelled: Labelled, seed: int) -> Network:
        """A network that learned by a method from these labels."""
        ways: dict[Method, Callable[[Labelled, int], Network]] = {
            "simclr": lambda labelled, seed: self.tuned(self.encoder(), labelled, seed),
            "rotation": lambda labelled, seed: self.tuned(self.rotation_encoder(seed), labelled, seed),
            "supervised": self.supervised,
            "self_training": self.self_trained,
        }
        return ways[method](labelled, seed)

    def encoder(self) -> Encoder:
        """A fresh copy of the workspace's encoder."""
        return load_encoder(self.layout.encoder, self.task.device)[0]

    def flops(self, labels: int) -> float:
        """What each method may cost with so many labels."""
        return self.task.pretrain_flops + self.recipe.flops(self.encoder(), self.task.image_size, labels)

    @property
    def recipe(self) -> FinetuneConfig:
        return self.task.config.recipe

    def tuned(self, encoder: Encoder, labelled: Labelled, seed: int) -> Network:
        """The encoder, fine-tuned with the unlabelled images beside the labels."""
        recipe = self.recipe.for_labels(len(labelled.labels))
        with track("fine-tune", total=recipe.images(), unit="images") as bar:
            return fine_tune(encoder, labelled, self.task.images, recipe, seed, self.task.precision, bar)

    def rotation_encoder(self, seed: int) -> Encoder:
        """An encoder that was pretrained by predicting rotations, for as many FLOPs as the workspace's encoder.

        It is kept: the fractions of a seed share it.
        """
        recipe = RotationConfig(encoder=self.task.encoder_config, epochs=1)
        one = recipe.flops(self.encoder(), len(self.task.images))
        recipe = recipe.model_copy(update={"epochs": max(1, round(self.task.pretrain_flops / one))})
        identity = ["rotation", recipe.model_dump(mode="json"), seed, *self.identity]
        kept = self.finished.folder / self.finished.key(identity)
        if not kept.is_dir():
            with track("rotation", total=recipe.epochs * len(self.task.images), unit="images") as bar:
                encoder = pretrain_rotation(self.task.images, recipe, seed, self.task.device, bar)
            save_encoder(kept, encoder, recipe.encoder, self.task.image_size, self.task.precision)
        return load_encoder(kept, self.task.device)[0]

    def supervised(self, labelled: Labelled, seed: int) -> Network:
        """The same network from scratch on the labels alone."""
        config = self.task.config.supervised
        steps = equal_compute_steps(self.encoder(), self.flops(len(labelled.labels)), config, self.recipe.view_size)
        return self.from_scratch(labelled, steps, self.rate(labelled, steps, seed), seed)

    def rate(self, labelled: Labelled, steps: int, seed: int) -> float:
        """The learning rate of a short run that does best on a fifth of the labels."""
        config = self.task.config.supervised
        held_out = torch.from_numpy(stratified_folds(labelled.labels.cpu().numpy(), 5) == 0).to(self.task.device)
        train, val = labelled.rows(~held_out), labelled.rows(held_out)
        short = min(steps, config.search_steps)
        found = {r: held_out_accuracy(self.from_scratch(train, short, r, seed), val) for r in config.learning_rates}
        return max(found, key=lambda r: found[r])

    def from_scratch(self, labelled: Labelled, steps: int, rate: float, seed: int) -> Network:
        """A supervised training."""
        config, task = self.task.config.supervised, self.task
        with track("supervised", total=steps * config.batch_size, unit="images") as bar:
            return train_supervised(
                *(task.encoder_config, labelled, task.images, steps, rate, config, self.recipe),
                *(seed, task.precision, bar),
            )

    def self_trained(self, labelled: Labelled, seed: int) -> Network:
        """The same network from scratch, then on its own confident answers."""
        rounds, config, task = self.config.self_training, self.task.config.supervised, self.task
        steps = rounds.steps(
            *(self.encoder(), self.flops(len(labelled.labels)), len(task.images), config.batch_size),
            *(self.recipe.view_size, task.image_size),
        )
        rate = self.rate(labelled, steps, seed)
        with track("self-train", total=(rounds.rounds + 1) * steps * config.batch_size, unit="images") as bar:
            return self_train(
                *(task.encoder_config, labelled, task.images, steps, rate, rounds, config, self.recipe),
                *(seed, task.precision, bar),
            ).network

    def scores(self, network: Network) -> Row:
        """Accuracy and macro F1 on the clean test set."""
        answers = as_classifier(self.task, network, self.data.classes).predict_probabilities(self.test).argmax(axis=1)
        found = classification_scores(self.truth, answers, self.data.classes)
        return {"accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    def write(self, rows: list[Row]) -> None:
        """Write the table of all networks and the means with their spread."""
        folder, frame = studies_folder(self.layout), pd.DataFrame(rows)
        write_atomically(folder / f"{TABLE}.csv", lambda part: frame.to_csv(part, index=False))
        least = min(row["labels"] for row in rows)
        described = {"config": self.config.model_dump(mode="json"), "n_test": len(self.truth)}
        described["flops"] = self.flops(least)
        write_json(
            folder / f"{TABLE}.json", described | {"points": over_seeds(frame, ["method", "labels", "label_fraction"])}
        )


def clean_test(layout: ImageLayout, classes: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The clean test images of the classes, and their class numbers.

    Raises:
        BadInputError: there are none.
    """
    index = read_index(layout.test / "clean")
    index = index[index["label"].isin(classes)]
    if len(index) == 0:
        raise BadInputError(
            f"{layout.test / 'clean'} has no image of the classes {', '.join(classes)}: there is nothing to judge by. "
            "Ingest images with a test set."
        )
    return open_images(layout.test / "clean")[index.index.to_numpy()], np.searchsorted(classes, index["label"])
