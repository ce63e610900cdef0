"""Distillation: the paper's sum, and a student that comes to agree with its teacher."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from evergreen.images.augment import to_float
from evergreen.images.distil import DistilConfig, distil, distillation_cross_entropy, fresh_student
from evergreen.images.encoders import EncoderConfig
from evergreen.images.training_parts import Network
from evergreen.progress import Silent


def test_the_loss_is_the_papers_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    for temperature in (0.5, 1.0, 4.0):
        total = 0.0
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
            p_teacher = [math.exp(v / temperature) for v in t]
            p_student = [math.exp(v / temperature) for v in s]
            for a, b in zip(p_teacher, p_student, strict=True):
                total -= a / sum(p_teacher) * math.log(b / sum(p_student))
        found = distillation_cross_entropy(student, teacher, temperature).item()
        assert found == pytest.approx(total / 5, rel=1e-5)


class Colours:
    """Pictures whose class is their hue."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        base = np.eye(3)[rng.integers(0, 3, count)] * 120 + 60
        self.pictures = np.clip(base[:, None, None] + rng.normal(0, 20, (count, 16, 16, 3)), 0, 255).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.pictures[rows])


class ByHue(nn.Module):
    """A teacher's encoder that knows: the mean colour, sharpened."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * 20


def answers(network: Network, images: Colours) -> torch.Tensor:
    with torch.no_grad():
        return network.head(network.encoder(to_float(images.take(np.arange(len(images)))))).argmax(dim=1)


def test_the_student_agrees_more_with_its_teacher_afterwards() -> None:
    images = Colours(60)
    head = nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
    teacher = Network(ByHue(), head)  # type: ignore[arg-type]
    student = fresh_student(EncoderConfig(width=4), 3, seed=1)
    taught = answers(teacher, images)
    student.encoder.eval()
    before = (answers(student, images) == taught).float().mean()
    config = DistilConfig(steps=40, batch_size=20, view_size=16)
    learned = distil(teacher, student, images, config, 0, torch.device("cpu"), "fp32", Silent())
    after = (answers(learned, images) == taught).float().mean()
    assert after > max(before, 0.9)
    assert torch.equal(head.weight, torch.eye(3))
    assert not learned.encoder.training


def test_distillation_repeats_itself() -> None:
    images, config = Colours(20), DistilConfig(steps=3, batch_size=8, view_size=8)
    states = []
    for _ in range(2):
        teacher = fresh_student(EncoderConfig(width=4), 3, seed=2)
        student = fresh_student(EncoderConfig(width=4), 3, seed=1)
        learned = distil(teacher, student, images, config, 0, torch.device("cpu"), "fp32", Silent())
        states.append(list(learned.encoder.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
