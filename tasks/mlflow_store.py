"""The MLflow store: one absolute URI, created whole, its registry moved by one process at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from evergreen.errors import EvergreenError
from evergreen.files import sha256_json, write_atomically

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.settings import Settings

SQLITE = "sqlite:///"
LOCK_SECONDS = 120.0


def connect(settings: Settings) -> MlflowClient:
    """Open the store of the settings, creating it if it is new, and make it this process's (and its children's) store.

    Raises:
        EvergreenError: another process has held the store's lock for minutes.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow

    for name in ("mlflow", "alembic"):  # a line for every migration and check is no news
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = settings.tracking_uri
    database = database_file(uri)
    if database is not None and not database.exists():
        _create_database(settings, database)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(uri, uri)


def experiment(client: MlflowClient, settings: Settings, name: str) -> str:
    """The id of an experiment whose artifacts lie at an absolute place; made if it is new."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=_artifact_location(settings, name)))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process was faster
        if found is None:
            raise
        return str(found.experiment_id)


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the store's lock: MLflow has no compare-and-set, so whoever moves aliases reads and writes under it.

    The lock is a `flock`, which a killed process leaves open. It binds the processes of one machine.
    """
    path = _lock_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise EvergreenError(
            f"Another process has held {path} for {LOCK_SECONDS:.0f} s. End it, or try later."
        ) from error


def database_file(uri: str) -> Path | None:
    """The file behind an SQLite URI, None for any other store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def _lock_file(settings: Settings) -> Path:
    database = database_file(settings.tracking_uri)
    if database is not None:
        return database.with_name(f"{database.name}.lock")
    return settings.locks / f"mlflow-{sha256_json(settings.tracking_uri)[:16]}.lock"


def _create_database(settings: Settings, database: Path) -> None:
    """Migrate an empty database under another name and rename it: several first users, or a kill, break nothing."""
    from mlflow.db import upgrade

    with locked(settings):
        if not database.exists():
            write_atomically(database, lambda part: upgrade.callback(f"{SQLITE}{part}"))


def _artifact_location(settings: Settings, name: str) -> str | None:
    """An absolute place beside a local store; a server keeps artifacts where it was told to."""
    return (settings.artifacts.resolve() / name).as_uri() if settings.local_store else None
