"""`evergreen sweep` and `evergreen study`: settings compared on validation labels, and what an encoder is good for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from evergreen.errors import BadInputError
from tasks.settings import Settings
from tasks.workspace import Workspace, open_workspace

IMAGES = "images"
app = typer.Typer(help="Ask what a domain's models are good for, and write tables and figures.", no_args_is_help=True)
images_app = typer.Typer(help="Studies of the image encoder.", no_args_is_help=True)
app.add_typer(images_app, name=IMAGES)

Domain = Annotated[str, typer.Argument(help="The domain: images.")]
Workdir = Annotated[
    Path | None, typer.Option(help="The workspace, with windows. Default: this checkout.", show_default=False)
]
Seeds = Annotated[int | None, typer.Option(help="Seeds, each with a draw of labels (3).", show_default=False)]


def sweep(
    domain: Domain,
    workdir: Workdir = None,
    study: Annotated[
        str, typer.Option(help="backbones, heads, losses, augmentations, temperature, batch, or search (optuna).")
    ] = "backbones",
    trials: Annotated[
        int | None, typer.Option(help="Trials of the search (20), or rows of the table (all).", show_default=False)
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each setting. Default: 1.", show_default=False)] = None,
    images: Annotated[int | None, typer.Option(help="Images to pretrain on (4,000).", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial (10).", show_default=False)] = None,
    classes: Annotated[int | None, typer.Option(help="Classes to compare on (5).", show_default=False)] = None,
    width: Annotated[int | None, typer.Option(help="First layer of ResNet-9.", show_default=False)] = None,
    encoders: Annotated[
        str | None, typer.Option(help="For backbones and search: names joined by commas.", show_default=False)
    ] = None,
    batches: Annotated[str | None, typer.Option(help="Batch sizes joined by commas.", show_default=False)] = None,
    temperatures: Annotated[str | None, typer.Option(help="Joined by commas.", show_default=False)] = None,
    finetune_steps: Annotated[
        int | None,
        typer.Option(
            help="Judge after so many steps of fine-tuning (backbones: 100); 0: by a linear head.", show_default=False
        ),
    ] = None,
) -> None:
    """Pretrain with many settings on some of the images and compare them on validation labels; the test set stays shut.

    Needs the workspace's windows: run `evergreen run images` first. An interrupted sweep goes on. Tables and figures
    are written to data/images/studies, every trial is a child run in MLflow.

    Example: evergreen sweep images --study temperature --seeds 3
    """
    check_domain(domain)
    from evergreen.images.sweep_config import Study, SweepConfig

    if study not in get_args(Study):
        raise BadInputError(f"No study {study!r} to sweep. There are: {', '.join(get_args(Study))}.")
    given: dict[str, Any] = {"study": study, "trials": trials, "seeds": seeds, "images": images, "epochs": epochs}
    given |= {"classes": classes, "width": width, "encoders": parts(encoders)}
    given |= {"batches": parts(batches), "temperatures": parts(temperatures), "finetune_steps": finetune_steps}
    config = SweepConfig.read(_given(given), "The sweep")
    with _studied(workdir) as (settings, workspace):
        from evergreen.images.sweep import open_sweep, run
        from evergreen.images.sweep_config import Trial
        from evergreen.report.study_figures import draw_sweep
        from flows.study_tables import print_sweep
        from tasks.sweep import record_study, record_trial, recorded

        opened = open_sweep(workspace.root, workspace.section, config)
        names = [*Trial.model_fields, "seed"]
        with recorded(settings, workspace, "sweep", opened.key) as parent:
            run(opened, on_trial=lambda row: record_trial(settings, parent, row, names))
            figures = draw_sweep(opened.folder, study)
            record_study(
                settings, parent, study, {}, [*figures, *(opened.folder / f"{study}.{t}" for t in ("csv", "json"))]
            )
        print_sweep(opened.folder, study)


@images_app.command("label-efficiency")
def label_efficiency(
    workdir: Workdir = None,
    fractions: Annotated[
        str | None, typer.Option(help="Shares of the labels (0.0002,0.001,0.01,0.1,1).", show_default=False)
    ] = None,
    seeds: Seeds = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Of simclr, supervised, rotation, self_training. Default: all.", show_default=False),
    ] = None,
) -> None:
    """Accuracy over the number of labels: the encoder against learning from scratch and others, at equal compute.

    Needs an encoder: run `evergreen run images` first. An interrupted study goes on.

    Example: evergreen study images label-efficiency --seeds 5
    """
    with _studied(workdir) as (settings, workspace):
        from evergreen.images.label_efficiency import TABLE, LabelEfficiencyConfig, Study
        from evergreen.report.study_figures import draw_label_efficiency
        from flows.study_tables import print_label_efficiency

        given = _given({"fractions": parts(fractions), "seeds": seeds, "methods": parts(methods)})
        study = Study(workspace.root, workspace.section, LabelEfficiencyConfig.read(given, "The study"))
        with _recorded(settings, workspace, TABLE, study.key) as folder:
            study.run()
            draw_label_efficiency(folder)
        print_label_efficiency(folder)


@images_app.command("transfer")
def transfer(
    workdir: Workdir = None,
    fraction: Annotated[float | None, typer.Option(help="Share of the labels (0.01).", show_default=False)] = None,
    seeds: Seeds = None,
) -> None:
    """All layers, the last layers, or embed then logistic regression, kNN or gradient boosting: one table.

    Needs an encoder: run `evergreen run images` first. An interrupted study goes on.

    Example: evergreen study images transfer --fraction 0.1
    """
    with _studied(workdir) as (settings, workspace):
        from evergreen.images.transfer import TABLE, Transfer, TransferConfig
        from flows.study_tables import print_transfer

        config = TransferConfig.read(_given({"fraction": fraction, "seeds": seeds}), "The study")
        study = Transfer(workspace.root, workspace.section, config)
        with _recorded(settings, workspace, TABLE, study.key) as folder:
            study.run()
        print_transfer(folder)


@images_app.command("retrieval")
def retrieval(
    workdir: Workdir = None,
    draws: Annotated[int | None, typer.Option(help="Draws of one image per class (10).", show_default=False)] = None,
    images: Annotated[int | None, typer.Option(help="Images to label (10,000).", show_default=False)] = None,
) -> None:
    """Label images from one labelled image per class, and count how many labels are right.

    Needs an encoder: run `evergreen run images` first.

    Example: evergreen study images retrieval --draws 20
    """
    with _studied(workdir) as (settings, workspace):
        from evergreen.files import sha256_json
        from evergreen.images.retrieval_study import TABLE, RetrievalStudyConfig, run
        from flows.study_tables import print_retrieval

        config = RetrievalStudyConfig.read(_given({"draws": draws, "images": images}), "The study")
        key = sha256_json([TABLE, config.model_dump(mode="json")])[:32]
        with _recorded(settings, workspace, TABLE, key) as folder:
            run(workspace.root, workspace.section, config)
        print_retrieval(folder)


@images_app.command("distil")
def distil(
    workdir: Workdir = None,
    width: Annotated[int | None, typer.Option(help="First layer of the student (16).", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of training (1,000).", show_default=False)] = None,
) -> None:
    """Teach a smaller network the classifier's answers on unlabelled images, and compare the two.

    Needs a classifier: run `evergreen run images` first. The student is left in data/images/studies/student.

    Example: evergreen study images distil --width 8
    """
    with _studied(workdir) as (settings, workspace):
        from evergreen.files import sha256_json
        from evergreen.images.distil_study import TABLE, DistilStudyConfig, run
        from flows.study_tables import print_distil

        recipe = {"distil": {"steps": steps}} if steps is not None else {}
        config = DistilStudyConfig.read(_given({"width": width}) | recipe, "The study")
        key = sha256_json([TABLE, config.model_dump(mode="json")])[:32]
        with _recorded(settings, workspace, TABLE, key) as folder:
            run(workspace.root, workspace.section, config)
        print_distil(folder)


@contextmanager
def _studied(workdir: Path | None) -> Iterator[tuple[Settings, Workspace]]:
    """An image workspace, held for the block."""
    from evergreen.training.memory import keep_freed_memory

    settings = Settings.load().apply()
    keep_freed_memory()
    with open_workspace(settings, IMAGES, workdir=workdir) as workspace:
        yield settings, workspace


@contextmanager
def _recorded(settings: Settings, workspace: Workspace, name: str, key: str) -> Iterator[Path]:
    """A run in MLflow around a study, which gets what the study leaves in the folder that is yielded."""
    from evergreen.files import read_json
    from evergreen.images.layout import ImageLayout
    from evergreen.images.study_images import studies_folder
    from tasks.sweep import record_study, recorded

    folder = studies_folder(ImageLayout(workspace.root))
    with recorded(settings, workspace, "study", key) as run_id:
        yield folder
        result = read_json(folder / f"{name}.json")
        result.pop("config")
        record_study(settings, run_id, name, result, sorted(folder.glob(f"{name}.*")))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def check_domain(domain: str) -> None:
    """Refuse a domain without studies."""
    if domain != IMAGES:
        raise BadInputError(f"No domain {domain!r} to study. There are: {IMAGES}.")


def parts(text: str | None) -> list[str] | None:
    """What commas join."""
    return [part.strip() for part in text.split(",")] if text else None
