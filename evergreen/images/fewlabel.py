"""Training a classifier from few labels: fine-tuning with the unlabelled rest, and from scratch without it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from evergreen.config import Config
from evergreen.images.augment import DRAWS, AugmentConfig, augment, to_float
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder, forward_flops
from evergreen.images.linear import Split, cross_validate, fit_linear, spread
from evergreen.images.mixture import Images
from evergreen.progress import Progress
from evergreen.training.moving_average import capped_decay, moving_average
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Resolved, autocast
from evergreen.training.schedules import warmup_cosine

PASSES = 3
"""A training pass costs three forward passes: one forward, two of the same size backward."""


class FinetuneConfig(Config):
    """How the pretrained encoder becomes a classifier.

    The loss is the cross entropy of a few labelled images plus that of many unlabelled ones, whose targets an
    exponential moving average of the network gives on a weaker view: consistency training as in FixMatch (Sohn et al.
    2020) with the teacher of Mean Teacher (Tarvainen and Valpola 2017), sharpening and distribution alignment of
    ReMixMatch (Berthelot et al. 2020). Targets are soft, so there is no confidence threshold to choose.
    """

    steps: int = Field(gt=0)
    labelled_batch: int = Field(default=64, gt=0)
    unlabelled_batch: int = Field(default=192, ge=0)
    view_size: int = Field(default=24, ge=8)
    learning_rate: float = Field(default=0.03, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_steps: int = Field(default=50, ge=0)
    unlabelled_weight: float = Field(default=1.0, ge=0)
    unlabelled_rampup_steps: int = Field(default=100, ge=1)
    sharpening: float = Field(default=0.5, gt=0, le=1)
    average_decay: float = Field(default=0.99, ge=0, lt=1)
    labelled_passes: int = Field(
        default=30, ge=0, description="each label is seen so often, if need be in place of unlabelled images"
    )
    head_l2: tuple[float, ...] = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
    strong: AugmentConfig = AugmentConfig()
    weak: AugmentConfig = AugmentConfig(crop_scale=(0.7, 1.0), jitter_probability=0.0, grey_probability=0.0)

    def flops(self, encoder: Encoder) -> float:
        """Cost of one fine-tuning: trained images three passes each, the teacher's one."""
        return self.steps * forward_flops(encoder, self.view_size) * self._forward_passes()

    def images(self) -> int:
        """Images that are trained on."""
        return self.steps * (self.labelled_batch + self.unlabelled_batch)

    def for_labels(self, count: int) -> Self:
        """The recipe for so many labels, at no higher cost: the more there are, the less the unlabelled images say.

        The learning rate grows with the square root of the labelled batch.
        """
        wanted = math.ceil(self.labelled_passes * count / self.steps)
        if wanted <= self.labelled_batch or not self.unlabelled_batch:
            return self
        room = self._forward_passes()  # of a step
        labelled = min(wanted, room // PASSES)
        unlabelled = (room - PASSES * labelled) // (PASSES + 1)
        rate = self.learning_rate * math.sqrt(labelled / self.labelled_batch)
        batches = {"labelled_batch": labelled, "unlabelled_batch": unlabelled}
        return self.model_copy(update={**batches, "learning_rate": rate})

    def _forward_passes(self) -> int:
        """Of a step, counted in images."""
        return PASSES * (self.labelled_batch + self.unlabelled_batch) + self.unlabelled_batch


class SupervisedConfig(Config):
    """The rival: the same network from scratch on the labelled images alone, with the same augmentation.

    Its learning rate is chosen on a fifth of the labels by short runs; then all labels are used, for as many steps as
    pretraining and fine-tuning cost together in images × FLOPs.
    """

    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    search_steps: int = Field(default=200, gt=0)
    batch_size: int = Field(default=128, gt=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    warmup_steps: int = Field(default=50, ge=0)
    average_decay: float = Field(default=0.99, ge=0, lt=1)


@dataclass
class Labelled:
    """The labelled images, on the training device: float (N, 3, H, W) in [0, 1], class numbers (N,), class count."""

    images: Tensor
    labels: Tensor
    classes: int

    def rows(self, rows: Tensor) -> "Labelled":
        return Labelled(self.images[rows], self.labels[rows], self.classes)


@dataclass
class Network:
    """Encoder and head that were trained together."""

    encoder: Encoder
    head: nn.Linear


class Student(nn.Module):
    """Encoder and head as one module."""

    def __init__(self, encoder: Encoder, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images))
        return logits


def linear_start(
    encoder: Encoder, labelled: Labelled, penalties: tuple[float, ...], precision: Resolved, folds: int = 5
) -> nn.Linear:
    """A linear head on the frozen features, its penalty cross-validated on the labelled images themselves."""
    encoder.eval()
    with torch.no_grad(), autocast(precision, labelled.images.device):
        features = torch.cat([encoder(chunk).float() for chunk in labelled.images.split(512)])
    mean, std = spread(features)
    data = Split((features - mean) / std, labelled.labels)
    folds = min(folds, len(labelled.labels))
    l2 = cross_validate(data, labelled.classes, penalties, folds, max_iterations=100)
    linear = fit_linear(data, labelled.classes, l2, max_iterations=100)
    with torch.no_grad():  # the standardisation moves into the weights
        linear.weight.div_(std)
        linear.bias.sub_(linear.weight @ mean)
    return linear.requires_grad_(True)


def fine_tune(
    encoder: Encoder,
    labelled: Labelled,
    unlabelled: Images,
    config: FinetuneConfig,
    seed: int,
    precision: Resolved,
    progress: Progress,
    head: nn.Linear | None = None,
) -> Network:
    """Fine-tune all layers; returns the moving average of the weights.

    Args:
        encoder: pretrained; it is changed.
        labelled: the known labels.
        unlabelled: images without labels, may include the labelled ones.
        config: the recipe.
        seed: of batches and views.
        precision: of the forward passes.
        progress: told of every trained image.
        head: where the head starts; by default the best linear classifier on the encoder's features as they are.
    """
    torch.manual_seed(seed)
    device = labelled.images.device
    head = head or linear_start(encoder, labelled, config.head_l2, precision)
    student = Student(encoder, head).to(device)
    teacher = moving_average(student, config.average_decay)
    optimiser = sgd([student], config.momentum, config.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    prior = functional.one_hot(labelled.labels, labelled.classes).float().mean(dim=0)
    guessed = prior.clone()  # running mean of the teacher's answers
    batches = zip(
        draw_batches(len(labelled.labels), config.labelled_batch, generator),
        draw_batches(len(unlabelled), config.unlabelled_batch, generator),
        strict=False,
    )
    for step, (known, rest) in zip(range(config.steps), batches, strict=False):
        set_learning_rate(optimiser, warmup_cosine(step, config.steps, config.learning_rate, config.warmup_steps))
        image = labelled.images[known.to(device)]
        views = [view(image, config.strong, config.view_size, generator)]
        targets = None
        if config.unlabelled_batch:
            plain = to_float(unlabelled.take(rest.numpy()).to(device))
            weak = view(plain, config.weak, config.view_size, generator)
            targets, guessed = pseudo_labels(teacher, weak, prior, guessed, config.sharpening, precision)
            views.append(view(plain, config.strong, config.view_size, generator))
        student.train()
        with autocast(precision, device):
            logits = student(torch.cat(views)).float()
        loss = functional.cross_entropy(logits[: len(known)], labelled.labels[known.to(device)])
        if targets is not None:
            weight = config.unlabelled_weight * min(1.0, (step + 1) / config.unlabelled_rampup_steps)
            loss = loss + weight * functional.cross_entropy(logits[len(known) :], targets)
        descend(optimiser, loss)
        teacher.update_parameters(student)
        progress.advance(len(logits))
    return averaged(teacher)


def pseudo_labels(
    teacher: nn.Module, views: Tensor, prior: Tensor, guessed: Tensor, sharpening: float, precision: Resolved
) -> tuple[Tensor, Tensor]:
    """The teacher's answers as soft targets.

    They are multiplied by prior / guessed, so that no class takes over (distribution alignment), and raised to the
    power 1 / sharpening.

    Args:
        teacher: in eval mode while it answers.
        views: (N, 3, S, S).
        prior: (C,) class shares among the labelled images.
        guessed: (C,) running mean of its answers.
        sharpening: 1 leaves them as they are, towards 0 only the best class remains.
        precision: of the forward pass.

    Returns:
        Targets (N, C), rows summing to 1, and the new running mean.
    """
    teacher.eval()
    with torch.no_grad(), autocast(precision, views.device):
        answers = teacher(views).float().softmax(dim=1)
    guessed = 0.99 * guessed + 0.01 * answers.mean(dim=0)
    aligned = answers * (prior / guessed.clamp(min=1e-6))
    sharp = (aligned / aligned.sum(dim=1, keepdim=True)) ** (1 / sharpening)
    return sharp / sharp.sum(dim=1, keepdim=True), guessed


def train_supervised(
    encoder_config: EncoderConfig,
    labelled: Labelled,
    steps: int,
    rate: float,
    config: SupervisedConfig,
    recipe: FinetuneConfig,
    seed: int,
    precision: Resolved,
    progress: Progress,
) -> Network:
    """Train the same network from fresh weights on labelled images alone, with ``recipe``'s augmentation and decay.

    Returns the moving average of the weights. However long ``config`` lets it remember, a short training ends without
    its fresh weights.
    """
    torch.manual_seed(seed)
    device = labelled.images.device
    encoder = build_encoder(encoder_config)
    student = Student(encoder, nn.Linear(encoder.features, labelled.classes)).to(device)
    average = moving_average(student, capped_decay(config.average_decay, steps))
    optimiser = sgd([student], recipe.momentum, recipe.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    batches = draw_batches(len(labelled.labels), config.batch_size, generator)
    student.train()
    for step, rows in zip(range(steps), batches, strict=False):
        set_learning_rate(optimiser, warmup_cosine(step, steps, rate, min(config.warmup_steps, steps // 5)))
        batch = labelled.rows(rows.to(device))
        with autocast(precision, device):
            logits = student(view(batch.images, recipe.strong, recipe.view_size, generator)).float()
        descend(optimiser, functional.cross_entropy(logits, batch.labels, label_smoothing=config.label_smoothing))
        average.update_parameters(student)
        progress.advance(len(rows))
    return averaged(average)


def equal_compute_steps(encoder: Encoder, flops: float, config: SupervisedConfig, view_size: int) -> int:
    """How many supervised steps cost ``flops``."""
    return max(1, math.floor(flops / (PASSES * config.batch_size * forward_flops(encoder, view_size))))


def draw_batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of row numbers: each pass over the ``count`` rows is a new order, batches run across passes."""
    rest = torch.empty(0, dtype=torch.long)
    while True:
        while len(rest) < size:
            rest = torch.cat([rest, torch.randperm(count, generator=generator)])
        yield rest[:size]
        rest = rest[size:]


def view(images: Tensor, config: AugmentConfig, size: int, generator: torch.Generator) -> Tensor:
    """One random view of each image, (N, 3, size, size)."""
    draws = torch.rand((len(images), DRAWS), generator=generator).to(images.device)
    return augment(images, draws, config, size)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of ``loss``."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def averaged(teacher: AveragedModel) -> Network:
    """The averaged network, ready to answer."""
    student = teacher.module.eval()
    assert isinstance(student, Student)
    return Network(student.encoder, student.head)
