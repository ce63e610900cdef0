"""Two real processes over gloo compute what one does: loss, every parameter's gradient, statistics, weights."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from evergreen.errors import BadInputError
from evergreen.images.contrastive import SimCLR, backward
from evergreen.images.distributed import Processes, joined, synchronise
from evergreen.images.encoders import EncoderConfig
from evergreen.images.imageset import ImageSet
from evergreen.images.simclr import SimCLRConfig, pretrain
from evergreen.progress import Silent
from tests.images.random_images import image_folder

CPU = torch.device("cpu")
BASE = SimCLRConfig(
    encoder=EncoderConfig(width=4), epochs=2, batch_size=16, view_sizes=(8,), head_hidden=8, head_output=6,
    precision="fp32", learning_rate=0.05, temperature=1.0,
)  # fmt: skip
CASES = {
    "default": BASE,
    "supervised": BASE.model_copy(update={"loss": "supervised", "head": "three"}),
    "memory": BASE.model_copy(update={"loss": "memory_bank", "bank_size": 8}),
    "cached": BASE.model_copy(update={"chunk_size": 4}),
}
WORKER = """
import json, sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import load_file, save_file
from evergreen.images.contrastive import SimCLR, backward
from evergreen.images.distributed import joined, synchronise
from evergreen.images.imageset import ImageSet
from evergreen.images.simclr import SimCLRConfig, pretrain
from evergreen.progress import Silent

torch.set_num_threads(1)
folder = Path(sys.argv[1])
cases = {name: SimCLRConfig.model_validate(c) for name, c in json.loads((folder / "cases.json").read_text()).items()}
given = load_file(folder / "given.safetensors")
with joined() as (processes, device):
    own = torch.arange(16)[processes.part(0, 16)]
    for name, config in cases.items():
        torch.manual_seed(0)
        model = synchronise(SimCLR(config), device).train(config.chunk_size is None)  # else chunks have their norms
        views = given["views"].view(2, 16, 3, 8, 8)[:, own].flatten(0, 1)
        loss, z = backward(model, views, given["labels"][own], config, "fp32", processes)
        out = {"loss": loss, "z": z} | {f"g.{n}": p.grad for n, p in model.named_parameters()}
        out |= {f"b.{n}": b for n, b in model.named_buffers()}
        save_file({n: t.contiguous() for n, t in out.items()}, folder / f"{name}.{processes.rank}.safetensors")
    images, checkpoint = ImageSet([folder / "images"]), folder / "checkpoint"
    result = pretrain(images, cases["default"], 1, device, Silent(), checkpoint, processes=processes)
    (folder / f"history.{processes.rank}.json").write_text(json.dumps(result.history))
    state = {n: t.contiguous() for n, t in result.encoder.state_dict().items()}
    save_file(state, folder / f"encoder.{processes.rank}.safetensors")
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote about all cases."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("two")
    image_folder(folder / "images", 40, size=16)
    generator = torch.Generator().manual_seed(3)
    given = {"views": torch.rand(32, 3, 8, 8, generator=generator), "labels": torch.arange(16) % 4 - 1}
    save_file(given, folder / "given.safetensors")
    (folder / "cases.json").write_text(json.dumps({n: c.model_dump(mode="json") for n, c in CASES.items()}))
    port = str(free_port())
    workers = []
    for rank in range(2):
        world = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = os.environ | world | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        workers.append(subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], env=environment))
    try:
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_loss_and_every_gradient_equal_those_of_one_process(together: Path, name: str) -> None:
    given = load_file(together / "given.safetensors")
    torch.manual_seed(0)
    whole = CASES[name].model_copy(update={"chunk_size": None})
    model = SimCLR(whole).train(CASES[name].chunk_size is None)
    loss, z = backward(model, given["views"], given["labels"], whole, "fp32")
    first, second = (load_file(together / f"{name}.{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.testing.assert_close(first["loss"], loss, atol=1e-5, rtol=0)
    torch.testing.assert_close(first["z"], z, atol=1e-5, rtol=1e-5)
    assert {key for key in first if key.startswith("g.")} == {f"g.{n}" for n, _ in model.named_parameters()}
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None
        # relative to the largest entry: in fp32 the order of the images alone moves single ones by that much
        error = (first[f"g.{parameter_name}"] - parameter.grad).abs().max() / parameter.grad.abs().max().clamp(min=1)
        assert error < 1e-5, parameter_name
    for buffer_name, buffer in model.named_buffers():
        torch.testing.assert_close(first[f"b.{buffer_name}"], buffer, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_whole_run_equals_that_of_one_process(together: Path) -> None:
    alone = pretrain(ImageSet([together / "images"]), BASE, 1, CPU, Silent())
    first, second = (json.loads((together / f"history.{rank}.json").read_text()) for rank in range(2))
    assert first == second
    for found, expected in zip(first, alone.history, strict=True):
        assert found == pytest.approx(expected, abs=2e-3)
    states = [load_file(together / f"encoder.{rank}.safetensors") for rank in range(2)]
    for key, value in alone.encoder.state_dict().items():
        assert torch.equal(states[0][key], states[1][key])
        torch.testing.assert_close(states[0][key], value, atol=1e-3, rtol=1e-3)
    assert (together / "checkpoint" / "state.safetensors").exists()


def test_shares_are_the_batch_in_order() -> None:
    rows = np.random.default_rng(0).permutation(12)
    parts = [rows[Processes(rank, 3).part(3, 9)] for rank in range(3)]
    assert (np.concatenate(parts) == rows[3:]).all()


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as (processes, _):
        assert processes == Processes(0, 1)
        assert processes.writes


@pytest.mark.parametrize(("batch", "world"), [(16, 3), (16, 16), (4, 4)])
def test_a_batch_that_cannot_be_shared_is_told(tmp_path: Path, batch: int, world: int) -> None:
    image_folder(tmp_path / "images", 20, size=16)
    config = BASE.model_copy(update={"batch_size": batch})
    with pytest.raises(BadInputError, match="cannot be shared out evenly"):
        pretrain(ImageSet([tmp_path / "images"]), config, 0, CPU, Silent(), processes=Processes(0, world))


def test_a_norm_of_an_unknown_kind_is_told() -> None:
    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(BadInputError, match=r"1 \(Odd\) cannot be synchronised"):
        synchronise(nn.Sequential(nn.Conv2d(3, 4, 1), Odd(4)), CPU)


def test_synchronised_layers_answer_alike_and_keep_their_names() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4))).eval()
    names, images = list(model.state_dict()), torch.rand(2, 3, 5, 5)
    expected = model(images)
    replaced = synchronise(model, CPU).eval()
    assert list(replaced.state_dict()) == names
    torch.testing.assert_close(replaced(images), expected)
