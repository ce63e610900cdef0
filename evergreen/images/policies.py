"""What can be done to an image classifier when its stream has changed. One signature for all.

=========  ====================================================================================================
none       nothing: what the stream costs if nobody acts
head       batch-norm statistics of both regimes and a new linear head; no other weight of the encoder changes
finetune   all layers, with consistency on the unlabelled images of both regimes
retrain    SimCLR from fresh weights on everything, then few-label training: the most expensive
replay     SimCLR goes on with new and replayed images, distilled from the old encoder, then few-label training
=========  ====================================================================================================
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from evergreen.config import Config
from evergreen.images.augment import to_float
from evergreen.images.bundle import Classifier
from evergreen.images.continued import ContinuedConfig, continue_pretraining
from evergreen.images.encoders import Encoder, forward_flops
from evergreen.images.fewlabel import FinetuneConfig, fine_tune
from evergreen.images.imageset import ImageSet
from evergreen.images.linear_start import linear_start
from evergreen.images.mixture import Mixture, balanced
from evergreen.images.normalisation import BATCH_SIZE, BATCHES, recalibrate
from evergreen.images.simclr import SimCLRConfig, pretrain
from evergreen.images.training_parts import PASSES, Labelled
from evergreen.progress import track


class PolicyConfig(Config):
    """How the policies train.

    Attributes:
        recipe: few-label training of ``finetune``, ``retrain`` and ``replay``.
        new_share: share of the new regime in its batches, labelled and unlabelled; the rest is replayed.
        continued: how ``replay`` goes on with SimCLR.
        min_class_labels: known labels from which on a class that the champion does not know is learned.
    """

    recipe: FinetuneConfig = FinetuneConfig(steps=400, labelled_batch=32, unlabelled_batch=128)
    new_share: float = Field(0.5, gt=0, lt=1)
    continued: ContinuedConfig = ContinuedConfig()
    min_class_labels: int = Field(5, ge=1)


@dataclass(frozen=True)
class Material:
    """What a policy works with.

    Attributes:
        champion: the model in service; policies leave it as it is.
        images: all images up to now that a model may learn from.
        new: (n,) which of them belong to the new regime.
        config: how policies train.
        pretraining: how the encoder was pretrained.
        seed: of everything random.
    """

    champion: Classifier
    images: ImageSet
    new: NDArray[np.bool_]
    config: PolicyConfig
    pretraining: SimCLRConfig
    seed: int

    @property
    def classes(self) -> list[str]:
        """The champion's classes, and those of the stream that have enough known labels to be learned."""
        counts = self.images.index["label"].value_counts()
        learned = counts[counts >= self.config.min_class_labels].index
        return sorted({*self.champion.classes, *(str(name) for name in learned)})

    def labelled_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the old and of the new regime whose label is known and learned."""
        known = self.images.index["label"].isin(self.classes).to_numpy()
        return np.flatnonzero(known & ~self.new), np.flatnonzero(known & self.new)

    def labelled(self, rows: NDArray[np.int64]) -> Labelled:
        """Images and class numbers of some rows, on the champion's device."""
        names = self.images.index["label"].to_numpy()[rows].astype(str)
        numbers = torch.from_numpy(np.searchsorted(self.classes, names))
        device = self.champion.device
        return Labelled(to_float(self.images.take(rows).to(device)), numbers.to(device), len(self.classes))


Policy = Callable[[Material], tuple[Classifier, float]]
"""Makes a challenger; also returns its cost in floating-point operations."""


def none(material: Material) -> tuple[Classifier, float]:
    """The champion itself."""
    return material.champion, 0.0


def head(material: Material) -> tuple[Classifier, float]:
    """Batch-norm statistics measured on both regimes, and a linear head from the known labels of both."""
    encoder = _recalibrated(material, copy.deepcopy(material.champion.encoder))
    return _classifier(material, encoder, _linear(material, encoder)), _flops_of_start(material, encoder)


def finetune(material: Material) -> tuple[Classifier, float]:
    """A new head first, then all layers, from the champion's encoder (Kumar et al. 2022: a bad head spoils features).

    The champion's own head would be a bad teacher for the new regime's unlabelled images.
    """
    return _few_label_training(material, copy.deepcopy(material.champion.encoder))


