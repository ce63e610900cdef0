"""Self-training: what becomes a label, what the next network sees, what it costs, and that it helps."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evergreen.images.augment import AugmentConfig, to_float
from evergreen.images.encoders import EncoderConfig, build_encoder, forward_flops
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.self_training import SelfTrainingConfig, WithPredicted, confident, self_train
from evergreen.images.supervised import SupervisedConfig
from evergreen.images.training_parts import PASSES, Labelled, Network
from evergreen.progress import Silent

ENCODER = EncoderConfig(width=4)
PLAIN = AugmentConfig(operations=())
RECIPE = FinetuneConfig(steps=1, view_size=8, strong=PLAIN, weak=PLAIN)
SUPERVISED = SupervisedConfig(batch_size=16, warmup_steps=2, average_decay=0.8, label_smoothing=0.0)
SIDE = 8


class Shades:
    """Dark and bright noisy images in turns."""

    def __init__(self, count: int) -> None:
        self.labels = np.arange(count) % 2
        noise = np.random.default_rng(1).normal(0, 20, (count, SIDE, SIDE, 3))
        self.pixels = np.clip(80 + 90 * self.labels[:, None, None, None] + noise, 0, 255).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(self.pixels[rows])

    def labelled(self, count: int) -> Labelled:
        rows = np.arange(count)
        return Labelled(to_float(self.take(rows)), torch.from_numpy(self.labels[rows]), 2)


class Brightness(nn.Module):
    """A feature: the mean of an image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3)).unsqueeze(1)


def judge(slope: float) -> Network:
    """A network that calls bright what is brighter than the middle, the surer the steeper."""
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-slope], [slope]]))
        head.bias.copy_(torch.tensor([slope / 2, -slope / 2]))
    return Network(Brightness(), head)  # type: ignore[arg-type]


def test_only_the_sure_ones_are_labelled() -> None:
    images = Shades(21)
    means = images.pixels.mean(axis=(1, 2, 3)) / 255
    for threshold in (0.5, 0.9, 1.0):
        rows, labels = confident(judge(5.0), images, threshold, "fp32", torch.device("cpu"), batch_size=4)
        likely = 1 / (1 + np.exp(-10 * np.abs(means - 0.5)))
        assert rows.tolist() == np.flatnonzero(likely >= threshold).tolist()
        assert labels.tolist() == (means[rows] > 0.5).astype(int).tolist()


def test_batches_mix_known_and_predicted_images() -> None:
    images = Shades(10)
    grown = WithPredicted(images.labelled(3), images, np.array([9, 5]), torch.tensor([1, 0]))
    assert grown.labels.tolist() == [0, 1, 0, 1, 0]
    batch = grown.rows(torch.tensor([4, 0, 3, 1]))
    assert torch.equal(batch.images, to_float(images.take(np.array([5, 0, 9, 1]))))
    assert batch.labels.tolist() == [0, 0, 1, 1]
    assert batch.classes == 2


def test_predictions_make_good_classifiers_from_four_labels() -> None:
    images = Shades(80)
    config = SelfTrainingConfig(rounds=2, confidence=0.7)
    found = self_train(ENCODER, images.labelled(4), images, 25, 0.05, config, SUPERVISED, RECIPE, 0, "fp32", Silent())
    assert len(found.rounds) == 2
    assert found.rounds[-1].accepted > 40
    assert sum(found.rounds[-1].class_shares) == pytest.approx(1)
    with torch.no_grad():
        answers = found.network.head(found.network.encoder(to_float(images.take(np.arange(80))))).argmax(dim=1)
    assert (answers.numpy() == images.labels).mean() > 0.9


def test_without_a_sure_prediction_it_ends_with_the_first_network() -> None:
    images = Shades(20)
    unsure = SelfTrainingConfig(rounds=3, confidence=1.0)
    arguments = (ENCODER, images.labelled(4), images, 1, 1e-6)
    found = self_train(*arguments, unsure, SUPERVISED, RECIPE, 0, "fp32", Silent())
    assert [r.accepted for r in found.rounds] == [0]
    assert found.rounds[0].class_shares == (0, 0)


def test_the_threshold_is_relative_to_what_smoothing_leaves() -> None:
    config = SelfTrainingConfig(confidence=0.95)
    assert config.threshold(0.0, 10) == pytest.approx(0.95)
    assert config.threshold(0.1, 10) == pytest.approx(0.95 * 0.91)


def test_all_trainings_and_predictions_share_the_compute() -> None:
    encoder, config = build_encoder(ENCODER), SelfTrainingConfig(rounds=2)
    image, view = forward_flops(encoder, 32), forward_flops(encoder, 16)
    budget = 2 * 500 * image + 3 * 40 * PASSES * 16 * view
    assert config.steps(encoder, budget, 500, 16, view_size=16, image_size=32) == 40
    assert config.steps(encoder, 1.0, 500, 16, view_size=16, image_size=32) == 1
