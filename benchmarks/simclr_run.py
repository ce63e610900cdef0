"""One run of the SimCLR benchmark in a process of its own: `python simclr_run.py TASK`, a line of JSON in and out."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent))
import numpy as np
import psutil
import torch
from pydantic import Field
from simclr_data import Data, linear_accuracy, open_data

from evergreen.config import Config, read_yaml
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder, forward_flops
from evergreen.images.imageset import ImageSet
from evergreen.images.losses import nt_xent
from evergreen.images.simclr import SimCLR, SimCLRConfig, pretrain
from evergreen.progress import Progress, Silent
from evergreen.training.precision import autocast, resolve, set_threads

PARAMS = Path(__file__).parents[1] / "params.yaml"
CPU = torch.device("cpu")
ENDLESS = 1_000_000  # epochs of a run that is stopped from outside


class Task(Config):
    """What to run.

    Attributes:
        kind: ``ours``: the engine with the settings of profile laptop; ``bare``: its network's forward and backward
            pass on views that stay the same; ``lightly``.
        encoder: ours by name.
        size: side of our views in pixels; lightly's are as large as the images.
        seconds: length of the window that the rate is taken in, or the training time that is aimed at.
        pairs: image pairs that we train on; with them the accuracy is measured, without them the rate.
        accuracy: what is measured of lightly, which trains by the clock.
        probe_images: labelled images of the linear probe; all if None.
        workspace: where the images are; the digits if None.
        scratch: folder for the digits.
        lightly: its settings.
    """

    kind: Literal["ours", "bare", "lightly"]
    encoder: str
    size: int
    batch: int
    threads: int
    seed: int = 0
    seconds: float
    pairs: int | None = None
    accuracy: bool = False
    probe_images: int | None = None
    workspace: Path | None = None
    scratch: Path
    lightly: dict[str, Any] = Field(default_factory=dict)


class EnoughError(Exception):
    """The window is full."""


class Window:
    """Takes the rate of a training loop that reports to it, once a step, after some steps of warm-up."""

    def __init__(self, seconds: float, warmup: int) -> None:
        self.length = seconds
        self.warmup = warmup
        self.steps = self.pairs = 0

    def advance(self, count: int = 1, **fields: object) -> None:
        if count == 0:
            return
        self.steps += 1
        if self.steps <= self.warmup:
            self.started, self.used = time.perf_counter(), cpu_seconds()
            return
        self.pairs += count
        self.seconds = time.perf_counter() - self.started
        if self.seconds >= self.length:
            self.cpu = cpu_seconds() - self.used
            raise EnoughError

    def figures(self) -> dict[str, float]:
        return {
            "pairs_per_second": round(self.pairs / self.seconds, 2),
            "cpu_ms_per_pair": round(1000 * self.cpu / self.pairs, 3),
            "steps": self.steps - self.warmup,
        }


def cpu_seconds() -> float:
    """Processor time of this process and its running children, the workers that make views."""
    me = psutil.Process()
    return sum(times.user + times.system for times in (p.cpu_times() for p in [me, *me.children(recursive=True)]))


def our_config(task: Task, images: ImageSet, epochs: int = ENDLESS) -> SimCLRConfig:
    """The settings of the default profile, with the task's encoder, batch and size of views."""
    config = SimCLRConfig.read(read_yaml(PARAMS)["images"]["pretrain"], str(PARAMS))
    mean, std = images.channel_statistics()
    encoder = config.encoder.model_copy(update={"name": task.encoder, "mean": mean, "std": std})
    changed = {"encoder": encoder, "batch_size": task.batch, "view_sizes": (task.size,), "epochs": epochs}
    return config.model_copy(update=changed)


class Part(ImageSet):
    """Some images of a set, by row number."""

    def __init__(self, whole: ImageSet, rows: "np.typing.NDArray[np.int64]") -> None:
        self.arrays, self.starts = whole.arrays, whole.starts
        self.rows = whole.rows[rows]
        self.index = whole.index.iloc[rows].reset_index(drop=True)


