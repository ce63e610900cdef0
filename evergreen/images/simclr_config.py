"""How SimCLR pretraining is configured, and what it cannot be run with."""

import os
import shutil
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.images.augment import AugmentConfig
from evergreen.images.distributed import Processes
from evergreen.images.encoders import EncoderConfig
from evergreen.images.heads import HeadName
from evergreen.images.monitors import CollapseConfig, Monitor
from evergreen.training.optimisers import OptimiserName
from evergreen.training.precision import Precision
from evergreen.training.schedules import Scaling

MIN_IMAGES = 16
WORTH_COMPILING = 2_000
"""Steps: at 25 ms each less than a minute, about what the compiler takes."""

LossName = Literal["nt_xent", "decoupled", "margin", "logistic", "supervised", "memory_bank"]


class SimCLRConfig(Config):
    """How the encoder is pretrained.

    ``view_sizes`` lists the side of the views in pixels; the epochs are shared out among them in order. Views smaller
    than the images cost less by the square of the ratio, and in a short run more epochs are worth more than pixels.

    Attributes:
        batch_size: images of a step, over all processes.
        loss: one of :mod:`evergreen.images.losses`; ``margin`` belongs to the loss margin, ``bank_size``, in images, to
            memory_bank. The loss margin has no temperature.
        head: see :func:`evergreen.images.heads.build_head`.
        scaling: how ``learning_rate``, meant for a batch of 256, follows ``batch_size``.
        chunk_size: images that a process holds at a time, with the loss over the whole batch all the same; see
            :mod:`evergreen.images.gradient_cache`. None: all of them.
        checkpoint_steps: steps between two checkpoints within an epoch; 0: none there.
        checkpoint_epochs: epochs between two checkpoints after an epoch.
        compile: whether the network is compiled, which takes minutes at the start; None: in one process on a card, if
            the run is long enough and there is a C compiler.
        gates: limits for the last epoch's monitors; a run on the wrong side of one writes no encoder.
    """

    encoder: EncoderConfig = EncoderConfig()
    augment: AugmentConfig = AugmentConfig()
    epochs: int = Field(gt=0)
    batch_size: int = Field(default=256, ge=4)
    view_sizes: tuple[Annotated[int, Field(ge=8)], ...] = Field(default=(16,), min_length=1)
    loss: LossName = "nt_xent"
    temperature: float = Field(default=0.5, gt=0)
    margin: float = Field(default=0.4, gt=0)
    bank_size: int = Field(default=4096, ge=1)
    optimiser: OptimiserName = "sgd"
    learning_rate: float = Field(default=0.3, gt=0)
    scaling: Scaling = "none"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    head: HeadName = "hidden"
    head_hidden: int = Field(default=512, ge=1)
    head_output: int = Field(default=128, ge=1)
    precision: Precision = "auto"
    chunk_size: int | None = Field(default=None, ge=2)
    checkpoint_steps: int = Field(default=100, ge=0)
    checkpoint_epochs: int = Field(default=1, ge=1)
    compile: bool | None = None
    collapse: CollapseConfig = CollapseConfig()
    gates: dict[Monitor, float] = Field(default_factory=dict)

    def batches(self, images: int, world: int = 1) -> tuple[int, int]:
        """Size of a batch and batches in an epoch: a small set is one batch, a last incomplete one is left out.

        With ``world`` processes the size is a multiple of it.
        """
        size = min(self.batch_size, images) // world * world
        return size, images // size

    def compiles(self, device: torch.device, images: int, world: int) -> bool:
        """Whether the network is compiled. Not in several processes: their batch norms ask each other."""
        if self.compile is not None:
            return self.compile
        long = self.epochs * self.batches(images)[1] >= WORTH_COMPILING
        return world == 1 and device.type == "cuda" and long and has_compiler()

    def view_size(self, epoch: int) -> int:
        """Side of the views in a 0-based epoch."""
        return self.view_sizes[epoch * len(self.view_sizes) // self.epochs]


def has_compiler() -> bool:
    """Whether torch's compiler finds the C compiler that it needs."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), os.environ.get("CC", "gcc"), "clang"))


def check(config: SimCLRConfig, images: int, labels: NDArray[np.int64] | None, processes: Processes) -> None:
    """Complain of what this recipe cannot be run with."""
    if images < MIN_IMAGES:
        raise BadInputError(
            f"Pretraining needs at least {MIN_IMAGES} images, found {images} in the training windows. "
            "Ingest more images."
        )
    if config.loss == "supervised" and (labels is None or not (labels >= 0).any()):
        raise BadInputError(
            f"The loss supervised needs labels, found none among {images} images. Label some or choose another "
            "images.pretrain.loss."
        )
    if config.loss == "memory_bank" and config.bank_size + config.batch_size > images:
        raise BadInputError(
            f"A bank_size of {config.bank_size} beside a batch_size of {config.batch_size} would hold an image against "
            f"itself among {images} images. Lower images.pretrain.bank_size to "
            f"{max(1, images - config.batch_size)} at most."
        )
    world = processes.world
    if config.compile and (world > 1 or not has_compiler()):
        found = f"{world} processes" if world > 1 else "no C compiler"
        raise BadInputError(
            f"images.pretrain.compile: true needs one process and a C compiler (gcc or clang), found {found}. Leave it "
            "out or set it to false."
        )
    if config.batch_size % world or min(config.batch_size, images) < 2 * world:
        raise BadInputError(
            f"A batch of {min(config.batch_size, images)} images cannot be shared out evenly among {world} processes, "
            "at least 2 for each. Make images.pretrain.batch_size a multiple of the processes."
        )
