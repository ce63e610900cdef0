"""Each stage depends on exactly the code that its step imports; a missing file would leave a stale result in place."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from evergreen.steps import STEPS
from tasks.workspace import pipeline

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = {domain: yaml.safe_load(pipeline(ROOT, domain).read_text())["stages"] for domain in STEPS}
EVERY = [(domain, step) for domain, steps in STEPS.items() for step in steps]
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


@pytest.mark.parametrize(("domain", "step"), EVERY)
def test_stage_depends_on_exactly_the_code_of_its_step(domain: str, step: str) -> None:
    code = code_of(STEPS[domain][step])
    expected = [*code, *other_files_of(code), LOCK]
    found = [dep for dep in PIPELINES[domain][step]["deps"] if dep.startswith("evergreen/") or dep == LOCK]
    lines = "\n".join(f"      - {name}" for name in expected)
    assert found == expected, f"{pipeline(ROOT, domain).name}, stage {step}: its code is\n    deps:\n{lines}"


@pytest.mark.parametrize("domain", STEPS)
def test_stages_are_the_steps(domain: str) -> None:
    assert list(PIPELINES[domain]) == list(STEPS[domain])
    assert {name: stage["cmd"] for name, stage in PIPELINES[domain].items()} == {
        name: f"evergreen step {domain} {name}" for name in STEPS[domain]
    }


def test_no_file_of_the_library_is_forgotten() -> None:
    """A file that no step, task, command or benchmark needs is dead, or reached in a way that the walk does not see."""
    upstairs = [path for floor in ("flows", "tasks", "benchmarks") for path in (ROOT / floor).rglob("*.py")]
    loaded_by_name = [ROOT / "evergreen" / domain / "pyfunc.py" for domain in STEPS]  # by MLflow
    used = {str(path.relative_to(ROOT)) for start in upstairs + loaded_by_name for path in closure(start)}
    used |= {dep for stages in PIPELINES.values() for stage in stages.values() for dep in stage["deps"]}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "evergreen").rglob("*.py") if path.name != "__init__.py"}
    assert there - used == set()


@pytest.mark.parametrize(("domain", "step"), EVERY)
def test_stage_depends_on_the_parameters_that_its_step_reads(domain: str, step: str) -> None:
    others = {str(module_file(module).relative_to(ROOT)) for name, module in STEPS[domain].items() if name != step}
    names = {
        name
        for path in set(code_of(STEPS[domain][step])) - others
        for name in re.findall(r'\bparams(?:\[|\.get\()"(\w+)"', (ROOT / path).read_text())
    }
    keys = PIPELINES[domain][step]["params"]
    covered = {key.removeprefix(domain).removeprefix(".").split(".")[0] for key in keys}
    missing = names - covered if "" not in covered else set()  # "" is the whole section
    assert missing == set(), f"{pipeline(ROOT, domain).name}, stage {step}: add these under params, after `{domain}.`"


def test_parameters_of_a_stage_exist() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, stage in ((name, stage) for stages in PIPELINES.values() for name, stage in stages.items()):
        for key in stage.get("params", []):
            value = params
            for part in key.split("."):
                assert part in value, f"stage {name}: params.yaml has no {key}"
                value = value[part]


@pytest.mark.parametrize("domain", STEPS)
def test_stages_read_only_what_stages_write(domain: str) -> None:
    stages = PIPELINES[domain]
    written = {next(iter(out)) if isinstance(out, dict) else out for stage in stages.values() for out in _outs(stage)}
    for name, stage in stages.items():
        for dep in stage["deps"]:
            if not dep.startswith(("evergreen/", "mlflow/")) and dep != LOCK:
                assert any(dep == out or dep.startswith(f"{out}/") for out in written), (
                    f"{name} reads {dep}: nobody writes it"
                )


def _outs(stage: dict) -> list:
    return [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
