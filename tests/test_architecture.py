"""The floors stay apart: the library knows no orchestrator, data and mlflow hold no code, nothing hides a package."""

import ast
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UPSTAIRS = {"prefect", "mlflow", "dvc", "flows", "tasks"}
FLOORS = ("evergreen", "tasks", "flows")


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


@pytest.mark.parametrize("path", modules("evergreen"), ids=lambda path: str(path.relative_to(ROOT)))
def test_library_imports_no_orchestrator(path: Path) -> None:
    # the loader that MLflow calls is written to MLflow's interface, but needs nothing of it
    assert not imported(path) & UPSTAIRS


@pytest.mark.parametrize("path", modules("tasks"), ids=lambda path: str(path.relative_to(ROOT)))
def test_tasks_know_no_flow(path: Path) -> None:
    assert "flows" not in imported(path)


@pytest.mark.parametrize("folder", ["mlflow", "data"])
def test_folders_named_like_packages_hold_no_code(folder: str) -> None:
    assert list((ROOT / folder).rglob("*.py")) == []


def test_no_module_is_named_like_a_dependency() -> None:
    ours = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert ours == set(FLOORS)
    owners = {name: set(distributions) - {"evergreen"} for name, distributions in packages_distributions().items()}
    assert {name for name in ours if owners.get(name)} == set()


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_are_absolute(floor: str) -> None:
    for path in modules(floor):
        nodes = ast.walk(ast.parse(path.read_text()))
        assert [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == [], path


def test_packages_are_named_one_by_one() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for floor in FLOORS for path in modules(floor)}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)


def test_tests_hold_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
