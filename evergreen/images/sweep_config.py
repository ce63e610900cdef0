"""What a sweep tries: the settings of a trial, and the tables of trials that the studies consist of."""

from collections.abc import Callable
from itertools import combinations
from typing import Any, Literal

from pydantic import Field

from evergreen.config import Config
from evergreen.images.backbones import TIMM
from evergreen.images.heads import HeadName
from evergreen.images.monitors import CollapseConfig
from evergreen.images.simclr_config import LossName, SimCLRConfig

Study = Literal["backbones", "heads", "losses", "augmentations", "temperature", "batch", "search"]

PAIRED = ("crop", "cutout", "colour", "sobel", "noise", "blur", "rotate")
"""The operations of the paper's heat map (Chen et al. 2020, figure 5)."""
BACKBONE_STEPS = 100
ORDER = {name: place for place, name in enumerate(PAIRED)}


class Trial(Config):
    """The settings of a trial; None leaves what params.yaml says.

    ``operations`` are the augmentation by name, each with its defaults.
    """

    encoder: str | None = None
    head: HeadName | None = None
    head_output: int | None = None
    batch_size: int | None = None
    temperature: float | None = None
    loss: LossName | None = None
    operations: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The settings in a line.

        >>> Trial(encoder="resnet9", operations=("crop", "colour")).name
        'encoder resnet9, operations crop+colour'
        """
        given = self.model_dump(exclude_none=True)
        return ", ".join(f"{key} {'+'.join(v) if key == 'operations' else v}" for key, v in given.items())


class SweepConfig(Config):
    """What is tried, and at which scale.

    Attributes:
        study: one of the tables, or ``search``: an optuna search over all settings at once.
        trials: of the search; of a table at most so many of its first rows. None: 20, and the whole table.
        seeds: each setting is tried with so many seeds.
        images: unlabelled images that a trial pretrains on.
        classes: the first classes by name, on whose labels the trials are compared.
        labelled: labelled images that the judging classifier learns from.
        validation: images of split val that it is measured on.
        finetune_steps: a trial is judged after so many steps of fine-tuning all layers; 0: by a linear head on the
            frozen features. None: 100 for the backbones, whose features differ in length and kind, else 0.
        width: of ResNet-9; None: as params.yaml says.
        input_size: side that images get in front of a backbone of timm.
        encoders, outputs, batches, temperatures: what is tried of each.
    """

    study: Study = "backbones"
    trials: int | None = Field(default=None, ge=1)
    seeds: int = Field(default=1, ge=1)
    images: int = Field(default=4000, ge=16)
    epochs: int = Field(default=10, ge=1)
    classes: int = Field(default=5, ge=2)
    labelled: int = Field(default=1000, ge=10)
    validation: int = Field(default=1000, ge=10)
    finetune_steps: int | None = Field(default=None, ge=0)
    width: int | None = Field(default=None, ge=1)
    input_size: int = Field(default=80, ge=8)
    encoders: tuple[str, ...] = ("resnet9", "resnet18", "resnet34", "resnet50")
    outputs: tuple[int, ...] = (32, 64, 128)
    batches: tuple[int, ...] = (32, 64, 128, 256, 512)
    temperatures: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0)

    @property
    def tuned_for(self) -> int:
        """Steps of fine-tuning before a trial is judged; 0: none, a linear head judges."""
        if self.finetune_steps is not None:
            return self.finetune_steps
        return BACKBONE_STEPS if self.study == "backbones" else 0


def table(config: SweepConfig) -> list[Trial]:
    """The trials of a study that is a table, in order."""
    tables: dict[str, Callable[[SweepConfig], list[Trial]]] = {
        "backbones": backbones,
        "augmentations": augmentations,
        "heads": lambda c: [Trial(head=head) for head in ("none", "linear", "hidden", "three")],
        "losses": lambda c: [Trial(loss=loss) for loss in ("nt_xent", "decoupled", "margin", "logistic")],
        "temperature": lambda c: [Trial(temperature=t) for t in c.temperatures],
        "batch": lambda c: [Trial(batch_size=b) for b in c.batches],
    }
    return tables[config.study](config)[: config.trials]


def backbones(config: SweepConfig) -> list[Trial]:
    """Each encoder with the largest output and the largest small batch, then with one of the two made smaller."""
    output, small = max(config.outputs), [b for b in config.batches if b <= 128] or [min(config.batches)]
    settings = [(output, max(small))]
    settings += [(other, max(small)) for other in sorted(config.outputs, reverse=True) if other != output]
    settings += [(output, other) for other in sorted(small, reverse=True) if other != max(small)]
    return [
        Trial(encoder=encoder, head_output=output, batch_size=batch)
        for encoder in config.encoders
        for output, batch in settings
    ]


def augmentations(config: SweepConfig) -> list[Trial]:
    """Each operation alone and each pair. Both views are changed, and the order within a pair is fixed."""
    alone = [(name,) for name in PAIRED]
    return [Trial(operations=operations) for operations in [*alone, *combinations(PAIRED, 2)]]


def suggested(trial: Any, config: SweepConfig) -> Trial:
    """The settings that an optuna trial asks for."""
    first = trial.suggest_categorical("first", PAIRED)
    second = trial.suggest_categorical("second", PAIRED)
    return Trial(
        encoder=trial.suggest_categorical("encoder", config.encoders),
        head=trial.suggest_categorical("head", ("none", "linear", "hidden", "three")),
        head_output=trial.suggest_categorical("head_output", config.outputs),
        batch_size=trial.suggest_categorical("batch_size", config.batches),
        temperature=round(trial.suggest_float("temperature", 0.05, 1.0, log=True), 3),
        operations=tuple(sorted({first, second}, key=lambda name: ORDER[name])),
    )


def recipe(base: SimCLRConfig, trial: Trial, config: SweepConfig) -> SimCLRConfig:
    """The pretraining of a trial.

    The learning rate, meant for a batch of 256, follows the batch size by its square root, so that batches are compared
    and not learning rates. Neither the watch for collapse nor a gate ends a trial: a bad setting gets its bad number.

    Raises:
        BadInputError: a setting cannot be.
    """
    values = base.model_dump()
    values |= trial.model_dump(exclude_none=True, exclude={"encoder", "operations"})
    encoder = base.encoder.model_dump() | {"name": trial.encoder or base.encoder.name}
    if config.width:
        encoder["width"] = config.width
    if encoder["name"].startswith(TIMM) and encoder["name"] != base.encoder.name:
        encoder["input_size"] = config.input_size
    values |= {"encoder": encoder, "epochs": config.epochs, "scaling": "sqrt", "gates": {}}
    values |= {"collapse": CollapseConfig(every=0).model_dump(), "checkpoint_steps": 0}
    if trial.operations is not None:
        values["augment"] = {"operations": [{"name": name} for name in trial.operations]}
    return SimCLRConfig.read(values, f"The trial {trial.name}")
