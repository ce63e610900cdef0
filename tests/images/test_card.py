"""What pretraining on a card rests on, checked without one: resident images, steps that ask nothing of the host."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from evergreen.errors import BadInputError
from evergreen.images import simclr, simclr_config
from evergreen.images.contrastive import contrastive_loss
from evergreen.images.distributed import ALONE, Processes
from evergreen.images.encoders import EncoderConfig
from evergreen.images.feed import Feed, epoch_order
from evergreen.images.imageset import ImageSet
from evergreen.images.losses import alignment, uniformity
from evergreen.images.monitors import CollapseWatch
from evergreen.images.simclr import Pretrained, Run, SimCLR, SimCLRConfig, pretrain, train_step, two_views
from evergreen.progress import Silent
from evergreen.training.optimisers import build_optimiser
from tests.images.random_images import image_folder

CPU = torch.device("cpu")
TINY = SimCLRConfig(
    encoder=EncoderConfig(width=4), epochs=2, batch_size=16, head_hidden=16, head_output=8, precision="fp32"
)
RECIPES: list[dict[str, Any]] = [
    {},
    {"loss": "decoupled", "optimiser": "lars"},
    {"loss": "margin"},  # no AdamW: its counter of steps is kept on the host, and read there
    {"loss": "logistic"},
    {"loss": "supervised"},
    {"loss": "memory_bank", "bank_size": 20},
    {"augment": {"operations": [{"name": n} for n in ("crop_flip", "colour", "rotate", "cutout", "noise", "sobel")]}},
    {"chunk_size": 4},
]


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    return ImageSet([image_folder(tmp_path / "a", 40), image_folder(tmp_path / "b", 30, seed=1)])


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(70) % 3


class HostReads(TorchDispatchMode):
    """Fails where a value would be read on the host: there a card has to finish all that it was told before."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.names, f"{name} reads a value on the host"
        if name.startswith("index"):  # a mask is counted on the host before it picks anything
            places = [value for value in pytree.tree_leaves(args[1:]) if isinstance(value, torch.Tensor)]
            assert all(value.dtype != torch.bool for value in places), f"{name} by a mask reads values on the host"
        return func(*args, **(kwargs or {}))


