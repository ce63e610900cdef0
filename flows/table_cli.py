"""`evergreen run retail` and `evergreen run process`: options become parameters, then the flow runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evergreen.errors import BadInputError
from tasks.settings import Settings
from tasks.workspace import Workspace, open_workspace

Mode = Literal["default", "published"]
MODE_OF = {"retail": "examples", "process": "online"}
"""Domain → the section of its parameters that the mode and the sizes belong to."""

Workdir = Annotated[
    Path | None, typer.Option(help="The workspace and the place of the results. Default: one in .evergreen.")
]
Modes = Annotated[
    Mode | None,
    typer.Option(help="default: like a live system; published: as the paper did it.", show_default=False),
]
Models = Annotated[
    str | None, typer.Option(help="Models to run: evergreen, all, or names with commas between.", show_default=False)
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Seeds of each model.", show_default=False)]
Seed = Annotated[int | None, typer.Option(min=0, help="The first seed.", show_default=False)]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the computation.", show_default=False)]
Column = Annotated[
    list[str] | None, typer.Option(help="FIELD=NAME of a column in the source; may be repeated.", show_default=False)
]
Table = Annotated[str | None, typer.Option(help="The table, where the source is a database.", show_default=False)]
ModelName = Annotated[str | None, typer.Option(help="Name in the model registry.", show_default=False)]
Receipts = Annotated[
    str | None,
    typer.Option(help="Receipts: Parquet, CSV, Excel, a folder, or the URL of a database.", show_default=False),
]
Log = Annotated[
    str | None, typer.Option(help="Event log: XES, XES.gz, CSV, Parquet, or the URL of a database.", show_default=False)
]
FirstDay = Annotated[str | None, typer.Option(help="First day of labels, YYYY-MM-DD.", show_default=False)]
InitialDays = Annotated[
    int | None, typer.Option(min=1, help="Days of labels before the first prediction that counts.", show_default=False)
]
PeriodDays = Annotated[int | None, typer.Option(min=1, help="Days of a period.", show_default=False)]
Periods = Annotated[int | None, typer.Option(min=1, help="Periods of an example.", show_default=False)]
ChurnDays = Annotated[int | None, typer.Option(min=1, help="Days without purchase that are churn.", show_default=False)]
RepairDates = Annotated[
    bool | None, typer.Option(help="Swap day and month back where they were swapped.", show_default=False)
]
OrderBy = Annotated[
    str | None,
    typer.Option(help="Columns that put a table's rows in order, with commas between.", show_default=False),
]
Outcome = Annotated[
    str | None, typer.Option(help="Activities that count as the outcome, with commas between.", show_default=False)
]


def run_retail(
    receipts: Receipts = None,
    workdir: Workdir = None,
    mode: Modes = None,
    first_day: FirstDay = None,
    initial_days: InitialDays = None,
    period_days: PeriodDays = None,
    periods: Periods = None,
    churn_days: ChurnDays = None,
    column: Column = None,
    table: Table = None,
    repair_dates: RepairDates = None,
    models: Models = None,
    seeds: Seeds = None,
    seed: Seed = None,
    threads: Threads = None,
    model_name: ModelName = None,
) -> None:
    """Bring the churn model up to date with its receipts: validate, make examples, learn, follow, prove, register.

    Options are written into the workspace's params.yaml and hold from then on.

    Example: evergreen run retail --receipts receipts.csv --workdir churn
    """
    source = source_values("retail", receipts, column, table)
    _put(source, "repair_dates", repair_dates)
    examples = _given(mode=mode, period_days=period_days, periods=periods, churn_days=churn_days)
    online = _given(
        first_day=_day(first_day), initial_days=initial_days, models=_names(models, "--models"), seeds=seeds
    )
    values = {"source": source, "examples": examples, "online": online} | _given(seed=seed, threads=threads)
    _run("retail", workdir, model_name, values)


def daily(workdir: Workdir = None) -> None:
    """Follow the receipts of a churn workspace by a day: answer the new day's customers, join outcomes, look for drift.

    The champion answers; the whole run, as of `evergreen run retail`, follows only after a drift. Scores of each day
    are in data/retail/daily/scores, and with their outcomes in the ledger.

    Example: evergreen daily --workdir churn
    """
    from tasks.server import prefect_api

    settings = Settings.load().apply()
    with open_workspace(settings, "retail", workdir=workdir) as workspace:
        from tasks.user_source import look_again

        look_again(workspace)
        with prefect_api(settings) as server:
            from flows.console import prefect_off_the_terminal
            from flows.daily import daily as flow

            if server is not None:
                server.wait()
            with prefect_off_the_terminal():
                result = flow(workdir=str(workspace.root))
    known = {name: value for name, value in result.items() if name not in ("workspace", "model")}
    print(f"{result['model']}: {', '.join(f'{name} {value}' for name, value in known.items())}")


def run_process(
    log: Log = None,
    workdir: Workdir = None,
    mode: Modes = None,
    outcome: Outcome = None,
    column: Column = None,
    table: Table = None,
    models: Models = None,
    seeds: Seeds = None,
    seed: Seed = None,
    threads: Threads = None,
    order_by: OrderBy = None,
    model_name: ModelName = None,
) -> None:
    """Bring the model of a process up to date with its event log: validate, learn, follow, explain drift, register.

    Options are written into the workspace's params.yaml and hold from then on.

    Example: evergreen run process --log log.xes.gz --workdir helpdesk
    """
    source = source_values("process", log, column, table)
    _put(source, "order_by", _names(order_by, "--order-by"))
    online = _given(mode=mode, outcome=_names(outcome, "--outcome"), models=_names(models, "--models"), seeds=seeds)
    values = {"source": source, "online": online} | _given(seed=seed, threads=threads)
    _run("process", workdir, model_name, values)


def take_in(
    settings: Settings,
    workspace: Workspace,
    step: str,
    source: str,
    column: list[str] | None,
    table: str | None,
    shape: dict[str, Any],
) -> None:
    """Make a workspace for a source if there is none, and prepare the source for a step that is run alone.

    Args:
        settings: the places of this installation.
        workspace: where; of retail or process.
        step: the step that comes after ingest and examples; itself it is left to the caller.
        source: file, folder or database.
        column: FIELD=NAME pairs.
        table: of a database.
        shape: mode and sizes of the examples, None where not given.
    """
    from evergreen.steps import STEPS, run_step

    domain = workspace.domain
    if domain not in MODE_OF:
        raise BadInputError(f"--receipts goes with retail and --log with process, not with {domain}.")
    if step not in STEPS[domain]:
        raise BadInputError(f"No step {step!r} in {domain}. There are: {', '.join(STEPS[domain])}.")
    section = MODE_OF[domain]
    values = {"source": source_values(domain, source, column, table), section: _given(**shape)}
    with open_workspace(settings, domain, workdir=workspace.root, values=values) as opened:
        for earlier in ("ingest", "examples"):
            if earlier == step or earlier not in STEPS[domain]:
                break
            run_step(domain, earlier, opened.root)


def source_values(domain: str, source: str | None, column: list[str] | None, table: str | None) -> dict[str, Any]:
    """The parameters of a domain's source that the options ask for.

    Raises:
        BadInputError: there is no such file, or a column is not given as FIELD=NAME.
    """
    from tasks import user_source

    values: dict[str, Any] = user_source.source_values(domain, source) if source else {}
    _put(values, "columns", columns(column))
    _put(values, "table", table)
    return values


def columns(given: list[str] | None) -> dict[str, str] | None:
    """FIELD=NAME pairs as a mapping.

    >>> columns(["timestamp=When", "amount=a=b"])
    {'timestamp': 'When', 'amount': 'a=b'}

    Raises:
        BadInputError: a pair has no equals sign, or one side is empty.
    """
    pairs = [text.partition("=") for text in given or ()]
    for text, (field, _, name) in zip(given or (), pairs, strict=True):
        if not (field and name):
            raise BadInputError(f"--column {text} is no FIELD=NAME, e.g. --column timestamp=InvoiceDate.")
    return {field: name for field, _, name in pairs} or None


def _run(domain: str, workdir: Path | None, model_name: str | None, values: dict[str, Any]) -> None:
    from tasks.server import prefect_api

    settings = Settings.load().apply()
    place: dict[str, Any] = {"workdir": workdir, "model_name": model_name, "values": values}
    with open_workspace(settings, domain, **place) as workspace:
        from tasks.user_source import look_again

        look_again(workspace)  # a missing source is told before a server is started for it
        with prefect_api(settings) as server:
            from flows.console import prefect_off_the_terminal
            from flows.table_summary import print_summary

            if server is not None:
                server.wait()
            with prefect_off_the_terminal():
                result = _flow(domain)(workdir=str(workspace.root))
    print_summary(settings, domain, result)


def _flow(domain: str) -> Callable[..., dict[str, Any]]:
    if domain == "retail":
        from flows.retail import retail

        return retail
    from flows.process import process

    return process


def _names(text: str | None, option: str) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise BadInputError(f"{option} {text!r} holds an empty name. Write names with commas between.")
    return names


def _day(text: str | None) -> str | None:
    """A day as ISO 8601 says it."""
    from datetime import date

    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise BadInputError(f"--first-day {text} is no day, expected YYYY-MM-DD.") from error


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        values[name] = value
