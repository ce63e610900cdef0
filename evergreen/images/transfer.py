"""Three ways to use a pretrained encoder: train all layers, train the last ones, or embed once and classify.

Every way gets the same labels. What a way has to choose it chooses on labels of the validation split, or by
cross-validation on its own; the test set is read once, at the end.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evergreen.config import Config
from evergreen.files import write_atomically, write_json
from evergreen.images.bundle import embed_batches
from evergreen.images.fewlabel import FinetuneConfig, fine_tune
from evergreen.images.finetune import as_classifier
from evergreen.images.label_efficiency import LabelEfficiencyConfig, Study
from evergreen.images.last_layers import tune_last_layers
from evergreen.images.linear import Split, accuracy, cross_validate, fit_linear, spread
from evergreen.images.probe import knn
from evergreen.images.study_images import over_seeds, stratified, studies_folder
from evergreen.images.sweep_judge import macro
from evergreen.images.training_parts import Labelled, Network
from evergreen.progress import track

Option = Literal[
    "all layers, unlabelled too",
    "all layers",
    "last layers",
    "embed, logistic regression",
    "embed, kNN",
    "embed, gradient boosting",
]
OPTIONS: tuple[Option, ...] = (
    *("all layers, unlabelled too", "all layers", "last layers"),
    *("embed, logistic regression", "embed, kNN", "embed, gradient boosting"),
)
TABLE = "transfer"
KNN_TEMPERATURE = 0.1

Row = dict[str, Any]


class TransferConfig(Config):
    """What is compared.

    Attributes:
        fraction: share of the labels of the splits train and val, of each class alike.
        seeds: draws of the labels.
        options: the ways.
        learning_rates: tried for the last layers, which take larger ones than a whole network.
        neighbours: tried for kNN.
        rounds, depths: tried for gradient boosting.
        penalties: tried for logistic regression.
    """

    fraction: float = Field(default=0.01, gt=0, le=1)
    seeds: int = Field(default=3, ge=1)
    options: tuple[Option, ...] = Field(default=OPTIONS, min_length=1)
    learning_rates: tuple[float, ...] = (0.003, 0.03)
    neighbours: tuple[int, ...] = (1, 5, 10, 50, 200)
    rounds: tuple[int, ...] = (50, 200)
    depths: tuple[int, ...] = (2, 4)
    penalties: tuple[float, ...] = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1)


class Transfer:
    """One transfer study of a workspace.

    Args:
        workspace: one in which an encoder was pretrained.
        params: of the images.
        config: what to compare.
    """

    def __init__(self, workspace: Path, params: dict[str, Any], config: TransferConfig) -> None:
        self.study = Study(workspace, params, LabelEfficiencyConfig())
        self.config = config

    @property
    def key(self) -> str:
        """The same for the same study of the same data by the same code."""
        return self.study.finished.key([TABLE, self.config.model_dump(mode="json"), *self.study.identity])

    def run(self) -> list[Row]:
        """Try every option with every seed; write ``studies/transfer.{csv,json}``; a row for each."""
        rows = []
        with track("transfer", total=self.config.seeds * len(self.config.options), unit="options") as bar:
            for number in range(self.config.seeds):
                seed = self.study.task.seed + number
                for option in self.config.options:
                    rows.append({"option": option, "seed": seed, **self.one(option, seed)})
                    bar.advance(option=option)
        folder, frame = studies_folder(self.study.layout), pd.DataFrame(rows)
        write_atomically(folder / f"{TABLE}.csv", lambda part: frame.to_csv(part, index=False))
        described = {"config": self.config.model_dump(mode="json"), "n_test": len(self.study.truth)}
        write_json(folder / f"{TABLE}.json", described | {"options": over_seeds(frame, ["option", "labels"])})
        return rows

    def one(self, option: Option, seed: int) -> Row:
        """Precision, recall, F1 and accuracy on the test set, found now or before."""
        train, val = self.drawn("train", seed), self.drawn("val", seed)
        given = self.config.model_dump(mode="json", exclude={"seeds", "options"})
        key = self.study.finished.key([TABLE, option, seed, given, *self.study.identity])

        def compute() -> Row:
            predicted, choice = self.predict(option, self.study.labelled(train), self.study.labelled(val), seed)
            return {"choice": choice, **macro(self.study.truth, predicted, self.study.data.classes)}

        return {"labels": len(train), "validation_labels": len(val), **self.study.finished.once(key, compute)}

    def drawn(self, split: str, seed: int) -> NDArray[np.int64]:
        """The rows of a split whose labels are given."""
        rows = self.study.data.rows(split)
        return stratified(rows, self.study.data.labels[rows], self.config.fraction, np.random.default_rng(seed))

    def predict(self, option: Option, train: Labelled, val: Labelled, seed: int) -> tuple[NDArray[np.int64], str]:
        """Class numbers of the test images, and what was chosen on the validation labels."""
        if option.startswith("embed"):
            return self.embedded(option, train, val)
        recipe = self.study.recipe
        if option == "all layers, unlabelled too":
            return self.answers(self.study.tuned(self.study.encoder(), train, seed)), ""
        alone = recipe.model_copy(update={"unlabelled_batch": 0})
        best: tuple[float, Network, float] | None = None
        for rate in self.config.learning_rates:
            network = self.trained(option, train, alone.model_copy(update={"learning_rate": rate}), seed)
            with torch.no_grad():
                logits = network.head(network.encoder(val.images).float())
            found = accuracy(logits.argmax(dim=1), val.labels)
            if best is None or found > best[0]:
                best = found, network, rate
        assert best is not None
        return self.answers(best[1]), f"learning rate {best[2]:g}"

    def trained(self, option: Option, train: Labelled, recipe: FinetuneConfig, seed: int) -> Network:
        """A network trained on labelled images alone."""
        encoder, task = self.study.encoder(), self.study.task
        with track(option, total=recipe.images(), unit="images") as bar:
            if option == "all layers":
                return fine_tune(encoder, train, task.images, recipe, seed, task.precision, bar)
            return tune_last_layers(encoder, train, recipe, seed, task.precision, bar)

    def answers(self, network: Network) -> NDArray[np.int64]:
        """What a network says of the test images."""
        classifier = as_classifier(self.study.task, network, self.study.data.classes)
        found: NDArray[np.int64] = classifier.predict_probabilities(self.study.test).argmax(axis=1)
        return found

    def embedded(self, option: Option, train: Labelled, val: Labelled) -> tuple[NDArray[np.int64], str]:
        """Embed once, then fit a classifier of vectors."""
        encoder, task = self.study.encoder(), self.study.task
        with torch.no_grad():
            known, held_out = (
                torch.cat([encoder(chunk).float() for chunk in part.images.split(512)]) for part in (train, val)
            )
        mean, std = spread(known)
        queries = torch.cat(list(embed_batches(encoder, self.study.test, task.image_size, task.precision)))
        fit = Split((known - mean) / std, train.labels)
        choose = Split((held_out - mean) / std, val.labels)
        ways: dict[str, Callable[..., tuple[Tensor, str]]] = {
            "embed, logistic regression": partial(logistic, penalties=self.config.penalties),
            "embed, kNN": partial(nearest, neighbours=self.config.neighbours),
            "embed, gradient boosting": partial(boosted, rounds=self.config.rounds, depths=self.config.depths),
        }
        predicted, choice = ways[option](fit, choose, (queries - mean) / std, train.classes)
        return predicted.cpu().numpy().astype(np.int64), choice


def logistic(
    train: Split, val: Split, queries: Tensor, classes: int, penalties: tuple[float, ...]
) -> tuple[Tensor, str]:
    """Multinomial logistic regression; its penalty is cross-validated on the training labels: ``val`` is left aside."""
    penalty = cross_validate(train, classes, penalties, min(5, len(train.labels)), max_iterations=100)
    linear = fit_linear(train, classes, penalty, max_iterations=100)
    predicted: Tensor = linear(queries).argmax(dim=1)
    return predicted, f"penalty {penalty:g}"


def nearest(train: Split, val: Split, queries: Tensor, classes: int, neighbours: tuple[int, ...]) -> tuple[Tensor, str]:
    """Weighted nearest neighbours; their number is chosen on the validation labels."""
    possible = [k for k in neighbours if k <= len(train.labels)] or [len(train.labels)]
    found = [accuracy(knn(train, val.features, k, classes, KNN_TEMPERATURE), val.labels) for k in possible]
    best = possible[int(np.argmax(found))]
    return knn(train, queries, best, classes, KNN_TEMPERATURE), f"{best} neighbours"


def boosted(
    train: Split, val: Split, queries: Tensor, classes: int, rounds: tuple[int, ...], depths: tuple[int, ...]
) -> tuple[Tensor, str]:
    """Gradient-boosted trees; their number and depth are chosen on the validation labels."""
    import xgboost

    known = xgboost.DMatrix(train.features.cpu().numpy(), train.labels.cpu().numpy())
    held_out, asked = (xgboost.DMatrix(features.cpu().numpy()) for features in (val.features, queries))
    fixed = {"objective": "multi:softprob", "num_class": classes, "eta": 0.1, "tree_method": "hist", "seed": 0}
    best: tuple[float, Tensor, str] | None = None
    for depth in depths:
        for trees in rounds:
            model = xgboost.train(fixed | {"max_depth": depth, "nthread": torch.get_num_threads()}, known, trees)
            answers, predicted = (torch.from_numpy(model.predict(d).argmax(axis=1)) for d in (held_out, asked))
            found = accuracy(answers, val.labels.cpu())
            if best is None or found > best[0]:
                best = found, predicted, f"{trees} trees of depth {depth}"
    assert best is not None
    return best[1], best[2]