class HostCopies(TorchDispatchMode):
    """Fails where a tensor is copied from the host to the card."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("_to_copy", "copy_"):
            devices = {value.device.type for value in (*args, out) if isinstance(value, torch.Tensor)}
            assert len(devices) == 1, f"a copy between {' and '.join(sorted(devices))}"
        return out


def a_run(images: ImageSet, labels: np.ndarray, recipe: dict[str, Any], device: torch.device = CPU) -> Run:
    config = SimCLRConfig.model_validate({**TINY.model_dump(), **recipe})
    torch.manual_seed(0)
    model = SimCLR(config).to(device).train()
    feed = Feed(images, labels, device, 0, resident=True)
    watch = CollapseWatch(config.collapse, {})
    optimiser = build_optimiser(config.optimiser, [model], config.momentum, config.weight_decay)
    return Run(model, optimiser, feed, config, "fp32", Silent(), ALONE, None, {}, watch)


def test_resident_images_are_those_on_disk(images: ImageSet, labels: np.ndarray) -> None:
    feeds = [Feed(images, labels, CPU, 3, resident) for resident in (True, False)]
    for epoch in range(2):
        for feed in feeds:
            feed.start(epoch)
        for part in (slice(0, 16), slice(16, 32), slice(60, 70)):
            for here, there in zip(*(feed.take(part) for feed in feeds), strict=True):
                assert here is not None
                assert there is not None
                assert torch.equal(here, there)
        rows = epoch_order(70, 3, epoch)
        assert torch.equal(feeds[0].take(slice(5, 9))[0], images.take(rows[5:9]))
        assert feeds[1].take(slice(5, 9))[2].tolist() == labels[rows[5:9]].tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: " ".join(map(str, r)) or "default")
def test_a_step_reads_nothing_on_the_host(images: ImageSet, labels: np.ndarray, recipe: dict[str, Any]) -> None:
    run = a_run(images, labels, recipe)
    before = {name: value.clone() for name, value in run.model.named_parameters()}
    for group in run.optimiser.param_groups:
        group["lr"] = 0.1
    with HostReads():
        for step in range(2):
            train_step(run, slice(step * 16, step * 16 + 16), 16)
    assert any(not torch.equal(value, before[name]) for name, value in run.model.named_parameters())
    with pytest.raises(AssertionError, match="reads a value"), HostReads():
        float(torch.ones(()))
    with pytest.raises(AssertionError, match="by a mask"), HostReads():
        torch.ones(3)[torch.ones(3) > 0]


@pytest.mark.parametrize("recipe", RECIPES[:-1], ids=lambda r: " ".join(map(str, r)) or "default")
def test_a_step_copies_nothing_to_the_card(images: ImageSet, labels: np.ndarray, recipe: dict[str, Any]) -> None:
    """On fake CUDA tensors, which need no card; autograd would ask a real driver, so without the backward pass."""
    run = a_run(images, labels, recipe)
    feed, model = run.feed, run.model
    with FakeTensorMode(), torch.no_grad():
        device = torch.device("cuda")

        def on_card(value: torch.Tensor) -> torch.Tensor:
            return torch.empty(value.shape, dtype=value.dtype, device=device)

        for module in model.modules():  # Module.to cannot swap real tensors for fake ones
            for name, value in module.named_parameters(recurse=False):
                module._parameters[name] = nn.Parameter(on_card(value), requires_grad=False)
            for name, value in module.named_buffers(recurse=False):
                module._buffers[name] = on_card(value)
        assert feed.pixels is not None
        assert feed.labels is not None
        feed.pixels, feed.labels = on_card(feed.pixels), on_card(feed.labels)
        feed.order, feed.draws = on_card(feed.order), on_card(feed.draws)
        with HostCopies():
            pixels, draws, known = feed.take(slice(16, 32))
            z = model(two_views(pixels, draws, run.config, 16))
            loss = contrastive_loss(z, known, run.config, model.bank)
            figures = torch.stack([loss, alignment(z), uniformity(z)])
            if model.bank is not None:
                model.bank.remember(z)
            with pytest.raises(AssertionError, match="a copy between"):
                torch.ones(3).to(device)
        assert figures.device.type == "cuda"


def compiled_with(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[dict[str, Any]]:
    seen = []

    def compiled(self: nn.Module, **given: Any) -> None:
        seen.append(given)
        nn.Module.compile(self, **given, **settings)

    monkeypatch.setattr(simclr.SimCLR, "compile", compiled)
    return seen


def both_ways(images: ImageSet) -> list[Pretrained]:
    return [pretrain(images, TINY.model_copy(update={"compile": c}), 0, CPU, Silent()) for c in (False, True)]


def test_a_compiled_run_ends_where_the_plain_one_does(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiled_with(monkeypatch, backend="aot_eager")
    plain, fast = both_ways(images)
    assert [r["loss"] for r in fast.history] == pytest.approx([r["loss"] for r in plain.history], rel=1e-4)
    for name, value in plain.encoder.state_dict().items():
        torch.testing.assert_close(fast.encoder.state_dict()[name], value, atol=1e-4, rtol=1e-3, msg=name)
    assert seen == [{"dynamic": False}]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler")
def test_the_real_compiler_takes_the_network(images: ImageSet) -> None:
    """Its kernels sum in another order, and eight steps of a tiny network at a high rate carry that on."""
    plain, fast = both_ways(images)
    assert [r["loss"] for r in fast.history] == pytest.approx([r["loss"] for r in plain.history], rel=0.02)


def test_a_compiled_run_goes_on_from_an_epoch_that_was_kept(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_with(monkeypatch, backend="aot_eager")
    config = TINY.model_copy(update={"compile": True, "epochs": 4, "checkpoint_epochs": 2, "checkpoint_steps": 0})
    whole = pretrain(images, config, 1, CPU, Silent())

    def kill(record: dict[str, Any]) -> None:
        if record["epoch"] == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        pretrain(images, config, 1, CPU, Silent(), tmp_path, on_epoch=kill)
    epochs: list[int] = []
    resumed = pretrain(images, config, 1, CPU, Silent(), tmp_path, on_epoch=lambda r: epochs.append(r["epoch"]))
    assert epochs == [3, 4]
    assert resumed.history == whole.history
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(resumed.encoder.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("asked", "device", "epochs", "world", "expected"),
    [
        (None, "cpu", 1000, 1, False),
        (None, "cuda", 1000, 1, True),
        (None, "cuda", 10, 1, False),
        (None, "cuda", 1000, 2, False),
        (True, "cpu", 1, 1, True),
        (False, "cuda", 1000, 1, False),
    ],
)
def test_when_it_compiles(
    asked: bool | None, device: str, epochs: int, world: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simclr_config, "has_compiler", lambda: True)
    config = TINY.model_copy(update={"compile": asked, "epochs": epochs})
    assert config.compiles(torch.device(device), 70, world) is expected
    monkeypatch.setattr(simclr_config, "has_compiler", lambda: False)
    assert config.compiles(torch.device(device), 70, world) is (asked is True)


@pytest.mark.parametrize(("world", "found"), [(2, "2 processes"), (1, "no C compiler")])
def test_a_network_that_cannot_be_compiled_is_told(world: int, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simclr_config, "has_compiler", lambda: world > 1)
    with pytest.raises(BadInputError, match=found):
        simclr_config.check(TINY.model_copy(update={"compile": True}), 70, None, Processes(0, world))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
def test_steps_on_a_card_never_wait(images: ImageSet, labels: np.ndarray) -> None:
    device = torch.device("cuda", 0)
    run = a_run(images, labels, {}, device)
    train_step(run, slice(0, 16), 16)
    torch.cuda.set_sync_debug_mode("error")
    try:
        figures, _ = train_step(run, slice(16, 32), 16)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert figures.isfinite().all()
