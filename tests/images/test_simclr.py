"""Pretraining: exact resumption, determinism, device hygiene, learning."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from evergreen.errors import BadInputError, StoppedError
from evergreen.images.arrays import write_folder
from evergreen.images.augment import AugmentConfig, augment, draw, to_float
from evergreen.images.encoders import EncoderConfig, build_encoder, projection_head
from evergreen.images.feed import epoch_order
from evergreen.images.imageset import ImageSet
from evergreen.images.losses import alignment, nt_xent, uniformity
from evergreen.images.monitors import CollapseConfig
from evergreen.images.simclr import SimCLR, SimCLRConfig, pretrain, two_views
from evergreen.progress import Silent
from tests.images.random_images import image_folder

CPU = torch.device("cpu")
TINY = SimCLRConfig(
    encoder=EncoderConfig(width=4), epochs=3, batch_size=16, head_hidden=16, head_output=8, precision="fp32"
)


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


def reference(images: ImageSet, config: SimCLRConfig, seed: int) -> torch.nn.Module:
    """The default recipe as one plain loop: what an encoder's weights must come out as, bit for bit."""
    torch.manual_seed(seed)
    encoder = build_encoder(config.encoder)
    network = torch.nn.Sequential(encoder, projection_head(encoder.features, config.head_hidden, config.head_output))
    weights = [p for p in network.parameters() if p.ndim >= 2]
    others = [p for p in network.parameters() if p.ndim < 2]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=True)
    count, batch = len(images), config.batch_size
    steps = count // batch
    total = config.epochs * steps
    warmup = math.ceil(config.warmup_fraction * total)
    for step in range(total):
        epoch = step // steps
        order = np.random.default_rng((seed, epoch)).permutation(count)
        rows = order[step % steps * batch :][:batch]
        draws = draw(count, 2, seed, epoch)[torch.from_numpy(rows)]
        pictures = to_float(images.take(rows))
        views = torch.cat([augment(pictures, draws[:, v], config.augment, config.view_sizes[0]) for v in (0, 1)])
        rising = config.learning_rate * (step + 1) / warmup
        falling = config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        for group in optimiser.param_groups:
            group["lr"] = rising if step < warmup else falling
        network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            z = network(views)
        unit = torch.nn.functional.normalize(z.float(), dim=1)
        similarity = unit @ unit.T / config.temperature
        similarity = similarity.masked_fill(torch.eye(2 * batch, dtype=torch.bool), float("-inf"))
        loss = torch.nn.functional.cross_entropy(similarity, (torch.arange(2 * batch) + batch) % (2 * batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return encoder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_default_recipe_gives_the_weights_of_a_plain_loop(images: ImageSet, precision: str) -> None:
    config = TINY.model_copy(update={"precision": precision, "epochs": 2})
    assert states_equal(pretrain(images, config, 5, CPU, Silent()).encoder, reference(images, config, 5))


LABELS = np.arange(70) % 3 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "decoupled", "optimiser": "adamw", "learning_rate": 0.001},
        {"loss": "margin", "head": "linear"},
        {"loss": "logistic", "head": "none", "checkpoint_steps": 1},
        {"loss": "supervised", "head": "three", "scaling": "sqrt"},
        {"loss": "memory_bank", "bank_size": 20, "optimiser": "lars", "scaling": "linear"},
        {"chunk_size": 6},
    ],
)
def test_every_option_trains_and_repeats_itself(images: ImageSet, tmp_path: Path, changes: dict) -> None:
    config = TINY.model_copy(update={"epochs": 2, "view_sizes": (8,), **changes})
    first = pretrain(images, config, 0, CPU, Silent(), tmp_path / "checkpoint", labels=LABELS)
    second = pretrain(images, config, 0, CPU, Silent(), labels=LABELS)
    assert first.history == second.history
    assert states_equal(first.encoder, second.encoder)
    assert states_equal(first.head, second.head)
    assert {"loss", "alignment", "uniformity", "feature_std", "rankme", "knn_accuracy"} <= set(first.history[-1])


def test_the_rate_follows_the_batch(images: ImageSet) -> None:
    rates = {
        scaling: pretrain(
            images, TINY.model_copy(update={"epochs": 1, "view_sizes": (8,), "scaling": scaling}), 0, CPU, Silent()
        ).history[0]["learning_rate"]
        for scaling in ("none", "linear", "sqrt")
    }
    assert rates["linear"] == pytest.approx(rates["none"] * 16 / 256)
    assert rates["sqrt"] == pytest.approx(rates["none"] * (16 / 256) ** 0.5)


