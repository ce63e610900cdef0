"""The documents are true: their commands, options, targets, links, parameters and messages exist."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from evergreen.steps import STEPS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "mlflow" / "README.md"]
PROGRAMS = ("evergreen", "make", "dvc")
WILD = re.compile(r"[A-Z][A-Z_]*|…|\.\.\.|\d+")  # a word in capitals or a number stands for the reader's own


def code_of(text: str) -> list[str]:
    """Every line of code: fenced or indented blocks, and code inside a sentence."""
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"^ {4}(\S.*)$", rest, re.M)
    inline = re.findall(r"`([^`\n]+)`", rest)
    return [line.strip() for block in fenced for line in block.splitlines()] + indented + inline


def commands(program: str) -> list[tuple[str, list[str]]]:
    """(document, words) of each command line of a program, without comments and what follows `&&`."""
    found = []
    for document in DOCUMENTS:
        for line in code_of(document.read_text()):
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part, comments=True, posix=True) if part.count("'") % 2 == 0 else part.split()
                if words and words[0] == program and len(words) > 1:
                    found.append((document.name, words[1:]))
    return found


def cases(program: str) -> list[Any]:
    unique = {" ".join(words): (document, words) for document, words in commands(program)}
    return [pytest.param(words, id=f"{document}: {line}") for line, (document, words) in sorted(unique.items())]


def test_there_is_something_to_check() -> None:
    assert {program for program in PROGRAMS if commands(program)} == set(PROGRAMS)


@pytest.mark.parametrize("words", cases("evergreen"))
def test_evergreen_commands_exist(words: list[str]) -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    tree: Any = typer.main.get_command(app)
    path: list[str] = []
    for word in words:
        if not hasattr(tree, "commands") or word.startswith("-"):
            break
        assert word in tree.commands, f"`evergreen {' '.join([*path, word])}` is no command"
        tree, path = tree.commands[word], [*path, word]
    options = {word.split("=")[0] for word in words if word.startswith("-")} - {"--help"}
    help_text = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
    assert {option for option in options if not re.search(rf"{re.escape(option)}\b", help_text)} == set()
    if path == ["step"] and len(words) > 2 and not WILD.fullmatch(words[2]):
        assert words[2] in STEPS[words[1]]


@pytest.mark.parametrize("words", cases("make"))
def test_make_targets_exist(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {word for word in words if "=" not in word} <= targets


@pytest.mark.parametrize("words", cases("dvc"))
def test_dvc_understands_its_commands(words: list[str]) -> None:
    from dvc.cli.parser import get_main_parser

    get_main_parser().parse_args(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        assert not target.startswith("http"), f"{target}: the documents need no network"
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.is_file(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def is_parameter(name: str) -> bool:
    """Whether params.yaml has it, or the configuration of its step does, with a default."""
    value = yaml.safe_load((ROOT / "params.yaml").read_text())
    parts = name.split(".")
    while parts and isinstance(value, dict) and parts[0] in value:
        value = value[parts.pop(0)]
    if not parts:
        return True
    path = name.split(".")[1:]
    step = importlib.import_module(STEPS["images"][path[0]])
    configs = [value for found, value in vars(step).items() if found.endswith("Config")]
    return any(has_field(config, path[1:]) for config in configs)


def has_field(config: Any, path: list[str]) -> bool:
    """Whether a pydantic model has a field at a path of names."""
    if not path:
        return True
    fields = getattr(config, "model_fields", {})
    return path[0] in fields and has_field(fields[path[0]].annotation, path[1:])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_parameters_exist(document: Path) -> None:
    named = set(re.findall(r"`(images\.[a-z_]+(?:\.[a-z_]+)*)`", document.read_text())) - {"images.npy"}
    assert {name for name in named if not is_parameter(name)} == set()


def test_a_parameter_that_does_not_exist_is_noticed() -> None:
    assert is_parameter("images.finetune.recipe.view_size")
    assert not is_parameter("images.finetune.recipe.viewsize")
    assert not is_parameter("images.ingest.colour")


def test_messages_in_the_list_are_those_of_the_code() -> None:
    folders = [ROOT / name for name in ("evergreen", "flows", "tasks")]
    sources = [ROOT / "Makefile", *(source for folder in folders for source in folder.rglob("*.py"))]
    code = "\n".join(source.read_text() for source in sources)
    table = (ROOT / "docs" / "operators.md").read_text().split("## Messages and what to do")[1]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert len(messages) > 5
    missing = [part for message in messages for part in message.split("…") if part.strip() not in code]
    assert missing == []


def test_every_step_and_profile_is_described() -> None:
    text = (ROOT / "docs" / "images.md").read_text()
    assert [step for step in STEPS["images"] if f"| `{step}` |" not in text] == []
    assert [step for step in STEPS["images"] if f"**{step}.**" not in text] == []
    profiles = {"laptop", *(file.stem for file in (ROOT / "profiles" / "images").glob("*.yaml"))}
    for document in ("README.md", "docs/images.md"):
        assert [name for name in profiles if f"`{name}`" not in (ROOT / document).read_text()] == []
