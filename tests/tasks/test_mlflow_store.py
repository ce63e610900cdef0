"""The MLflow store comes into being once, whoever is first, and keeps its artifacts at an absolute place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from evergreen.errors import EvergreenError
from tasks import mlflow_store
from tasks.settings import CHECKOUT, Settings

FIRST_USER = """
from tasks.mlflow_store import connect, experiment
from tasks.settings import Settings
settings = Settings.load()
print(experiment(connect(settings), settings, "images"))
"""


def test_two_first_users_at_once_share_one_store(tmp_path: Path) -> None:
    settings = Settings(CHECKOUT, tmp_path / "home with space", "", None)
    settings.home.mkdir()
    settings = Settings(CHECKOUT, settings.home, f"sqlite:///{settings.home / 'mlflow.db'}", None)
    environment = os.environ | settings.environment() | {"PYTHONPATH": str(CHECKOUT)}
    users = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USER], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [user.communicate(timeout=240)[0].strip() for user in users]
    assert [user.returncode for user in users] == [0, 0]
    assert answers[0] == answers[1]
    assert [path.name for path in tmp_path.iterdir()] == ["home with space"]
    assert {path.name for path in settings.home.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_experiment_keeps_artifacts_at_an_absolute_place(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = mlflow_store.connect(settings)
    made = mlflow_store.experiment(client, settings, "images")
    assert mlflow_store.experiment(client, settings, "images") == made
    assert client.get_experiment(made).artifact_location == (settings.artifacts / "images").as_uri()


def test_held_lock_is_an_error_in_the_end(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_store, "LOCK_SECONDS", 0.05)
    with (
        FileLock(settings.home / "mlflow.db.lock"),
        pytest.raises(EvergreenError, match="Another process has held"),
        mlflow_store.locked(settings),
    ):
        pass


def test_server_has_its_lock_in_the_home(settings: Settings) -> None:
    remote = Settings(CHECKOUT, settings.home, "http://127.0.0.1:9", None)
    with mlflow_store.locked(remote):
        assert len(list(remote.locks.glob("mlflow-*.lock"))) == 1
