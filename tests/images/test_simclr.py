"""Pretraining: exact resumption, determinism, device hygiene, learning."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from evergreen.errors import BadInputError
from evergreen.images.arrays import write_folder
from evergreen.images.augment import draw
from evergreen.images.encoders import EncoderConfig
from evergreen.images.imageset import ImageSet
from evergreen.images.losses import alignment, nt_xent, uniformity
from evergreen.images.simclr import SimCLR, SimCLRConfig, epoch_order, pretrain, two_views
from evergreen.progress import Silent

CPU = torch.device("cpu")
TINY = SimCLRConfig(
    encoder=EncoderConfig(width=4), epochs=3, batch_size=16, head_hidden=16, head_output=8, precision="fp32"
)


def image_folder(path: Path, count: int, seed: int = 0) -> Path:
    """An array folder of random pictures in which neighbours differ in colour."""
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 255, (count, 1, 1, 3))
    noise = generator.integers(-30, 30, (count, 32, 32, 3))
    images = np.clip(base + noise, 0, 255).astype(np.uint8)
    index = pd.DataFrame(
        {
            "image_id": [f"{path.name}-{i}" for i in range(count)],
            "arrived_at": pd.date_range("2026-01-01", periods=count, freq="s", tz="UTC"),
            "label": [None] * count,
            "split": "train",
            "sha256": [f"{i:064x}" for i in range(count)],
        }
    )
    write_folder(path, images, index)
    return path


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    return ImageSet([image_folder(tmp_path / "a", 40), image_folder(tmp_path / "b", 30, seed=1)])


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Killed(Exception):
    """Stands for a kill between two epochs."""


def test_an_interrupted_run_goes_on_exactly(images: ImageSet, tmp_path: Path) -> None:
    whole = pretrain(images, TINY, seed=1, device=CPU, progress=Silent())
    checkpoint = tmp_path / "checkpoint"

    def kill_after_two(record: dict[str, object]) -> None:
        if record["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        pretrain(images, TINY, 1, CPU, Silent(), checkpoint, on_epoch=kill_after_two)
    torch.manual_seed(99)
    resumed = pretrain(images, TINY, 1, CPU, Silent(), checkpoint)
    assert resumed.history == whole.history
    assert [r["epoch"] for r in resumed.history] == [1, 2, 3]
    assert states_equal(resumed.encoder, whole.encoder)


def test_same_seed_same_weights_other_seed_other_weights(images: ImageSet) -> None:
    first, second, other = (pretrain(images, TINY, seed, CPU, Silent()).encoder for seed in (1, 1, 2))
    assert states_equal(first, second)
    assert not states_equal(first, other)


def test_the_loss_falls_below_chance(images: ImageSet) -> None:
    config = TINY.model_copy(update={"epochs": 8})
    history = pretrain(images, config, 0, CPU, Silent()).history
    assert history[-1]["loss"] < history[0]["loss"] < np.log(31) + 0.5


def test_every_epoch_visits_each_image_at_most_once_in_an_order_of_its_own() -> None:
    first, second = epoch_order(50, 0, 0), epoch_order(50, 0, 1)
    assert sorted(first) == list(range(50))
    assert list(first) != list(second)


def test_view_sizes_are_shared_out_in_order() -> None:
    config = SimCLRConfig(epochs=5, view_sizes=(16, 24))
    assert [config.view_size(e) for e in range(5)] == [16, 16, 16, 24, 24]


def test_too_few_images_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"at least 16 images, found 9"):
        pretrain(ImageSet([image_folder(tmp_path / "few", 9)]), TINY, 0, CPU, Silent())


def test_fewer_images_than_a_batch_are_one_batch(images: ImageSet) -> None:
    config = TINY.model_copy(update={"batch_size": 128, "epochs": 1})
    assert config.batches(len(images)) == (70, 1)
    assert config.batches(300) == (128, 2)
    assert len(pretrain(images, config, 0, CPU, Silent()).history) == 1


def test_a_step_mixes_no_devices() -> None:
    """On fake CUDA tensors any operation between two devices raises, no card needed.

    The backward pass repeats the forward pass's devices, and autograd would ask a real driver for its context.
    """
    model = SimCLR(TINY)
    with FakeTensorMode(), torch.no_grad():
        device = torch.device("cuda")
        for module in model.modules():  # Module.to cannot swap real tensors for fake ones
            for name, value in module.named_parameters(recurse=False):
                module._parameters[name] = torch.nn.Parameter(torch.empty(value.shape, device=device))
            for name, value in module.named_buffers(recurse=False):
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=device)
        images = torch.empty(16, 32, 32, 3, dtype=torch.uint8, device=device)
        views = two_views(images, draw(16, 2, 0, 0).to(device), TINY, 16)
        z = model(views)
        figures = [nt_xent(z, 0.5), alignment(z), uniformity(z)]
        assert {t.device.type for t in (views, z, *figures)} == {"cuda"}
        with pytest.raises(RuntimeError, match="device"):
            model(torch.empty(4, 3, 16, 16))


def test_take_returns_rows_across_folders_in_the_order_asked(images: ImageSet) -> None:
    rows = np.array([69, 0, 40, 39, 5])
    found = images.take(rows).numpy()
    flat = np.concatenate([np.asarray(a) for a in images.arrays])
    assert (found == flat[rows]).all()
    mean, std = images.channel_statistics(chunk=7)
    np.testing.assert_allclose(mean, (flat / 255).mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(std, (flat / 255).std(axis=(0, 1, 2)), atol=1e-6)
