"""Rotation prediction: its views, its determinism, and that it learns what is up."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evergreen.errors import BadInputError
from evergreen.images.encoders import EncoderConfig, build_encoder, forward_flops
from evergreen.images.rotation import RotationConfig, all_turns, pretrain_rotation
from evergreen.progress import Silent

CPU = torch.device("cpu")
TINY = RotationConfig(encoder=EncoderConfig(width=4), epochs=2, batch_size=16, view_size=8, precision="fp32")


class Skies:
    """Images that are bright at the top and dark at the bottom, with noise."""

    def __init__(self, count: int, side: int = 12) -> None:
        noise = np.random.default_rng(0).normal(0, 20, (count, side, side, 3))
        light = np.linspace(220, 30, side)[None, :, None, None]
        self.pixels = np.clip(light + noise, 0, 255).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(self.pixels[rows])


def weights(encoder: torch.nn.Module) -> Tensor:
    return torch.cat([value.flatten().float() for value in encoder.state_dict().values()])


def test_turns_are_numpys_and_numbered() -> None:
    images = torch.rand(3, 3, 6, 6)
    turned, turns = all_turns(images)
    assert turns.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for row, (image, k) in enumerate(zip(turned, turns.tolist(), strict=True)):
        np.testing.assert_array_equal(image.numpy(), np.rot90(images[row % 3].numpy(), k, axes=(1, 2)))


def test_it_learns_which_way_is_up() -> None:
    records: list[dict] = []
    config = TINY.model_copy(update={"epochs": 4})
    encoder = pretrain_rotation(Skies(48), config, 0, CPU, Silent(), records.append)
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert records[-1]["accuracy"] > 0.9
    assert records[-1]["loss"] < records[0]["loss"]
    assert not encoder.training
    assert encoder(torch.rand(2, 3, 12, 12)).shape == (2, 32)


def test_a_seed_gives_one_encoder() -> None:
    one, again, other = (weights(pretrain_rotation(Skies(20), TINY, seed, CPU, Silent())) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_its_cost_is_counted() -> None:
    """Two epochs of one batch of 16, four turns, three passes each."""
    encoder = build_encoder(TINY.encoder)
    assert TINY.flops(encoder, 20) == 2 * 16 * 4 * 3 * forward_flops(encoder, 8)


def test_one_image_is_too_few_and_a_lost_loss_is_said() -> None:
    with pytest.raises(BadInputError, match="at least 2 images, found 1"):
        pretrain_rotation(Skies(1), TINY, 0, CPU, Silent())
    with pytest.raises(BadInputError, match="Lower learning_rate"):
        pretrain_rotation(Skies(20), TINY.model_copy(update={"learning_rate": 1e30}), 0, CPU, Silent())
