"""A sweep: SimCLR pretrained under many settings at a small scale, each judged by a classifier on validation labels.

The test set is never read: what a sweep chooses is measured once by the pipeline itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import write_atomically, write_json
from evergreen.images.finished import Finished
from evergreen.images.layout import ImageLayout
from evergreen.images.pretrain import checkpoint_folder
from evergreen.images.simclr import pretrain
from evergreen.images.simclr_config import SimCLRConfig
from evergreen.images.study_images import StudyImages, open_study, over_seeds, stratified, studies_folder, subset
from evergreen.images.sweep_config import SweepConfig, Trial, recipe, suggested, table
from evergreen.images.sweep_judge import Sample, judge_frozen, judge_tuned
from evergreen.progress import Progress, track
from evergreen.training import checkpoints
from evergreen.training.precision import best_device, set_threads

SEARCH_TRIALS = 20
MEASURES = ("precision", "recall", "f1", "accuracy")
MONITORS = {"pretraining_loss": "loss", "alignment": "alignment", "uniformity": "uniformity", "rankme": "rankme"}
"""Columns of a sweep's table, and the last epoch's monitors in them."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What the trials of a sweep share."""

    workspace: Path
    study: StudyImages
    sample: Sample
    base: SimCLRConfig
    config: SweepConfig
    seed: int
    finished: Finished
    device: torch.device

    @property
    def key(self) -> str:
        """The same for the same sweep: same data, parameters, scale and code."""
        return self.finished.key([self.config.model_dump(mode="json"), *self.identity])

    @property
    def folder(self) -> Path:
        """Where table and figures go."""
        return studies_folder(ImageLayout(self.workspace))

    @property
    def identity(self) -> list[Any]:
        """What decides every trial beside its settings."""
        scale = self.config.model_dump(mode="json", include={"images", "classes", "labelled", "validation"})
        return [scale, self.seed, torch.get_num_threads(), str(self.device), self.study.identity]


def open_sweep(workspace: Path, params: dict[str, Any], config: SweepConfig) -> Sweep:
    """Read what a sweep needs from a workspace.

    Args:
        workspace: one that has training windows.
        params: of the images; section ``pretrain`` is what the trials change.
        config: what to try.

    Raises:
        BadInputError: there are no windows or too few labels.
    """
    set_threads(params["threads"])
    study = open_study(ImageLayout(workspace))
    base = SimCLRConfig.read(params["pretrain"], "params.yaml: images.pretrain")
    seed = int(params["seed"])
    finished = Finished(workspace)
    return Sweep(workspace, study, draw_sample(study, config, seed), base, config, seed, finished, best_device())


def draw_sample(study: StudyImages, config: SweepConfig, seed: int) -> Sample:
    """Choose the images: unlabelled ones of all classes, labelled ones of the first few classes."""
    rng = np.random.default_rng(seed)
    classes = study.classes[: config.classes]

    def some(split: str, count: int) -> NDArray[np.int64]:
        rows = study.rows(split)
        rows = rows[study.labels[rows] < len(classes)]
        if len(np.unique(study.labels[rows])) < len(classes):
            raise BadInputError(
                f"Split {split} has no label of some of the classes {', '.join(classes)}. Label more images, or lower "
                "the number of classes."
            )
        return stratified(rows, study.labels[rows], min(1.0, count / len(rows)), rng)

    everything = study.rows("train", labelled=False)
    pretraining = np.sort(rng.permutation(everything)[: config.images])
    return Sample(pretraining, some("train", config.labelled), some("val", config.validation), classes)


def run(sweep: Sweep, on_trial: Callable[[Row], object] = lambda row: None) -> list[Row]:
    """Run the trials that are not finished yet; write a CSV file and a summary.

    Args:
        sweep: what to run.
        on_trial: told of every trial's row, finished long ago or just now, in order.

    Returns:
        A row for each setting and seed: its settings, the measures on the validation labels, and the monitors.

    Raises:
        BadInputError: no trial at all could be run.
    """
    rows: list[Row] = []
    passes = sweep.config.epochs * len(sweep.sample.pretraining)
    with track("sweep", total=count(sweep.config) * passes, unit="pairs") as bar:
        for trial in trials(sweep.config, sweep.seed, lambda: rows):
            for number in range(sweep.config.seeds):
                rows.append(one(sweep, trial, number, bar))
                on_trial(rows[-1])
    failed = [row["failed"] for row in rows if row["failed"]]
    if len(failed) == len(rows):
        raise BadInputError(f"None of the {len(rows)} trials could be run. The first: {failed[0]}")
    write(sweep, rows)
    return rows