def retrain(material: Material) -> tuple[Classifier, float]:
    """SimCLR from fresh weights on all images of both regimes, then few-label training."""
    recipe, images = material.pretraining, material.images
    mean, std = images.channel_statistics()
    encoder_config = material.champion.encoder_config.model_copy(update={"mean": mean, "std": std})
    recipe = recipe.model_copy(update={"encoder": encoder_config})
    pairs = recipe.epochs * math.prod(recipe.batches(len(images)))
    with track("pretrain", total=pairs, unit="pairs") as bar:
        encoder = pretrain(images, recipe, material.seed, material.champion.device, bar).encoder
    per_epoch = math.prod(recipe.batches(len(images)))
    views = sum(forward_flops(encoder, recipe.view_size(epoch)) for epoch in range(recipe.epochs))
    challenger, flops = _few_label_training(material, encoder)
    challenger.encoder_config = encoder_config
    return challenger, flops + PASSES * 2 * per_epoch * views


def replay(material: Material) -> tuple[Classifier, float]:
    """SimCLR goes on with the new regime, replay and distillation; then few-label training."""
    config = material.config.continued
    encoder = copy.deepcopy(material.champion.encoder)
    rows = np.arange(len(material.images))
    with track("continue", total=config.steps * config.batch_size, unit="pairs") as bar:
        encoder = continue_pretraining(
            encoder,
            material.images,
            rows[~material.new],
            rows[material.new],
            config,
            material.pretraining,
            material.seed,
            material.champion.precision,
            bar,
            remembered=material.champion.encoder,
        )
    views = 2 * config.steps * config.batch_size
    passes = PASSES * views + (1 - config.new_share) * views * (config.distillation > 0)
    challenger, flops = _few_label_training(material, encoder)
    return challenger, flops + passes * forward_flops(encoder, config.view_size)


POLICIES: dict[str, Policy] = {
    "none": none,
    "head": head,
    "finetune": finetune,
    "retrain": retrain,
    "replay": replay,
}


def _recalibrated(material: Material, encoder: Encoder) -> Encoder:
    """The encoder with batch-norm statistics of both regimes, in the proportion of the training batches."""
    rows = balanced(np.flatnonzero(~material.new), np.flatnonzero(material.new), material.config.new_share)
    return recalibrate(encoder, material.images, rows, material.champion.precision, material.seed)


def _flops_of_start(material: Material, encoder: Encoder) -> float:
    """Cost of measuring the statistics and of embedding the labelled images for the head."""
    passes = BATCHES * BATCH_SIZE + sum(len(side) for side in material.labelled_rows())
    return passes * forward_flops(encoder, material.images.size)


def _linear(material: Material, encoder: Encoder) -> nn.Linear:
    """The head fitted to each known label once: repeated ones would be on both sides of the cross-validation."""
    rows = np.concatenate(material.labelled_rows())
    return linear_start(encoder, material.labelled(rows), material.config.recipe.head_l2, material.champion.precision)


def _few_label_training(material: Material, encoder: Encoder) -> tuple[Classifier, float]:
    recipe, share = material.config.recipe, material.config.new_share
    old, new = material.labelled_rows()
    rows = balanced(np.arange(len(old)), len(old) + np.arange(len(new)), share)
    unlabelled = Mixture(material.images, balanced(np.flatnonzero(~material.new), np.flatnonzero(material.new), share))
    with track("fine-tune", total=recipe.images(), unit="images") as bar:
        network = fine_tune(
            encoder,
            material.labelled(np.concatenate([old, new])),
            unlabelled,
            recipe,
            material.seed,
            material.champion.precision,
            bar,
            torch.from_numpy(rows),
        )
    return _classifier(material, network.encoder, network.head), recipe.flops(
        network.encoder, material.images.size, len(old) + len(new)
    )


def _classifier(material: Material, encoder: Encoder, linear: nn.Linear) -> Classifier:
    champion = material.champion
    return Classifier(
        encoder.eval(),
        linear.eval(),
        champion.encoder_config,
        material.classes,
        champion.image_size,
        champion.precision,
    )
