"""`evergreen models`: what is registered, who is champion, and moving that."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.versions import ModelVersionInfo

DOMAIN = "images"
SHORT = 12  # digits of a hash that tell versions apart

app = typer.Typer(help="The model registry: list, show, promote, rollback, history.", no_args_is_help=True)

Model = Annotated[
    str | None,
    typer.Option(help="Registered name. Default: images, else the only one that begins so.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


@app.command("list")
def list_(model: Model = None, as_json: AsJson = False) -> None:
    """List the versions of a model, or of all models, newest first.

    Example: evergreen models list --json
    """
    from flows.tables import print_table
    from tasks.mlflow_store import connect
    from tasks.versions import choose_model, list_versions, models

    client = connect(Settings.load().apply())
    names = models(client) if model is None else []
    versions = [info for name in names or [choose_model(client, "", model)] for info in list_versions(client, name)]
    if as_json:
        _print_json([_facts(info) for info in versions])
        return
    columns = ("model", "version", "alias", "made", "gate score", "decision", "profile", "weights")
    print_table(columns, [_row(info) for info in versions])


@app.command()
def show(
    version: Annotated[
        str | None, typer.Argument(help="Its number. Default: the champion.", show_default=False)
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show one version: what it was made of and what the gate said of it.

    Example: evergreen models show 3
    """
    from flows.tables import print_table

    _, client, name = _open(model)
    info = _chosen(client, name, version)
    if as_json:
        _print_json(_facts(info))
        return
    decision = _decision(info)
    rows = [
        ("model", f"models:/{info.name}/{info.version}"),
        ("alias", ", ".join(info.aliases)),
        ("made", info.created),
        ("run", info.run_id),
        *((key, value) for key, value in sorted(info.tags.items()) if key != "decision"),
        ("decision", decision.get("reason", "none yet")),
        *((f"  {check['name']}", _check(check)) for check in decision.get("checks", [])),
    ]
    print_table(("", f"{info.name} version {info.version}"), rows)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Its number.")],
    model: Model = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "promoted by hand",
    as_json: AsJson = False,
) -> None:
    """Make a version the champion, whatever the gate said of it. The champion before it becomes previous.

    Example: evergreen models promote 3 --why "the gate's images are out of date"
    """
    from tasks.aliases import move_champion
    from tasks.registry import load
    from tasks.versions import get_version

    settings, client, name = _open(model)
    info = get_version(client, name, version)
    entry = move_champion(settings, name, version, why, lambda champion: True, lambda: load(settings, info))
    _tell(name, entry, as_json)


@app.command()
def rollback(
    model: Model = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "rolled back by hand",
    as_json: AsJson = False,
) -> None:
    """Put the previous champion back. A second rollback undoes the first.

    Example: evergreen models rollback --why "complaints since Monday"
    """
    from tasks import aliases
    from tasks.registry import load
    from tasks.versions import get_version

    settings, client, name = _open(model)
    entry = aliases.rollback(settings, name, why, lambda version: load(settings, get_version(client, name, version)))
    _tell(name, entry, as_json)


@app.command()
def history(model: Model = None, as_json: AsJson = False) -> None:
    """List every move of the champion: when, who, from which version to which, and why.

    Example: evergreen models history
    """
    from flows.tables import print_table
    from tasks import aliases

    _, client, name = _open(model)
    entries = aliases.history(client, name)
    if as_json:
        _print_json(entries)
        return
    columns = ("at", "who", "action", "from", "to", "why")
    print_table(columns, [[str(entry[column] or "-") for column in columns] for entry in entries])


def _open(model: str | None) -> tuple[Settings, "MlflowClient", str]:
    from tasks.mlflow_store import connect
    from tasks.versions import choose_model, models

    settings = Settings.load().apply()
    client = connect(settings)
    # without images, the only model there is
    domain = DOMAIN if model is not None or models(client, DOMAIN) else ""
    return settings, client, choose_model(client, domain, model)


def _chosen(client: "MlflowClient", name: str, version: str | None) -> "ModelVersionInfo":
    from tasks.versions import champion, get_version

    return get_version(client, name, version) if version is not None else champion(client, name)


def _tell(name: str, entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json({"model": name, **entry})
        return
    before = f"version {entry['from']} is previous now" if entry["from"] else "it is the first"
    print(f"Version {entry['to']} is the champion of {name}; {before}.")


def _row(info: "ModelVersionInfo") -> list[str]:
    decision = _decision(info)
    floor = next((check for check in decision.get("checks", []) if check["name"] == "floor"), None)
    return [
        info.name,
        info.version,
        ", ".join(info.aliases) or "-",
        info.created,
        f"{floor['found']:.1%}" if floor else "-",
        {True: "promote", False: "keep the champion", None: "-"}[decision.get("promote")],
        info.tags.get("profile", "-"),
        info.tags.get("weights_sha256", "-")[:SHORT],
    ]


def _facts(info: "ModelVersionInfo") -> dict[str, Any]:
    facts = info.to_json()
    facts["tags"] = {key: value for key, value in info.tags.items() if key != "decision"}
    return {**facts, "decision": _decision(info) or None}


def _decision(info: "ModelVersionInfo") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(info.tags.get("decision", "{}"))
    return found


def _check(check: dict[str, Any]) -> str:
    return (
        f"{'passed' if check['passed'] else 'failed'}: found {_short(check['found'])}, needed {_short(check['needed'])}"
    )


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
