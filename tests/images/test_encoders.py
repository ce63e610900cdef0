"""Encoders and bundles: shapes, cost, round trips, tampering."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.images import bundle
from evergreen.images.encoders import EncoderConfig, build_encoder, forward_flops


@pytest.mark.parametrize(
    ("config", "features", "size"),
    [
        (EncoderConfig(width=8), 64, 32),
        (EncoderConfig(width=8), 64, 16),
        (EncoderConfig(name="resnet18"), 512, 32),
        (EncoderConfig(name="resnet18", stem="imagenet"), 512, 64),
        (EncoderConfig(name="resnet34", stem="imagenet"), 512, 32),
        (EncoderConfig(name="resnet50"), 2048, 16),
    ],
)
def test_encoders_embed_images_and_learn(config: EncoderConfig, features: int, size: int) -> None:
    encoder = build_encoder(config)
    out = encoder(torch.rand(2, 3, size, size))
    assert out.shape == (2, features) == (2, encoder.features)
    out.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_flops_of_a_known_network() -> None:
    """CIFAR ResNet-18 costs 0.555 GMAC a forward pass at 32 pixels, two operations each."""
    assert forward_flops(build_encoder(EncoderConfig(name="resnet18")), 32) == pytest.approx(2 * 0.555e9, rel=0.01)


def test_smaller_views_cost_less_by_the_area() -> None:
    encoder = build_encoder(EncoderConfig(width=8))
    assert forward_flops(encoder, 32) == pytest.approx(forward_flops(encoder, 64) / 4, rel=0.01)
    assert 0.8 < forward_flops(encoder, 16) / (forward_flops(encoder, 32) / 4) < 0.95  # no padding on its last maps
    assert encoder.training


def classifier(seed: int = 0) -> bundle.Classifier:
    torch.manual_seed(seed)
    config = EncoderConfig(width=4)
    encoder = build_encoder(config).eval()
    return bundle.Classifier(encoder, nn.Linear(32, 3), config, ["ant", "bee", "cat"], 32, "fp32")


def test_a_bundle_comes_back_and_answers_the_same(tmp_path: Path) -> None:
    model = classifier()
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    digest = bundle.save(tmp_path / "model", model, trained_on=500)
    again = bundle.load(tmp_path / "model", expected_sha256=digest)
    np.testing.assert_array_equal(again.predict_probabilities(images), model.predict_probabilities(images))
    np.testing.assert_allclose(again.predict_probabilities(images).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        again.predict_probabilities(images, batch_size=2), again.predict_probabilities(images), atol=1e-6
    )
    assert again.classes == ["ant", "bee", "cat"]
    assert again.embed(images).shape == (7, 32)
    assert again.predict_probabilities(images[:0]).shape == (0, 3)
    assert read_json(tmp_path / "model" / "config.json")["trained_on"] == 500


def test_images_of_another_size_are_resized() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    assert classifier().predict_probabilities(images).shape == (2, 3)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    bundle.save(tmp_path / "model", classifier())
    weights = tmp_path / "model" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(BadInputError, match="changed or damaged"):
        bundle.load(tmp_path / "model")


def test_a_whole_other_bundle_is_refused_by_the_expected_hash(tmp_path: Path) -> None:
    digest = bundle.save(tmp_path / "model", classifier(seed=0))
    bundle.save(tmp_path / "model", classifier(seed=1))
    with pytest.raises(BadInputError, match=digest):
        bundle.load(tmp_path / "model", expected_sha256=digest)


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path: Path) -> None:
    bundle.save(tmp_path / "model", classifier())
    description = read_json(tmp_path / "model" / "config.json")
    write_json(tmp_path / "model" / "config.json", {**description, "classes": ["ant", "bee"]})
    with pytest.raises(BadInputError, match="do not fit"):
        bundle.load(tmp_path / "model")


def test_missing_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is missing"):
        bundle.load(tmp_path)


def test_no_pickle_is_written(tmp_path: Path) -> None:
    bundle.save(tmp_path / "model", classifier())
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.safetensors", "config.json"}
