"""Fine-tuning: few labels and the unlabelled rest make a classifier of a pretrained encoder."""

import math
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.images.augment import AugmentConfig, to_float
from evergreen.images.encoders import Encoder, forward_flops
from evergreen.images.linear_start import start_on_views, views_each
from evergreen.images.mixture import Images
from evergreen.images.normalisation import MEASURED, measure_statistics, normalised, random_batches
from evergreen.images.training_parts import (
    PASSES,
    Labelled,
    Network,
    Student,
    averaged,
    descend,
    draw_batches,
    view,
)
from evergreen.progress import Progress
from evergreen.training.moving_average import moving_average
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Resolved, autocast
from evergreen.training.schedules import warmup_cosine


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

    def flops(self, encoder: Encoder, image_size: int, labels: int) -> float:
        """Cost of one fine-tuning: trained images three passes each; the teacher's, the head's and measured ones one.

        Where there are fewer images to measure than usual, it is a little less.

        Args:
            encoder: what is fine-tuned.
            image_size: side of whole images in pixels.
            labels: how many are known.
        """
        measured = MEASURED if normalised(encoder) else 0
        on_views = self.steps * self._forward_passes() + measured + labels * views_each(labels)
        return on_views * forward_flops(encoder, self.view_size) + measured * forward_flops(encoder, image_size)

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


def fine_tune(
    encoder: Encoder,
    labelled: Labelled,
    unlabelled: Images,
    config: FinetuneConfig,
    seed: int,
    precision: Resolved,
    progress: Progress,
    rows: Tensor | None = None,
) -> Network:
    """Fine-tune all layers; returns the moving average of the weights.

    The head starts as the best linear classifier on the features of views, and the batch-norm statistics of the result
    are those of whole images, which is what it will be asked about.

    Args:
        encoder: pretrained; it is changed.
        labelled: the known labels.
        unlabelled: images without labels, may include the labelled ones.
        config: the recipe.
        seed: of batches and views.
        precision: of the forward passes.
        progress: told of every trained image.
        rows: numbers of labelled images that batches are drawn from, which may repeat; all once by default.
    """
    torch.manual_seed(seed)
    device = labelled.images.device
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(labelled.labels)) if rows is None else rows
    head = start_on_views(
        encoder,
        labelled,
        unlabelled,
        augment=config.strong,
        size=config.view_size,
        penalties=config.head_l2,
        precision=precision,
        generator=generator,
    )
    student = Student(encoder, head).to(device)
    teacher = moving_average(student, config.average_decay)
    optimiser = sgd([student], config.momentum, config.weight_decay)
    prior = functional.one_hot(labelled.labels[rows.to(device)], labelled.classes).float().mean(dim=0)
    guessed = prior.clone()  # running mean of the teacher's answers
    batches = zip(
        draw_batches(len(rows), config.labelled_batch, generator),
        draw_batches(len(unlabelled), config.unlabelled_batch, generator),
        strict=False,
    )
    for step, (turn, rest) in zip(range(config.steps), batches, strict=False):
        set_learning_rate(optimiser, warmup_cosine(step, config.steps, config.learning_rate, config.warmup_steps))
        known = labelled.rows(rows[turn].to(device))
        views = [view(known.images, config.strong, config.view_size, generator)]
        targets = None
        if config.unlabelled_batch:
            plain = to_float(unlabelled.take(rest.numpy()).to(device))
            weak = view(plain, config.weak, config.view_size, generator)
            targets, guessed = pseudo_labels(teacher, weak, prior, guessed, config.sharpening, precision)
            views.append(view(plain, config.strong, config.view_size, generator))
        student.train()
        with autocast(precision, device):
            logits = student(torch.cat(views)).float()
        loss = functional.cross_entropy(logits[: len(turn)], known.labels)
        if targets is not None:
            weight = config.unlabelled_weight * min(1.0, (step + 1) / config.unlabelled_rampup_steps)
            loss = loss + weight * functional.cross_entropy(logits[len(turn) :], targets)
        descend(optimiser, loss)
        teacher.update_parameters(student)
        progress.advance(len(logits))
    network = averaged(teacher)
    measure_statistics(network.encoder, random_batches(unlabelled, generator, device), precision)
    return network


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
