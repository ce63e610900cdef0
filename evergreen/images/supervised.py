"""The rival of fine-tuning: the same network from scratch, on labelled images alone."""

import math

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder, forward_flops
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.mixture import Images
from evergreen.images.normalisation import measure_statistics, random_batches
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
from evergreen.training.moving_average import capped_decay, moving_average
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Resolved, autocast
from evergreen.training.schedules import warmup_cosine


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


def train_supervised(
    encoder_config: EncoderConfig,
    labelled: Labelled,
    images: Images,
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
    its fresh weights. As after fine-tuning, the batch-norm statistics are those of whole ``images``, which need no
    label.
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
    network = averaged(average)
    measure_statistics(network.encoder, random_batches(images, generator, device), precision)
    return network


def equal_compute_steps(encoder: Encoder, flops: float, config: SupervisedConfig, view_size: int) -> int:
    """How many supervised steps cost ``flops``."""
    return max(1, math.floor(flops / (PASSES * config.batch_size * forward_flops(encoder, view_size))))
