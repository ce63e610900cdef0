"""What several test folders need: a small classifier that knows its colours, and an MLflow store of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from evergreen.images.bundle import Classifier
from evergreen.images.encoders import EncoderConfig, build_encoder
from tasks.settings import CHECKOUT, Settings
from tasks.workspace import Workspace

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")  # `--hypothesis-profile default` looks for new examples

LONG = 3600
"""Seconds that a test marked as slow may take."""
SHARED = 900
"""Seconds that a test may take that makes the shared run of the image flow, or waits for it."""

COLOURS = {"blue": (40, 60, 210), "green": (50, 190, 60), "red": (220, 40, 50), "yellow": (230, 220, 40)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(LONG))
        elif "smoke" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(SHARED))


def paint(labels: list[str], seed: int = 0, size: int = 32) -> np.ndarray:
    """Noisy images, uint8 (N, size, size, 3), of the colours that the labels name."""
    rng = np.random.default_rng(seed)
    base = np.array([COLOURS[label] for label in labels], dtype=float).reshape(-1, 1, 1, 3)
    return np.clip(base + rng.normal(0, 20, (len(labels), size, size, 3)), 0, 255).astype(np.uint8)


def colour_classifier(classes: list[str], seed: int = 0) -> Classifier:
    """A classifier with a random encoder, and a head fitted by ridge regression to tell the colours apart."""
    config = EncoderConfig(width=4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = build_encoder(config).eval()
        head = torch.nn.Linear(encoder.features, len(classes))
    classifier = Classifier(encoder, head, config, classes, 32, "fp32")
    labels = [label for label in classes for _ in range(20)]
    features = torch.from_numpy(classifier.embed(paint(labels, seed=seed))).double()
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)  # (N, D + 1)
    target = 10 * torch.eye(len(classes), dtype=torch.float64).repeat_interleave(20, dim=0)  # (N, classes)
    gram = features.T @ features + 1e-3 * torch.eye(features.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, features.T @ target).float()  # (D + 1, classes)
    with torch.no_grad():
        head.weight.copy_(weights[:-1].T)
        head.bias.copy_(weights[-1])
    return classifier


@pytest.fixture(scope="session")
def painter() -> Callable[..., np.ndarray]:
    return paint


@pytest.fixture(scope="session")
def make_classifier() -> Callable[..., Classifier]:
    return colour_classifier


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: migrating one takes seconds, copying it none."""
    from tasks.mlflow_store import connect, database_file

    settings = _settings(tmp_path_factory.mktemp("store"))
    connect(settings)
    database = database_file(settings.tracking_uri)
    assert database is not None
    return database


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a home, and an MLflow store, that no other test sees; the environment says the same."""
    made = _settings(tmp_path / "home")
    made.home.mkdir()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    shutil.copy(empty_store, made.home / "mlflow.db")
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with the parameters of the default workspace and no data."""
    root = tmp_path / "workspace"
    root.mkdir()
    shutil.copy(CHECKOUT / "params.yaml", root / "params.yaml")
    return Workspace(root)


def _settings(home: Path) -> Settings:
    return Settings(CHECKOUT, home, f"sqlite:///{home / 'mlflow.db'}", None)
