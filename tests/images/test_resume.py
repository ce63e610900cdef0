"""Killed for real in the middle of an epoch, a run still ends with the same weights."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from evergreen.images.encoders import EncoderConfig
from evergreen.images.imageset import ImageSet
from evergreen.images.probe import state_digest
from evergreen.images.simclr import SimCLRConfig, pretrain
from evergreen.progress import Silent
from tests.images.random_images import image_folder

CPU = torch.device("cpu")
CONFIG = SimCLRConfig(
    encoder=EncoderConfig(width=4), epochs=2, batch_size=16, view_sizes=(8,), head_hidden=16, head_output=8,
    precision="fp32", checkpoint_steps=2,
)  # fmt: skip
DOOMED = """
import os, signal, sys
from pathlib import Path
import torch
from evergreen.images.imageset import ImageSet
from evergreen.images.simclr import SimCLRConfig, pretrain

class Fuse:
    steps = 0
    def advance(self, count, **fields):
        self.steps += count // 16
        if self.steps == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
folder = Path(sys.argv[1])
config = SimCLRConfig.model_validate_json(sys.argv[2])
pretrain(ImageSet([folder / "images"]), config, 1, torch.device("cpu"), Fuse(), folder / "checkpoint")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image_folder(tmp_path / "images", 100, size=16)  # six steps an epoch
    return tmp_path


def run_and_die(folder: Path, config: SimCLRConfig, step: int) -> None:
    command = [sys.executable, "-c", DOOMED, str(folder), config.model_dump_json(), str(step)]
    assert subprocess.run(command, timeout=300).returncode == -signal.SIGKILL


def place(folder: Path) -> str:
    with safe_open(folder / "checkpoint" / "state.safetensors", framework="pt") as file:
        return file.metadata()["progress"]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(CONFIG, id="sgd"),
        pytest.param(
            CONFIG.model_copy(update={"optimiser": "lars", "loss": "memory_bank", "bank_size": 40}),
            id="lars with a memory bank",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_in_the_middle_of_an_epoch_it_goes_on_exactly(folder: Path, config: SimCLRConfig) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images = ImageSet([folder / "images"])
        whole = pretrain(images, config, 1, CPU, Silent())
        run_and_die(folder, config, step=6 + 5)  # the second epoch's fifth step; its fourth left a checkpoint
        assert '"epoch": 1, "step": 4' in place(folder)
        torch.manual_seed(99)
        resumed = pretrain(images, config, 1, CPU, Silent(), folder / "checkpoint")
    finally:
        torch.set_num_threads(threads)
    assert resumed.history == whole.history
    assert state_digest(resumed.encoder) == state_digest(whole.encoder)
    assert state_digest(resumed.head) == state_digest(whole.head)
