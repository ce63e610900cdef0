"""What every training of an image classifier is made of: labelled images, a network, batches, views, a step."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from evergreen.images.augment import DRAWS, AugmentConfig, augment
from evergreen.images.encoders import Encoder

PASSES = 3
"""A training pass costs three forward passes: one forward, two of the same size backward."""


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
