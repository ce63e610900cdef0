"""`evergreen adapt` and `evergreen backtest`: follow a stream, and ask what other policies would have done."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from evergreen.errors import BadInputError
from flows.image_options import Profile, Workdir
from tasks.settings import Settings
from tasks.workspace import open_workspace

DOMAINS = ("images",)

Domain = Annotated[str, typer.Argument(help="The domain: images.")]
Trigger = Annotated[
    str | None, typer.Option(help="When to act: harm, drift, always, never. Default: params.yaml.", show_default=False)
]


def adapt(
    domain: Domain,
    profile: Profile = None,
    workdir: Workdir = None,
    folder: Annotated[Path | None, typer.Option(help="A folder of your own images to take in.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="none, head, finetune, retrain, replay. Default: params.yaml.", show_default=False),
    ] = None,
    trigger: Trigger = None,
    model_name: Annotated[str | None, typer.Option(help="Name in the model registry.", show_default=False)] = None,
) -> None:
    """Follow the stream with the champion: score what is new, look for harmful drift, adapt, prove, take over.

    Example: evergreen adapt images --policy replay
    """
    _check_domain(domain)
    _check_choices(policy, trigger)
    from tasks.server import prefect_api

    settings = Settings.load().apply()
    place = {"profile": profile, "workdir": workdir, "model_name": model_name}
    with open_workspace(settings, domain, **place) as workspace, prefect_api(settings) as server:
        from flows.adapt import adapt as flow
        from flows.adapt_summary import print_adaptation
        from flows.console import prefect_off_the_terminal

        if server is not None:
            server.wait()
        with prefect_off_the_terminal():
            source = str(folder) if folder else None
            result = flow(workdir=str(workspace.root), folder=source, policy=policy, trigger=trigger)
    print_adaptation(result)


def backtest(
    domain: Domain,
    profile: Profile = None,
    workdir: Workdir = None,
    policies: Annotated[
        str | None, typer.Option(help="Names joined by commas. Default: params.yaml.", show_default=False)
    ] = None,
    start: Annotated[
        int | None, typer.Option(help="Windows that the first champion is trained on.", show_default=False)
    ] = None,
    trigger: Trigger = None,
) -> None:
    """Replay the stream's history: what would each policy have done, how accurate would it have been, at what cost.

    Needs the workspace's windows and encoder: run `evergreen run images` first. An interrupted one goes on.

    Example: evergreen backtest images --policies none,finetune,replay
    """
    _check_domain(domain)
    names = [name.strip() for name in policies.split(",")] if policies else []
    for name in names:
        _check_choices(name, trigger)
    settings = Settings.load().apply()
    values: dict[str, Any] = {"backtest": {}}
    if names:
        values["backtest"]["policies"] = names
    if start is not None:
        values["backtest"]["start"] = start
    if trigger:
        values["adapt"] = {"loop": {"trigger": trigger}}
    with open_workspace(settings, domain, profile=profile, workdir=workdir, values=values) as workspace:
        from evergreen.images.backtest import run
        from evergreen.images.layout import ImageLayout
        from evergreen.report.backtest import draw
        from flows.adapt_summary import print_backtest
        from tasks.record import record_backtest

        with workspace.lock():
            run(workspace.root, workspace.params[domain])
            layout = ImageLayout(workspace.root)
            draw(layout.backtest)
        record_backtest(settings, workspace)
    print_backtest(layout.backtest)


def _check_choices(policy: str | None, trigger: str | None) -> None:
    """Refuse a name that does not exist before anything is started."""
    from evergreen.images.policies import POLICIES
    from evergreen.stream.loop import Trigger

    for option, given, known in (("policy", policy, tuple(POLICIES)), ("trigger", trigger, get_args(Trigger))):
        if given is not None and given not in known:
            raise BadInputError(f"No adaptation {option} {given!r}. There are: {', '.join(known)}.")


def _check_domain(domain: str) -> None:
    if domain not in DOMAINS:
        raise BadInputError(f"No domain {domain!r} to follow. There are: {', '.join(DOMAINS)}.")