def count(config: SweepConfig) -> int:
    """How many trainings a sweep consists of."""
    settings = config.trials or SEARCH_TRIALS if config.study == "search" else len(table(config))
    return settings * config.seeds


def trials(config: SweepConfig, seed: int, rows: Callable[[], list[Row]]) -> Iterator[Trial]:
    """The settings to try: those of a table, or those that optuna asks for after seeing the rows so far.

    The search keeps nothing: a sweep that goes on tells it the finished trials again, in their order, so that it asks
    what it would have asked without the interruption.
    """
    if config.study != "search":
        yield from table(config)
        return
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(config.trials or SEARCH_TRIALS):
        asked = search.ask()
        yield suggested(asked, config)
        found = [row["f1"] for row in rows()[-config.seeds :] if not row["failed"]]
        if found:
            search.tell(asked, float(np.mean(found)))
        else:
            search.tell(asked, state=optuna.trial.TrialState.FAIL)


def one(sweep: Sweep, trial: Trial, number: int, progress: Progress) -> Row:
    """The row of a trial under its ``number``-th seed, from the finished ones if it is there."""
    seed = sweep.seed + number
    settings = trial.model_dump(mode="json") | {"operations": "+".join(trial.operations or ()) or None}
    scale = sweep.config.model_dump(mode="json", include={"epochs", "width", "input_size"})
    scale["finetune_steps"] = sweep.config.tuned_for
    key = sweep.finished.key([trial.model_dump(mode="json"), scale, sweep.base.model_dump(mode="json"), seed,
                              *sweep.identity])  # fmt: skip

    def compute() -> Row:
        return measured(sweep, trial, seed, checkpoint_folder(sweep.workspace, key), progress)

    if sweep.finished.has(key):
        progress.advance(sweep.config.epochs * len(sweep.sample.pretraining))
    return {"trial": trial.name, "key": key, **settings, "seed": seed, **sweep.finished.once(key, compute)}


def measured(sweep: Sweep, trial: Trial, seed: int, checkpoint: Path, progress: Progress) -> Row:
    """Pretrain and judge; a setting that cannot be run gets the reason instead of numbers."""
    images = subset(sweep.study.images, sweep.sample.pretraining)
    try:
        config = recipe(sweep.base, trial, sweep.config)
        mean, std = images.channel_statistics()
        encoder = config.encoder.normalised_by((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
        config = config.model_copy(update={"encoder": encoder})
        result = pretrain(images, config, seed, sweep.device, progress, checkpoint)
    except BadInputError as error:
        return dict.fromkeys((*MEASURES, *MONITORS)) | {"failed": str(error)}
    last = result.history[-1]
    judged = (result.encoder, sweep.study, sweep.sample, result.precision)
    steps = sweep.config.tuned_for
    scores = judge_tuned(*judged, steps, seed) if steps else judge_frozen(*judged)
    checkpoints.discard(checkpoint)
    return scores | {name: last[known] for name, known in MONITORS.items()} | {"failed": None}


def write(sweep: Sweep, rows: list[Row]) -> None:
    """Write ``studies/<study>.csv``, a line for each training, and ``<study>.json``: a mean for each setting."""
    folder, frame = sweep.folder, pd.DataFrame(rows)
    write_atomically(folder / f"{sweep.config.study}.csv", lambda part: frame.to_csv(part, index=False))
    settings = summary(frame)
    best = max((row for row in settings if row["f1"] is not None), key=lambda row: float(row["f1"]))
    described = {
        "study": sweep.config.study,
        "config": sweep.config.model_dump(mode="json"),
        "classes": sweep.sample.classes,
        "n_pretraining": len(sweep.sample.pretraining),
        "n_labelled": len(sweep.sample.known),
        "n_validation": len(sweep.sample.judged),
        "finetune_steps": sweep.config.tuned_for,
        "best": best["trial"],
        "settings": settings,
    }
    write_json(folder / f"{sweep.config.study}.json", described)


def summary(frame: pd.DataFrame) -> list[Row]:
    """Mean and standard deviation over the seeds of each setting, in the order of the trials; null where none ran."""
    once = frame.drop_duplicates("key")  # a search may ask for the same settings twice
    settings = ["trial", *Trial.model_fields]
    measured = once[[*settings, *MEASURES]].astype(dict.fromkeys(MEASURES, np.float64))
    return over_seeds(measured, settings)
