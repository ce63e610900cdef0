"""Projection heads: their layers, and fine-tuning from the middle of one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from evergreen.errors import BadInputError
from evergreen.images.encoders import EncoderConfig, build_encoder, projection_head
from evergreen.images.heads import HeadName, build_head, load_head, output_size, save_head, with_head

SIZES: list[tuple[HeadName, int]] = [("none", 0), ("linear", 1), ("hidden", 2), ("three", 3)]


@pytest.mark.parametrize(("name", "layers"), SIZES)
@pytest.mark.parametrize("output", [1, 5])
def test_a_head_has_its_layers_and_its_output(name: HeadName, layers: int, output: int) -> None:
    head = build_head(name, 6, 4, output)
    assert sum(isinstance(layer, nn.Linear) for layer in head.modules()) == layers
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in head.modules()) == max(0, layers - 1)
    assert head(torch.randn(3, 6)).shape == (3, output_size(name, 6, output))


def test_the_default_head_is_unchanged() -> None:
    torch.manual_seed(0)
    ours = build_head("hidden", 6, 4, 5)
    torch.manual_seed(0)
    theirs = projection_head(6, 4, 5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize(("name", "layers"), SIZES)
def test_encoder_and_first_layers_are_the_composition(name: HeadName, layers: int) -> None:
    encoder = build_encoder(EncoderConfig(width=4)).eval()
    head = build_head(name, encoder.features, 7, 5).eval()
    images = torch.rand(3, 3, 16, 16)
    for kept in range(layers + 1):
        longer = with_head(encoder, head, kept).eval()
        expected = encoder(images)
        linear = 0
        for layer in head.children():
            linear += isinstance(layer, nn.Linear)
            if linear > kept:
                break
            expected = layer(expected)
        torch.testing.assert_close(longer(images), expected)
        assert longer.features == expected.shape[1]


def test_the_longer_encoder_shares_nothing_with_the_old_one() -> None:
    encoder = build_encoder(EncoderConfig(width=4))
    head = build_head("three", encoder.features, 7, 5)
    longer = with_head(encoder, head, 1)
    with torch.no_grad():
        for parameter in longer.parameters():
            parameter.zero_()
    assert all(p.abs().sum() > 0 for p in encoder.parameters() if p.ndim >= 2)
    assert next(head.parameters()).abs().sum() > 0


@pytest.mark.parametrize("layers", [-1, 4])
def test_keeping_layers_that_are_not_there_is_told(layers: int) -> None:
    encoder = build_encoder(EncoderConfig(width=4))
    with pytest.raises(BadInputError, match=r"expected 0 to 3"):
        with_head(encoder, build_head("three", encoder.features, 7, 5), layers)


def test_a_head_survives_the_disk_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    head = build_head("three", 6, 4, 5)
    with pytest.raises(BadInputError, match="has no head"):
        load_head(tmp_path, "three", 6, 4, 5)
    save_head(tmp_path, head)
    again = load_head(tmp_path, "three", 6, 4, 5)
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True))
    with pytest.raises(BadInputError, match="is no head hidden of sizes 6, 4, 5"):
        load_head(tmp_path, "hidden", 6, 4, 5)
