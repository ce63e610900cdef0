"""`evergreen predictions`: what the models in service said, and how right they were."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from evergreen.errors import BadInputError
from tasks.settings import Settings

DOMAINS = ("images",)


def predictions(
    domain: Annotated[str, typer.Argument(help="The domain: images.")],
    output: Annotated[
        Path | None, typer.Option(help="Write the ledger's rows to this Parquet file.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Registered name. Default: images, else the only one that begins so.", show_default=False),
    ] = None,
    every: Annotated[str, typer.Option(help="Length of the periods of the accuracy table, e.g. 1D or 6h.")] = "1D",
) -> None:
    """Show the accuracy of the answers given, period by period, in two views, and export them.

    At decision time an answer counts with its label if that was known when the period ended; at label time it counts
    in the period in which its label arrived.

    Example: evergreen predictions images --output predictions.parquet
    """
    if domain not in DOMAINS:
        raise BadInputError(f"No domain {domain!r} with predictions. There are: {', '.join(DOMAINS)}.")
    if output is not None and output.suffix != ".parquet":
        raise BadInputError(f"--output {output} ends in {output.suffix!r}, expected .parquet.")
    import pandas as pd

    from evergreen.stream.accuracy import accuracy_over_time
    from evergreen.stream.predictions import PredictionLedger
    from flows.tables import print_table
    from tasks.mlflow_store import connect
    from tasks.versions import choose_model

    try:
        length = pd.Timedelta(every)
    except ValueError as error:
        raise BadInputError(f"--every {every!r} is no length of time, expected something like 1D or 6h.") from error
    settings = Settings.load().apply()
    name = choose_model(connect(settings), domain, model)
    with contextlib.closing(PredictionLedger(settings.ledger_url, name)) as ledger:
        views = {view: accuracy_over_time(ledger.read(), length, view) for view in ("decision", "label")}
        joined = views["decision"].merge(views["label"], on="start", how="outer", suffixes=("", "_label"))
        rows = [
            (f"{row.start:%Y-%m-%d %H:%M}", _count(row.predictions), _rate(row.labelled, row.accuracy),
             _rate(row.labelled_label, row.accuracy_label))
            for row in joined.sort_values("start").itertuples()
        ]  # fmt: skip
        print_table(("period", "answers", "right at decision time", "right at label time"), rows)
        if output is not None:
            print(f"{ledger.export(output):,} predictions of {name}: {output}")


def _count(value: float) -> str:
    return f"{int(value):,}" if value == value else "-"


def _rate(labelled: float, accuracy: float) -> str:
    return f"{accuracy:.1%} of {int(labelled):,} labelled" if labelled > 0 else "-"
