"""`evergreen sweep`: many settings of the pretraining, compared at a small scale on validation labels."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from evergreen.errors import BadInputError
from tasks.settings import Settings
from tasks.workspace import open_workspace

IMAGES = "images"

Domain = Annotated[str, typer.Argument(help="The domain: images.")]
Workdir = Annotated[
    Path | None, typer.Option(help="The workspace, with windows. Default: this checkout.", show_default=False)
]


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
    given |= {"batches": parts(batches), "temperatures": parts(temperatures)}
    config = SweepConfig.read({name: value for name, value in given.items() if value is not None}, "The sweep")
    settings = Settings.load().apply()
    with open_workspace(settings, IMAGES, workdir=workdir) as workspace:
        from evergreen.images.layout import ImageLayout
        from evergreen.images.study_images import studies_folder
        from evergreen.images.sweep import open_sweep, run
        from evergreen.images.sweep_config import Trial
        from evergreen.report.study_figures import draw_sweep
        from flows.study_tables import print_sweep
        from tasks.sweep import record_study, record_trial, recorded

        opened = open_sweep(workspace.root, workspace.section, config)
        names = [*Trial.model_fields, "seed"]
        with recorded(settings, workspace, "sweep", opened.key) as parent:
            run(opened, on_trial=lambda row: record_trial(settings, parent, row, names))
            folder = studies_folder(ImageLayout(workspace.root))
            files = [folder / f"{study}.csv", folder / f"{study}.json", *draw_sweep(folder, study)]
            record_study(settings, parent, {}, files)
    print_sweep(folder, study)


def check_domain(domain: str) -> None:
    """Refuse a domain without studies."""
    if domain != IMAGES:
        raise BadInputError(f"No domain {domain!r} to study. There are: {IMAGES}.")


def parts(text: str | None) -> list[str] | None:
    """What commas join."""
    return [part.strip() for part in text.split(",")] if text else None