def run_ours(task: Task, data: Data) -> dict[str, Any]:
    """The rate of the engine, or what it learns from ``task.pairs``.

    A budget that is no whole number of epochs is spent in the next larger number of epochs over fewer images, for the
    schedule must end with it.
    """
    set_threads(task.threads)
    if task.pairs is None:
        return measured(
            lambda window: pretrain(data.images, our_config(task, data.images), task.seed, CPU, window), task
        )
    epochs = math.ceil(task.pairs / len(data.images))
    rows = np.random.default_rng(task.seed).permutation(len(data.images))[: math.ceil(task.pairs / epochs)]
    config = our_config(task, data.images, epochs)
    started = time.perf_counter()
    found = pretrain(Part(data.images, np.sort(rows)), config, task.seed, CPU, Silent())
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 1),
        "pairs": epochs * math.prod(config.batches(len(rows))),
        "epochs": epochs,
        "images": len(rows),
        **linear_accuracy(found.encoder, data, resolve("auto", CPU), task.probe_images),
    }


def run_bare(task: Task, data: Data) -> dict[str, Any]:
    """The rate of forward pass, loss and backward pass alone, and how it compares with a product of large matrices."""
    torch.set_num_threads(task.threads)
    config = our_config(task, data.images)
    precision = resolve(config.precision, CPU)
    model = SimCLR(config).train()
    views = torch.rand(2 * task.batch, 3, task.size, task.size).contiguous(memory_format=torch.channels_last)

    def train(window: Progress) -> None:
        while True:
            model.zero_grad(set_to_none=True)
            with autocast(precision, CPU):
                z = model(views)
            nt_xent(z.float(), config.temperature).backward()
            window.advance(task.batch)

    figures = measured(train, task)
    flops = 2 * 3 * forward_flops(model.encoder, task.size)  # two views; backward costs twice as much as forward
    return {
        **figures,
        "precision": precision,
        "gflops_per_pair": round(flops / 1e9, 3),
        "gflops_per_second": round(flops * figures["pairs_per_second"] / 1e9, 1),
        "matmul_gflops_per_second": {name: round(matmul_rate(name), 1) for name in ("fp32", "bf16")},
    }


def matmul_rate(precision: Literal["fp32", "bf16"], side: int = 2048, seconds: float = 3.0) -> float:
    """10⁹ operations per second of a product of square matrices, the best of those that fit the time."""
    a = torch.rand(side, side).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    out, best = torch.empty_like(a), math.inf
    until = time.perf_counter() + seconds
    while best == math.inf or time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(a, a, out=out)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best / 1e9


def run_lightly(task: Task, data: Data) -> dict[str, Any]:
    """The rate of lightly, or what it learns in ``task.seconds``."""
    import simclr_lightly

    settings = simclr_lightly.LightlySettings.read(task.lightly, "settings of lightly")
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    encoder = fresh_encoder(task, data)
    images = data.images.take(np.arange(len(data.images))).numpy()
    if not task.accuracy:
        return measured(lambda window: simclr_lightly.train(images, encoder, settings, task.batch, window), task)
    counter = Counter()
    seconds = simclr_lightly.train(images, encoder, settings, task.batch, counter, task.seconds)
    encoder = encoder.to(memory_format=torch.channels_last)
    found = linear_accuracy(encoder, data, resolve("auto", CPU), task.probe_images)
    return {"seconds": round(seconds, 1), "pairs": counter.pairs, **found}


class Counter:
    """Counts image pairs."""

    pairs = 0

    def advance(self, count: int = 1, **fields: object) -> None:
        self.pairs += count


def fresh_encoder(task: Task, data: Data) -> Encoder:
    """The encoder that we train too."""
    config: EncoderConfig = our_config(task, data.images).encoder
    return build_encoder(config)


def measured(train: Any, task: Task) -> dict[str, Any]:
    """Call ``train`` with a window until that is full."""
    window = Window(task.seconds, warmup=2 + int(task.lightly.get("workers", 0)))
    try:
        train(window)
    except EnoughError:
        return window.figures()
    raise AssertionError("the training loop ended before its window was full")


def main() -> None:
    task = Task.read(json.loads(sys.argv[1]), "task")
    data = open_data(task.workspace, task.scratch)
    runs = {"ours": run_ours, "bare": run_bare, "lightly": run_lightly}
    print(json.dumps({"data": data.name, "images": len(data.images), **runs[task.kind](task, data)}))


if __name__ == "__main__":
    main()
