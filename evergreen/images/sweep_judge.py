"""What a trial of a sweep is worth: precision, recall and F1 on validation labels, of one of two classifiers.

Either a linear head on the frozen features, or the whole encoder fine-tuned on the same labels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evergreen.images.augment import to_float
from evergreen.images.bundle import embed_batches
from evergreen.images.encoders import Encoder
from evergreen.images.fewlabel import FinetuneConfig, fine_tune
from evergreen.images.linear import Split, cross_validate, fit_linear, spread
from evergreen.images.scores import classification_scores
from evergreen.images.study_images import StudyImages, subset
from evergreen.images.training_parts import Labelled
from evergreen.progress import Silent
from evergreen.training.moving_average import capped_decay
from evergreen.training.precision import Resolved

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
BATCH, VIEW_SIZE = 32, 24
"""Of fine-tuning: labelled images at a time, and the side of their views in pixels."""
QUARTER = 0.25
"""Of fine-tuning, what its average remembers at most: a trial is short."""


@dataclass(frozen=True)
class Sample:
    """The images of all trials of a sweep; ``classes`` numbers the labels of ``known`` and ``judged`` from 0."""

    pretraining: NDArray[np.int64]
    known: NDArray[np.int64]
    judged: NDArray[np.int64]
    classes: list[str]


def judge_frozen(encoder: Encoder, study: StudyImages, sample: Sample, precision: Resolved) -> dict[str, float]:
    """Scores of a linear head on the frozen features.

    Its penalty is cross-validated on the labels it is fitted to; the validation labels only judge.
    """

    def split(rows: NDArray[np.int64]) -> Split:
        features = features_of(encoder, study, rows, precision)
        return Split(features, torch.from_numpy(study.labels[rows]).to(features.device))

    known, judged = split(sample.known), split(sample.judged)
    mean, std = spread(known.features)
    known = Split((known.features - mean) / std, known.labels)
    penalty = cross_validate(known, len(sample.classes), PENALTIES, folds=3, max_iterations=100)
    linear = fit_linear(known, len(sample.classes), penalty, max_iterations=100)
    predicted = linear((judged.features - mean) / std).argmax(dim=1)
    return macro(judged.labels.cpu().numpy(), predicted.cpu().numpy(), sample.classes)


def judge_tuned(
    encoder: Encoder, study: StudyImages, sample: Sample, precision: Resolved, steps: int, seed: int
) -> dict[str, float]:
    """Scores of the encoder after fine-tuning all its layers on the labels alone; the encoder is changed.

    Args:
        encoder: pretrained, on the device where it is trained.
        study: the images.
        sample: which of them; the validation labels only judge.
        precision: of the forward passes.
        steps: of fine-tuning, of 32 images each.
        seed: of batches and views.
    """
    device = encoder.mean.device
    pixels = to_float(study.images.take(sample.known).to(device))
    labelled = Labelled(pixels, torch.from_numpy(study.labels[sample.known]).to(device), len(sample.classes))
    recipe = FinetuneConfig(
        **{"steps": steps, "labelled_batch": BATCH, "unlabelled_batch": 0, "view_size": VIEW_SIZE},
        **{"warmup_steps": steps // 5, "average_decay": capped_decay(0.99, steps, QUARTER)},
    )
    seen = subset(study.images, sample.pretraining)  # for batch-norm statistics; the judging images stay out of it
    network = fine_tune(encoder, labelled, seen, recipe, seed, precision, Silent())
    with torch.no_grad():
        logits = network.head(features_of(network.encoder, study, sample.judged, precision))
    return macro(study.labels[sample.judged], logits.argmax(dim=1).cpu().numpy(), sample.classes)


def features_of(encoder: Encoder, study: StudyImages, rows: NDArray[np.int64], precision: Resolved) -> Tensor:
    """Features of some images at their own size, float32 (len(rows), D)."""
    return torch.cat(list(embed_batches(encoder, study.images.take(rows).numpy(), study.images.size, precision)))


def macro(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: list[str]) -> dict[str, float]:
    """Precision, recall and F1 as means over the classes, and accuracy."""
    scores = classification_scores(labels, predicted, classes)
    means = {name: float(np.mean([row[name] for row in scores["per_class"]])) for name in ("precision", "recall", "f1")}
    return means | {"accuracy": scores["accuracy"]}
