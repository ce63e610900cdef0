"""Prefect tasks that every domain's flow is made of. Each does one thing with a workspace and returns small JSON."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from prefect import task
from prefect.artifacts import create_markdown_artifact
from sqlalchemy.exc import OperationalError

from evergreen.errors import EvergreenError
from evergreen.files import read_json
from tasks import record, registry
from tasks.mlflow_store import connect
from tasks.settings import Settings
from tasks.stages import IDENTITY_STAGES, STAGES, InfrastructureError, reproduce, run_key, stale_stages
from tasks.user_source import look_again
from tasks.versions import find_run_key
from tasks.workspace import IMAGES, Workspace


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a failure is worth a retry: a busy workspace, a locked database, a server out of reach."""
    error = state.data
    if isinstance(error, EvergreenError):
        return isinstance(error, InfrastructureError)
    if isinstance(error, MlflowException):
        return bool(error.get_http_status_code() >= 500)
    return isinstance(error, OSError | OperationalError)


# DVC is the only cache: Prefect's own sees neither helpers nor files.
OPTIONS: dict[str, Any] = {
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [2, 10],
    "retry_condition_fn": may_pass,
}


@task(name="look for news", **OPTIONS)
def look_for_news(folder: str, domain: str = IMAGES) -> dict[str, Any]:
    """Whether there is anything to do.

    Returns:
        stale: names of the stages whose inputs changed. version: the model version that the present state made and that
        was judged, None if there is none.
    """
    settings, workspace = open_folder(folder, domain)
    look_again(workspace)
    if (key := run_key(workspace, IDENTITY_STAGES[domain])) is None:
        return {"stale": None, "version": None}
    stale = stale_stages(settings, workspace, STAGES[domain])
    found = find_run_key(connect(settings), workspace.model_name, key) if not stale else None
    judged = found is not None and ("decision" in found.tags or bool(found.aliases))
    return {"stale": stale, "version": found.version if found is not None and judged else None}


@task(task_run_name="{stage}", **OPTIONS)
def run_stage(folder: str, stage: str, run_id: str, domain: str = IMAGES) -> dict[str, Any]:
    """Bring a stage up to date, then record what it left behind, whether it ran now or earlier.

    Returns:
        stage, ran, step_seconds, seconds (as of :class:`tasks.stages.StageResult`) and record_seconds.
    """
    settings, workspace = open_folder(folder, domain)
    result = reproduce(settings, workspace, stage)
    started = time.monotonic()
    record.record_stage(run_id, workspace, stage, settings)
    return asdict(result) | {"record_seconds": time.monotonic() - started}


@task(name="fetch champion", **OPTIONS)
def fetch_champion(folder: str, domain: str = IMAGES) -> str | None:
    """Put the registered champion where the stages find it and its hash where they depend on it."""
    settings, workspace = open_folder(folder, domain)
    digest = registry.export_champion(settings, workspace)
    workspace.update(domain, {"champion": digest})
    return digest


@task(name="publish validation", persist_result=False)
def publish_validation(folder: str, domain: str = IMAGES) -> None:
    """Show the result of validation as a Prefect artifact, also when it stopped the flow."""
    path = Workspace(Path(folder), domain).data / "validation" / "result.json"
    if not path.is_file():
        return
    result = read_json(path)
    lines = [
        f"# Validation {'passed' if result['passed'] else 'failed'}",
        f"{result['rows_read']:,} rows read, {result['rows_accepted']:,} accepted, "
        f"{result['rows_quarantined']:,} quarantined. Result `{result['hash'][:12]}`.",
        *(f"- {reason}: {count:,}" for reason, count in result["reasons"].items()),
        *(f"- failed: {failed}" for failed in result["failed"]),
    ]
    create_markdown_artifact("\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]), key=f"{domain}-validation")


@task(name="register", **OPTIONS)
def register(folder: str, run_id: str, domain: str = IMAGES) -> str:
    """Make a model version of what the stages made, or find the one that the same inputs made; its number."""
    settings, workspace = open_folder(folder, domain)
    key = run_key(workspace, IDENTITY_STAGES[domain])
    assert key is not None, "the stages ran before"
    return registry.register(settings, workspace, run_id, key).version


@task(name="promote", **OPTIONS)
def promote(folder: str, version: str, domain: str = IMAGES) -> dict[str, Any]:
    """Move the champion alias to the version or not, as the evaluation says; who is champion now, and why."""
    settings, workspace = open_folder(folder, domain)
    return registry.promote(settings, workspace, version)


def open_folder(folder: str, domain: str = IMAGES) -> tuple[Settings, Workspace]:
    """The installation and the workspace that a task works in."""
    return Settings.load(), Workspace(Path(folder), domain)
