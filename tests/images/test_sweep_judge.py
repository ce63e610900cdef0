"""How a sweep's trial is judged: by validation labels alone, on frozen features or after fine-tuning."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evergreen.images import sweep_judge
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.imageset import ImageSet
from evergreen.images.study_images import StudyImages
from evergreen.images.sweep_judge import Sample, judge_frozen, judge_tuned, macro
from tests.images.random_images import bright_or_dark

PERFECT = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "accuracy": 1.0}
SAMPLE = Sample(np.arange(60), np.arange(40), np.arange(40, 60), ["bright", "dark"])


@pytest.fixture
def study(tmp_path: Path) -> StudyImages:
    """60 noisy images, dark or bright."""
    labels = np.arange(60) % 2
    folder = bright_or_dark(tmp_path / "w", labels == 0, 24, np.random.default_rng(0))
    return StudyImages(ImageSet([folder]), labels, SAMPLE.classes, [])


class Oracle(torch.nn.Module):
    """Knows the images by heart."""

    def __init__(self, study: StudyImages) -> None:
        super().__init__()
        self.mean = torch.zeros(1)
        every = study.images.take(np.arange(len(study.images)))
        self.known = {image.numpy().tobytes(): int(n) for image, n in zip(every, study.labels, strict=True)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous()
        numbers = torch.tensor([self.known[image.numpy().tobytes()] for image in pixels])
        return torch.nn.functional.one_hot(numbers, 3).float()


def test_linear_head_judges_separable_features(study: StudyImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_judge, "PENALTIES", (1e-2,))
    assert judge_frozen(Oracle(study), study, SAMPLE, "fp32") == PERFECT  # type: ignore[arg-type]


def test_fine_tuning_moves_the_encoder_and_repeats_exactly(study: StudyImages) -> None:
    torch.manual_seed(0)
    start = build_encoder(EncoderConfig(width=2)).state_dict()

    def tuned() -> tuple[dict[str, float], torch.Tensor]:
        encoder = build_encoder(EncoderConfig(width=2))
        encoder.load_state_dict(start)
        scores = judge_tuned(encoder, study, SAMPLE, "fp32", 40, seed=0)
        return scores, next(encoder.parameters()).detach().clone()

    (scores, weights), (again, same) = tuned(), tuned()
    assert scores == again
    assert scores["f1"] > 0.9
    assert torch.equal(weights, same)
    assert not torch.equal(weights, next(iter(start.values())))


def test_validation_labels_teach_nothing(study: StudyImages) -> None:
    torch.manual_seed(0)
    start = build_encoder(EncoderConfig(width=2)).state_dict()

    def weights(labels: np.ndarray) -> torch.Tensor:
        encoder = build_encoder(EncoderConfig(width=2))
        encoder.load_state_dict(start)
        judge_tuned(encoder, StudyImages(study.images, labels, study.classes, []), SAMPLE, "fp32", 3, seed=0)
        return next(encoder.parameters()).detach().clone()

    turned = study.labels.copy()
    turned[SAMPLE.judged] = 1 - turned[SAMPLE.judged]
    assert torch.equal(weights(study.labels), weights(turned))


def test_macro_by_hand() -> None:
    found = macro(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["a", "b"])
    assert found == pytest.approx({"precision": 0.75, "recall": 5 / 6, "f1": (0.8 + 2 / 3) / 2, "accuracy": 0.75})
