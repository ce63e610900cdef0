"""`evergreen score`: new examples and the registered champion's answers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evergreen.errors import BadInputError
from flows.table_cli import Column, Table, columns
from tasks.settings import Settings

if TYPE_CHECKING:
    from evergreen.images.score import Scored
    from tasks.versions import ModelVersionInfo

DOMAINS = ("images", "retail", "process")


def score(
    domain: Annotated[str, typer.Argument(help="The domain: images, retail, process.")],
    input_: Annotated[
        str,
        typer.Option(
            "--input",
            help="A folder of images, a Parquet file of images or paths, an array folder; receipts; an event log.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="Where the answers go: .parquet or .csv.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Registered name. Default: the domain's, else the only one that begins so.", show_default=False
        ),
    ] = None,
    model_version: Annotated[
        str | None, typer.Option(help="A version's number. Default: the champion.", show_default=False)
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Parquet: the column of images or paths.", show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in memory at a time.")] = 256,
    day: Annotated[
        str | None,
        typer.Option(help="Retail: the day to score. Default: that of the last receipt.", show_default=False),
    ] = None,
    column: Column = None,
    table: Table = None,
) -> None:
    """Score with the registered champion: images one by one, a day's active customers, or the open cases of a log.

    What cannot be used is listed with its reason in <output>.quarantine.parquet.

    Example: evergreen score images --input photos --output predictions.parquet
    """
    if domain not in DOMAINS:
        raise BadInputError(f"No domain {domain!r} to score. There are: {', '.join(DOMAINS)}.")
    _check_output(output)
    if "://" not in input_ and not Path(input_).exists():
        raise BadInputError(f"--input {input_} does not exist. Name a folder of images, or a file.")
    if domain != "images":
        from flows.score_tables import Asked, score_table

        score_table(domain, Asked(input_, output, model, model_version, columns(column) or {}, table, day))
        return
    _score_images(Path(input_), output, model, model_version, image_column, batch_size)


def _score_images(
    input_: Path, output: Path, model: str | None, model_version: str | None, image_column: str | None, batch_size: int
) -> None:
    from evergreen.images.score import Identity, quarantine_path, score
    from evergreen.images.score_source import open_source
    from evergreen.progress import track
    from evergreen.training.precision import best_device
    from tasks.mlflow_store import connect
    from tasks.registry import load
    from tasks.versions import champion, choose_model, get_version

    source = open_source(input_, image_column, without=(output, quarantine_path(output)))
    settings = Settings.load().apply()
    client = connect(settings)
    name = choose_model(client, "images", model)
    info = get_version(client, name, model_version) if model_version is not None else champion(client, name)
    classifier = load(settings, info, "images", str(best_device()))
    identity = Identity(info.name, info.version, datetime.now(UTC))
    with track("score", total=source.total, unit="images") as progress:
        scored = score(source, output, classifier, identity, progress, batch_size)
    _tell(scored, output, info)


def _check_output(output: Path) -> None:
    if output.suffix not in (".parquet", ".csv"):
        raise BadInputError(f"--output {output} ends in {output.suffix!r}, expected .parquet or .csv.")
    if output.is_dir():
        raise BadInputError(f"--output {output} is a folder, expected a file that ends in .parquet or .csv.")


def _tell(scored: "Scored", output: Path, info: "ModelVersionInfo") -> None:
    print(f"{scored.scored:,} of {scored.read:,} images scored with {info.name} version {info.version}: {output}")
    shown = [f"{name} {count:,}" for name, count in list(scored.classes.items())[:10]]
    more = len(scored.classes) - len(shown)
    print(f"Answers: {', '.join(shown)}{f' and {more} more classes' if more > 0 else ''}.")
    if scored.quarantine is not None:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in scored.refused.items())
        print(f"Not scored: {kinds}; each with its reason in {scored.quarantine}.")
