"""Self-training: label a little, predict the rest, train again on what was predicted with confidence.

The classifier's own answers become labels (Lee 2013, Pseudo-label), here round by round with a fresh network each, so
that a round's mistakes are learned only if the next network is as sure of them. A baseline for the label-efficiency
study: it uses the same images as contrastive pretraining, and no representation.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evergreen.config import Config
from evergreen.images.augment import to_float
from evergreen.images.encoders import Encoder, EncoderConfig, forward_flops
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.mixture import Images
from evergreen.images.supervised import SupervisedConfig, train_supervised
from evergreen.images.training_parts import PASSES, Labelled, Network
from evergreen.progress import Progress
from evergreen.training.precision import Resolved, autocast


class SelfTrainingConfig(Config):
    """How often, and how sure a prediction must be.

    ``confidence`` is in units of the most that training aims at: with label smoothing s and C classes a perfect answer
    has the probability 1 − s + s / C, not 1.
    """

    rounds: int = Field(default=2, gt=0)
    confidence: float = Field(default=0.95, gt=0, le=1)

    def threshold(self, label_smoothing: float, classes: int) -> float:
        """The probability from which on a prediction counts as a label."""
        return self.confidence * (1 - label_smoothing + label_smoothing / classes)

    def steps(
        self, encoder: Encoder, flops: float, unlabelled: int, batch_size: int, view_size: int, image_size: int
    ) -> int:
        """Steps of each training so that all of them and the predictions between them cost ``flops``; at least 1."""
        predictions = self.rounds * unlabelled * forward_flops(encoder, image_size)
        step = PASSES * batch_size * forward_flops(encoder, view_size)
        return max(1, int((flops - predictions) / (step * (self.rounds + 1))))


@dataclass(frozen=True)
class Round:
    """What a round's network predicted: how many of the unlabelled images it was sure of, the share of each class."""

    accepted: int
    class_shares: tuple[float, ...]


@dataclass
class SelfTrained:
    """The last network, and the rounds that led to it."""

    network: Network
    rounds: list[Round] = field(default_factory=list)


class WithPredicted(Labelled):
    """Labelled images followed by others under predicted labels; those stay where they are until a batch asks.

    Args:
        labelled: the known labels.
        unlabelled: the others.
        rows: (M,) which of them.
        labels: (M,) their predicted class numbers.
    """

    def __init__(self, labelled: Labelled, unlabelled: Images, rows: NDArray[np.int64], labels: Tensor) -> None:
        every = torch.cat([labelled.labels, labels.to(labelled.labels.device)])
        super().__init__(labelled.images, every, labelled.classes)
        self.unlabelled = unlabelled
        self.unlabelled_rows = rows

    def rows(self, rows: Tensor) -> Labelled:
        known = rows < len(self.images)
        pixels = self.images.new_empty((len(rows), *self.images.shape[1:]))
        pixels[known] = self.images[rows[known]]
        others = self.unlabelled_rows[(rows[~known] - len(self.images)).cpu().numpy()]
        pixels[~known] = to_float(self.unlabelled.take(others).to(self.images.device))
        return Labelled(pixels, self.labels[rows], self.classes)


def self_train(
    encoder_config: EncoderConfig,
    labelled: Labelled,
    unlabelled: Images,
    steps: int,
    rate: float,
    config: SelfTrainingConfig,
    supervised: SupervisedConfig,
    recipe: FinetuneConfig,
    seed: int,
    precision: Resolved,
    progress: Progress,
) -> SelfTrained:
    """Train from scratch on the labels, then ``rounds`` times on them and on what the last network is sure of.

    It ends early when a network is sure of nothing: another training would only be the first one again.

    Args:
        encoder_config: of every network.
        labelled: the known labels.
        unlabelled: images of the same size without labels; may include the labelled ones.
        steps: of each training; there are ``rounds`` + 1.
        rate: the learning rate's peak.
        config: rounds and confidence.
        supervised: batch size, label smoothing and moving average, as for the supervised rival.
        recipe: augmentation, view size and weight decay, as for the supervised rival.
        seed: of weights, batches and views; the n-th training uses ``seed`` + n.
        precision: of the forward passes.
        progress: told of every trained image.
    """
    threshold = config.threshold(supervised.label_smoothing, labelled.classes)
    out = SelfTrained(
        train_supervised(
            encoder_config, labelled, unlabelled, steps, rate, supervised, recipe, seed, precision, progress
        )
    )
    for number in range(1, config.rounds + 1):
        rows, labels = confident(out.network, unlabelled, threshold, precision, labelled.images.device)
        counts = np.bincount(labels.numpy(), minlength=labelled.classes)
        out.rounds.append(Round(len(rows), tuple((counts / max(1, len(rows))).tolist())))
        if not len(rows):
            break
        grown = WithPredicted(labelled, unlabelled, rows, labels)
        out.network = train_supervised(
            encoder_config, grown, unlabelled, steps, rate, supervised, recipe, seed + number, precision, progress
        )
    return out


def confident(
    network: Network,
    images: Images,
    threshold: float,
    precision: Resolved,
    device: torch.device,
    batch_size: int = 512,
) -> tuple[NDArray[np.int64], Tensor]:
    """The images whose most likely class has at least the probability ``threshold``.

    Returns:
        Their row numbers (M,), ascending, and those classes (M,) int64 on the processor.
    """
    network.encoder.eval()
    rows, labels = [np.empty(0, dtype=np.int64)], [torch.empty(0, dtype=torch.int64)]
    for start in range(0, len(images), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(images)))
        with torch.no_grad(), autocast(precision, device):
            features = network.encoder(to_float(images.take(numbers).to(device)))
            best, label = network.head(features).float().softmax(dim=1).max(dim=1)
        sure = (best >= threshold).cpu()
        rows.append(numbers[sure.numpy()])
        labels.append(label.cpu()[sure])
    return np.concatenate(rows), torch.cat(labels)
