"""The `evergreen` command. Heavy packages are imported by the commands that need them."""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from evergreen.config import read_yaml
from evergreen.errors import BadInputError, EvergreenError
from flows import adapt_cli, export_cli, models_cli, predictions_cli, score_cli, stream_cli, study_cli, table_cli
from flows.image_options import Profile, Workdir
from tasks.process import die_with_parent
from tasks.settings import Settings
from tasks.status import StepStatus
from tasks.workspace import Workspace, open_workspace

app = typer.Typer(
    name="evergreen",
    help="Keeps models fresh on data that never stops changing and is mostly unlabelled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
run_app = typer.Typer(help="Run a domain's flow, from its stream to a judged model version.", no_args_is_help=True)
app.add_typer(run_app, name="run")
run_app.command("retail")(table_cli.run_retail)
run_app.command("process")(table_cli.run_process)
app.add_typer(models_cli.app, name="models")
app.add_typer(stream_cli.app, name="stream")
app.command("score")(score_cli.score)
app.command("daily")(table_cli.daily)
app.command("adapt")(adapt_cli.adapt)
app.command("backtest")(adapt_cli.backtest)
app.command("predictions")(predictions_cli.predictions)
app.command("sweep")(study_cli.sweep)
app.add_typer(study_cli.app, name="study")
app.command("export")(export_cli.export)

Folder = Annotated[
    Path | None, typer.Option(help="A folder of your own images to take in; sub-folders are classes, if there are any.")
]
ModelName = Annotated[str | None, typer.Option(help="Name in the model registry.", show_default=False)]


@run_app.command("images")
def run_images(
    profile: Profile = None, workdir: Workdir = None, folder: Folder = None, model_name: ModelName = None
) -> None:
    """Bring the image model up to date with its stream: validate, window, check drift, learn, prove, register.

    Parameters given here are written into the workspace's params.yaml and hold from then on. --profile writes a whole
    profile; without it the params.yaml of an existing workspace stays as it is.

    Example: evergreen run images --profile smoke
    """
    from tasks.server import prefect_api

    settings = Settings.load().apply()
    place = {"profile": profile, "workdir": workdir, "model_name": model_name, "values": _source(folder)}
    with open_workspace(settings, "images", **place) as workspace, prefect_api(settings) as server:
        from flows.console import prefect_off_the_terminal
        from flows.image_summary import print_summary
        from flows.images import images

        if server is not None:
            server.wait()
        with prefect_off_the_terminal():
            result = images(workdir=str(workspace.root))
    print_summary(settings, result)


@app.command()
def step(
    domain: Annotated[str, typer.Argument(help="The domain: images, retail, process.")],
    name: Annotated[str, typer.Argument(help="The step, named as its stage in dvc.yaml.")],
    folder: Folder = None,
    receipts: table_cli.Receipts = None,
    log: table_cli.Log = None,
    column: table_cli.Column = None,
    table: table_cli.Table = None,
    mode: table_cli.Modes = None,
    period_days: table_cli.PeriodDays = None,
    periods: table_cli.Periods = None,
    churn_days: table_cli.ChurnDays = None,
    workdir: Annotated[Path, typer.Option(help="The workspace.")] = Path("."),
) -> None:
    """Run one step in a workspace. This is what a DVC stage calls.

    With --receipts or --log the workspace is made if need be, and the source is taken in first.

    Example: evergreen step images pretrain
    """
    started = time.monotonic()
    if os.environ.get("DVC_STAGE"):
        die_with_parent()
    from evergreen.steps import run_step

    workspace = Workspace(workdir.resolve(), domain)
    with _told_to_the_run():
        settings = Settings.load()
        os.environ.update(settings.environment())
        if receipts is not None or log is not None:
            shape = {"mode": mode, "period_days": period_days, "periods": periods, "churn_days": churn_days}
            table_cli.take_in(settings, workspace, name, receipts or log or "", column, table, shape)
        if folder is not None:
            if (domain, name) != ("images", "ingest"):
                raise BadInputError(f"--folder goes with `evergreen step images ingest`, not with {domain} {name}.")
            with workspace.lock():
                workspace.update(domain, _source(folder))
        _bound_threads(workspace, domain)
        run_step(domain, name, workspace.root)
    StepStatus(code=0, seconds=time.monotonic() - started).write()


@app.command()
def serve(
    profile: Profile = None,
    workdir: Workdir = None,
    cron: Annotated[str, typer.Option(help="When the image flow runs, as a cron expression in UTC.")] = "0 2 * * *",
    adapt_cron: Annotated[str, typer.Option(help="When the adaptation flow runs.")] = "0 4 * * *",
    retail: Annotated[Path | None, typer.Option(help="A workspace of retail to serve as well.")] = None,
    retail_cron: Annotated[str, typer.Option(help="When the churn flow takes in new receipts.")] = "10 0 * * *",
    process: Annotated[Path | None, typer.Option(help="A workspace of process to serve as well.")] = None,
    process_cron: Annotated[str, typer.Option(help="When the process flow follows its log.")] = "30 * * * *",
    port: Annotated[int, typer.Option(help="Port of the Prefect server on loopback.")] = 4200,
) -> None:
    """Run the flows on their schedules, nightly by default, until Ctrl-C. A run that finds nothing new says so.

    Example: evergreen serve --cron "30 1 * * *" --retail churn
    """
    settings = Settings.load().apply()
    with open_workspace(settings, "images", profile=profile, workdir=workdir) as workspace:
        root = workspace.root
    tables = _served_tables(settings, {"retail": (retail, retail_cron), "process": (process, process_cron)})
    from tasks.server import FOR_SCHEDULES, prefect_api

    with prefect_api(settings, port, FOR_SCHEDULES) as server:
        from flows.serve import image_deployments, serve_flows, table_deployment

        if server is not None:
            server.wait()
            print(f"Prefect {server.url.removesuffix('/api')}", flush=True)
        print(f"{root} runs at {cron}, adapts at {adapt_cron} (UTC). Ctrl-C ends.", flush=True)
        for domain, (place, when) in tables.items():
            print(f"{place} ({domain}) runs at {when} (UTC).", flush=True)
        others = [table_deployment(domain, *served) for domain, served in tables.items()]
        serve_flows([*image_deployments(root, cron, adapt_cron), *others])


@app.command()
def ui(
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow on loopback.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect on loopback.")] = 4200,
) -> None:
    """Open the user interfaces of MLflow and Prefect on loopback, until Ctrl-C.

    Example: evergreen ui --mlflow-port 5001
    """
    from flows.ui import show

    show(Settings.load().apply(), mlflow_port, prefect_port)


def main() -> int:
    """Run the command; errors that a user can mend become one message and their exit status."""
    try:
        app()
    except EvergreenError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _served_tables(settings: Settings, asked: dict[str, tuple[Path | None, str]]) -> dict[str, tuple[Path, str]]:
    """Workspace and schedule of the domains that are to be served.

    Raises:
        BadInputError: one has no source yet, so that there is nothing to take in.
    """
    from tasks.user_source import look_again

    served = {}
    for domain, (place, cron) in asked.items():
        if place is not None:
            with open_workspace(settings, domain, workdir=place) as workspace:
                look_again(workspace)
            served[domain] = (workspace.root, cron)
    return served


def _source(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    from tasks.user_source import folder_values

    return folder_values(folder)


def _bound_threads(workspace: Workspace, domain: str) -> None:
    """Give the linear algebra libraries the threads of the parameters: sums must not depend on the machine's size."""
    section = read_yaml(workspace.params_file).get(domain)
    threads = section.get("threads") if isinstance(section, dict) else None
    if threads is not None:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = str(threads)


@contextmanager
def _told_to_the_run() -> Iterator[None]:
    """Leave the step's error to the run that started it, if one did: DVC would swallow the text and the status."""
    try:
        yield
    except EvergreenError as error:
        if not StepStatus(code=error.exit_code, message=str(error)).write():
            raise
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        traceback.print_exc()
        StepStatus(code=1, message=f"The step crashed, see above: {type(error).__name__}: {error}").write()
        raise SystemExit(1) from None


if __name__ == "__main__":
    sys.exit(main())
