"""Backbones by name: what they expect, what they refuse, and that they learn."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.images import bundle
from evergreen.images.augment import AugmentConfig, augment, draw
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.imageset import ImageSet
from evergreen.images.layout import ImageLayout
from evergreen.images.losses import nt_xent
from evergreen.images.simclr import SimCLRConfig, pretrain
from evergreen.progress import Silent

TINY = "timm:test_resnet"  # a network that timm tests itself with


def test_unknown_encoders_are_refused_with_those_there_are() -> None:
    with pytest.raises(BadInputError, match="resnet9, resnet18, resnet34, resnet50, and timm:NAME"):
        EncoderConfig.read({"name": "resnet19"}, "params.yaml: images.pretrain.encoder")
    with pytest.raises(BadInputError, match=r"no backbone 'inception_v33'. Near to it: inception_v3"):
        build_encoder(EncoderConfig(name="timm:inception_v33"))


@pytest.mark.parametrize("side", [4, 7])
def test_images_too_small_are_refused(side: int) -> None:
    with pytest.raises(BadInputError, match=f"resnet9 takes images of at least 8×8 pixels, found {side}×{side}"):
        build_encoder(EncoderConfig(width=4))(torch.rand(2, 3, side, side))


def test_small_images_can_be_enlarged_in_front() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=4, input_size=16)).eval()
    images = torch.rand(2, 3, 4, 4)
    enlarged = torch.nn.functional.interpolate(images, size=(16, 16), mode="bilinear")
    torch.testing.assert_close(encoder(images), encoder(enlarged))


def test_a_backbone_of_timm_has_its_own_size_and_normalisation() -> None:
    encoder = build_encoder(EncoderConfig(name=TINY))
    assert encoder.input_size == 160
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [0.5, 0.5, 0.5]
    seen = []
    encoder.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.ones(2, 3, 32, 32))
    torch.testing.assert_close(seen[0], torch.ones(2, 3, 160, 160))


def test_what_is_written_in_the_configuration_wins() -> None:
    config = EncoderConfig(name=TINY, input_size=24, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    encoder = build_encoder(config)
    assert encoder.input_size == 24
    assert encoder.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert encoder.std.flatten().tolist() == pytest.approx([1, 2, 3])


def test_the_datas_statistics_are_for_our_networks_only() -> None:
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)
    assert EncoderConfig().normalised_by(mean, std) == EncoderConfig(mean=mean, std=std)
    assert EncoderConfig(name=TINY).normalised_by(mean, std) == EncoderConfig(name=TINY)


def test_sizes_that_a_backbone_cannot_take_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"timm:test_vit cannot take images of 50×50 pixels .*input_size to 160"):
        build_encoder(EncoderConfig(name="timm:test_vit", input_size=50))


def test_weights_are_drawn_from_the_global_generator() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(bundle.build_encoder(EncoderConfig(name=TINY, input_size=32)).state_dict())
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])


def test_a_bundle_with_a_backbone_of_timm_comes_back(tmp_path: Path) -> None:
    config = EncoderConfig(name=TINY, input_size=32)
    encoder = build_encoder(config).eval()
    bundle.save_encoder(tmp_path / "encoder", encoder, config, 16, "fp32")
    again, description = bundle.load_encoder(tmp_path / "encoder")
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(again(images), encoder(images))
    assert description["encoder"]["name"] == TINY


def test_descriptions_of_older_bundles_are_read(tmp_path: Path) -> None:
    """Those that name neither an input size nor a normalisation of the network's own."""
    config = EncoderConfig(width=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
    bundle.save_encoder(tmp_path / "encoder", build_encoder(config), config, 16, "fp32")
    description = read_json(tmp_path / "encoder" / "config.json")
    del description["encoder"]["input_size"]
    write_json(tmp_path / "encoder" / "config.json", description)
    encoder, _ = bundle.load_encoder(tmp_path / "encoder")
    np.testing.assert_allclose(encoder.mean.flatten(), [0.4, 0.5, 0.6], rtol=1e-6)


def contrast(config: EncoderConfig, side: int, count: int, steps: int, rate: float) -> list[float]:
    """The contrastive loss over a few steps on the same few views."""
    torch.manual_seed(0)
    encoder = build_encoder(config).train()
    optimiser = torch.optim.SGD(encoder.parameters(), lr=rate, momentum=0.9)
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    draws = draw(count, 2, seed=0, epoch=0)
    views = torch.cat([augment(images, draws[:, view], AugmentConfig()) for view in (0, 1)])
    losses = []
    for _ in range(steps):
        loss = nt_xent(encoder(views), 0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_a_backbone_of_timm_learns() -> None:
    losses = contrast(EncoderConfig(name=TINY, input_size=32), side=16, count=8, steps=8, rate=0.05)
    assert losses[-1] < losses[0]


def test_simclr_trains_a_backbone_of_timm_on_views_of_chosen_operations(
    make_stream: Callable[..., ImageLayout],
) -> None:
    layout = make_stream(days=1, rows=20)
    operations = [{"name": "crop"}, {"name": "colour"}, {"name": "blur", "probability": 0.5}]
    settings = {
        "encoder": {"name": TINY, "input_size": 32},
        "augment": {"operations": operations},
        "epochs": 2,
        "batch_size": 10,
        "view_sizes": [8],
        "precision": "fp32",
    }
    config = SimCLRConfig.read(settings, "params.yaml: images.pretrain")
    images = ImageSet(sorted(layout.raw.iterdir()))
    result = pretrain(images, config, seed=0, device=torch.device("cpu"), progress=Silent())
    assert len(result.history) == 2
    assert all(math.isfinite(record["loss"]) for record in result.history)
    assert result.encoder(torch.rand(2, 3, 8, 8)).shape == (2, result.encoder.features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "features"), [("inception_v3", 2048), ("inception_resnet_v2", 1536), ("xception41", 2048)]
)
def test_the_large_backbones_train_at_their_own_size(name: str, features: int) -> None:
    config = EncoderConfig(name=f"timm:{name}")
    encoder = build_encoder(config)
    assert encoder.input_size == 299
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [0.5, 0.5, 0.5]
    assert encoder.features == features
    losses = contrast(config, side=32, count=3, steps=3, rate=0.01)
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v3", "inception_resnet_v2"])
def test_the_inceptions_refuse_cifars_size(name: str) -> None:
    with pytest.raises(BadInputError, match="cannot take images of 32×32 pixels"):
        build_encoder(EncoderConfig(name=f"timm:{name}", input_size=32))
    assert build_encoder(EncoderConfig(name=f"timm:{name}", input_size=75)).input_size == 75
