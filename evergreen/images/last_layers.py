"""Training the last layers of a pretrained encoder: the others stay as they are, batch-norm statistics included."""

import torch
from torch import nn
from torch.nn import functional

from evergreen.images.encoders import Encoder
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.linear_start import linear_start
from evergreen.images.training_parts import Labelled, Network, Student, averaged, descend, draw_batches, view
from evergreen.progress import Progress
from evergreen.training.moving_average import moving_average
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Resolved, autocast
from evergreen.training.schedules import warmup_cosine


def last_stage(encoder: Encoder) -> nn.Module:
    """The last part of an encoder's body that has parameters: a stage of a ResNet, the last block of others."""
    parts = [part for part in encoder.body.children() if any(True for _ in part.parameters())]
    return parts[-1]


def tune_last_layers(
    encoder: Encoder, labelled: Labelled, config: FinetuneConfig, seed: int, precision: Resolved, progress: Progress
) -> Network:
    """Train the last stage of the encoder and a linear head on labelled images; returns the moving average.

    Args:
        encoder: pretrained; its last stage is changed, the rest is not.
        labelled: the known labels.
        config: steps, batch, views and rates; what it says of unlabelled images is left aside.
        seed: of batches and views.
        precision: of the forward passes.
        progress: told of every trained image.
    """
    torch.manual_seed(seed)
    device = labelled.images.device
    head = linear_start(encoder, labelled, config.head_l2, precision)
    student = Student(encoder, head).to(device).eval()
    stage = last_stage(encoder)
    encoder.requires_grad_(False)
    stage.requires_grad_(True)
    average = moving_average(student, config.average_decay)
    optimiser = sgd([stage, head], config.momentum, config.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    batches = draw_batches(len(labelled.labels), config.labelled_batch, generator)
    stage.train()
    for step, rows in zip(range(config.steps), batches, strict=False):
        set_learning_rate(optimiser, warmup_cosine(step, config.steps, config.learning_rate, config.warmup_steps))
        batch = labelled.rows(rows.to(device))
        with autocast(precision, device):
            logits = student(view(batch.images, config.strong, config.view_size, generator)).float()
        descend(optimiser, functional.cross_entropy(logits, batch.labels))
        average.update_parameters(student)
        progress.advance(len(rows))
    return averaged(average)
