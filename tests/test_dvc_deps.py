"""Each stage depends on exactly the code that its step imports; a missing file would leave a stale result in place."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from evergreen.steps import STEPS

ROOT = Path(__file__).resolve().parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
LOCK = "requirements.lock"
BY_NAME = re.compile(r"evergreen(\.\w+)+")


def module_file(name: str) -> Path | None:
    """The file of a module of ours, None if it is no module."""
    path = ROOT / name.replace(".", "/")
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


@cache
def direct_imports(path: Path) -> frozenset[Path]:
    """Files of ours that a file imports: in functions too, by name, and the packages that lie on the way."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and BY_NAME.fullmatch(node.value):
            names.add(node.value)  # imported by name
    ours = {name for name in names if name.split(".")[0] == "evergreen"}
    parents = {".".join(name.split(".")[:n]) for name in ours for n in range(1, name.count(".") + 2)}
    return frozenset(found for name in parents if (found := module_file(name)) is not None)


def code_of(module: str) -> list[str]:
    """Everything that a step's module imports, itself included; packages that hold a docstring at most do not count."""
    start = module_file(module)
    assert start is not None, f"{module} is missing"
    reached = closure(start)
    return sorted(str(path.relative_to(ROOT)) for path in reached if path.name != "__init__.py" or has_code(path))


def closure(start: Path) -> set[Path]:
    """A file and all of ours that it imports, directly or not."""
    seen, left = {start}, [start]
    while left:
        new = direct_imports(left.pop()) - seen
        seen |= new
        left += new
    return seen


def has_code(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def other_files_of(code: list[str]) -> list[str]:
    """Files beside the code that it, or another of them, names: templates, styles."""
    texts = [(ROOT / name).read_text() for name in code]
    beside = {
        path
        for folder in {(ROOT / name).parent for name in code}
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    found: set[Path] = set()
    while new := {path for path in beside - found if any(path.name in text for text in texts)}:
        found |= new
        texts += [path.read_text() for path in new]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@pytest.mark.parametrize("step", STEPS["images"])
def test_stage_depends_on_exactly_the_code_of_its_step(step: str) -> None:
    code = code_of(STEPS["images"][step])
    expected = [*code, *other_files_of(code), LOCK]
    found = [dep for dep in STAGES[step]["deps"] if dep.startswith("evergreen/") or dep == LOCK]
    lines = "\n".join(f"      - {name}" for name in expected)
    assert found == expected, f"dvc.yaml, stage {step}: its code is\n    deps:\n{lines}"


def test_stages_are_the_steps() -> None:
    assert list(STAGES) == list(STEPS["images"])
    assert {name: stage["cmd"] for name, stage in STAGES.items()} == {
        name: f"evergreen step images {name}" for name in STEPS["images"]
    }


def test_no_file_of_the_library_is_forgotten() -> None:
    """A file that no step, task, command or benchmark needs is dead, or reached in a way that the walk does not see."""
    upstairs = [path for floor in ("flows", "tasks", "benchmarks") for path in (ROOT / floor).rglob("*.py")]
    used = {str(path.relative_to(ROOT)) for start in upstairs for path in closure(start)}
    used |= {dep for stage in STAGES.values() for dep in stage["deps"]}
    used.add("evergreen/images/pyfunc.py")  # MLflow loads it by name
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "evergreen").rglob("*.py") if path.name != "__init__.py"}
    assert there - used == set()


@pytest.mark.parametrize("step", STEPS["images"])
def test_stage_depends_on_the_parameters_that_its_step_reads(step: str) -> None:
    others = {str(module_file(module).relative_to(ROOT)) for name, module in STEPS["images"].items() if name != step}
    names = {
        name
        for path in set(code_of(STEPS["images"][step])) - others
        for name in re.findall(r'\bparams(?:\[|\.get\()"(\w+)"', (ROOT / path).read_text())
    }
    covered = {key.removeprefix("images").removeprefix(".").split(".")[0] for key in STAGES[step]["params"]}
    missing = names - covered if "" not in covered else set()  # "" is the whole section
    assert missing == set(), f"dvc.yaml, stage {step}: add these under params, each after `images.`"


def test_parameters_of_a_stage_exist() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, stage in STAGES.items():
        for key in stage.get("params", []):
            value = params
            for part in key.split("."):
                assert part in value, f"dvc.yaml, stage {name}: params.yaml has no {key}"
                value = value[part]


def test_stages_read_only_what_stages_write() -> None:
    written = {next(iter(out)) if isinstance(out, dict) else out for stage in STAGES.values() for out in _outs(stage)}
    for name, stage in STAGES.items():
        for dep in stage["deps"]:
            if dep.startswith("data/"):
                assert any(dep == out or dep.startswith(f"{out}/") for out in written), (
                    f"{name} reads {dep}: nobody writes it"
                )


def _outs(stage: dict) -> list:
    return [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