def test_watching_changes_no_weight(images: ImageSet) -> None:
    config = TINY.model_copy(update={"epochs": 1, "view_sizes": (8,)})
    watched, unwatched = (config.model_copy(update={"collapse": CollapseConfig(every=n)}) for n in (1, 0))
    assert states_equal(
        pretrain(images, watched, 0, CPU, Silent(), labels=LABELS).encoder,
        pretrain(images, unwatched, 0, CPU, Silent()).encoder,
    )


def test_a_collapsed_run_stops_with_a_message(tmp_path: Path) -> None:
    """Images of one colour without jitter: both views of all images are the same."""
    folder = image_folder(tmp_path / "grey", 32)
    write_folder(folder, np.full((32, 32, 32, 3), 128, np.uint8), pd.read_parquet(folder / "index.parquet"))
    config = TINY.model_copy(
        update={
            "augment": AugmentConfig(jitter_probability=0.0),
            "epochs": 6,
            "collapse": CollapseConfig(every=1, patience=3),
        }
    )
    with pytest.raises(StoppedError, match=r"collapsed in epoch \d, step \d: .* 3 times in a row"):
        pretrain(ImageSet([folder]), config, 0, CPU, Silent())


def test_a_run_that_misses_its_gate_gives_no_encoder(images: ImageSet) -> None:
    config = TINY.model_copy(update={"epochs": 1, "view_sizes": (8,), "gates": {"rankme": 100.0}})
    with pytest.raises(StoppedError, match=r"rankme is .*, expected at least 100"):
        pretrain(images, config, 0, CPU, Silent())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"temperature": -1.0}, "temperature: Input should be greater than 0"),
        ({"batch_size": 1}, "batch_size: Input should be greater than or equal to 4"),
        ({"head_output": 0}, "head_output: Input should be greater than or equal to 1"),
        ({"head_hidden": 0}, "head_hidden: Input should be greater than or equal to 1"),
        ({"head": "four"}, "head: Input should be 'none', 'linear', 'hidden' or 'three'"),
        ({"loss": "triplet"}, "loss: Input should be 'nt_xent'"),
        ({"optimiser": "adam"}, "optimiser: Input should be 'sgd', 'lars' or 'adamw'"),
        ({"view_sizes": []}, "view_sizes: Tuple should have at least 1 item"),
        ({"view_sizes": [4]}, "view_sizes.0: Input should be greater than or equal to 8"),
        ({"chunk_size": 1}, "chunk_size: Input should be greater than or equal to 2"),
        ({"margin": 0}, "margin: Input should be greater than 0"),
        ({"bank_size": 0}, "bank_size: Input should be greater than or equal to 1"),
        ({"gates": {"beauty": 1}}, "gates.beauty"),
    ],
)
def test_bad_settings_give_one_message(values: dict, words: str) -> None:
    with pytest.raises(BadInputError) as error:
        SimCLRConfig.read({"epochs": 1} | values, "params.yaml: images.pretrain")
    assert words in str(error.value)
    assert str(error.value).startswith("params.yaml: images.pretrain does not fit")


def test_a_loss_without_its_labels_or_a_bank_larger_than_the_set_is_told(images: ImageSet) -> None:
    supervised = TINY.model_copy(update={"loss": "supervised"})
    for labels in (None, np.full(70, -1)):
        with pytest.raises(BadInputError, match="needs labels, found none among 70 images"):
            pretrain(images, supervised, 0, CPU, Silent(), labels=labels)
    bank = TINY.model_copy(update={"loss": "memory_bank", "bank_size": 60})
    with pytest.raises(BadInputError, match=r"Lower images.pretrain.bank_size to 54 at most"):
        pretrain(images, bank, 0, CPU, Silent())


def test_a_loss_that_is_no_number_is_told(images: ImageSet) -> None:
    config = TINY.model_copy(update={"learning_rate": 1e30, "view_sizes": (8,)})
    with pytest.raises(BadInputError, match=r"became nan in epoch \d"):
        pretrain(images, config, 0, CPU, Silent())
