"""The command itself: help, exit codes, one message."""

import json
import os
import subprocess
import sys

import click
import pytest
import typer
from typer.testing import CliRunner

from flows import cli
from tasks.settings import CHECKOUT


def commands(command, path=()):
    """Every command that does something, with the words that call it."""
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


def test_all_commands_are_there():
    assert {"run images", "step", "score", "serve", "ui", "models list", "models show", "models promote"} <= set(
        COMMANDS
    )
    assert {"models rollback", "models history"} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_help_shows_an_example(words):
    result = CliRunner().invoke(cli.app, [*words.split(), "--help"])
    assert result.exit_code == 0
    assert f"Example: evergreen {words}" in " ".join(result.output.split())


def test_help_imports_nothing_heavy():
    heavy = {"torch", "prefect", "mlflow", "dvc", "great_expectations", "sklearn", "pandas", "numpy"}
    code = f"import sys, flows.cli; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=CHECKOUT, text=True).strip() == "[]"


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Calls the command in a folder of its own: exit status, standard output and error."""
    before = dict(os.environ)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["evergreen", *words])
        try:
            code = cli.main()
        except SystemExit as exit_:
            code = exit_.code
        return code, *capsys.readouterr()

    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "images", "--profile", "nope"], "There is no profile 'nope' for images. Profiles: "),
        (["run", "images", "--workdir", __file__], "is a file. Name a folder"),
        (["run", "images", "--folder", "/does/not/exist"], "--folder /does/not/exist is no folder."),
        (["step", "images", "nope"], "No step 'nope' in images. There are: ingest, "),
        (["step", "nope", "ingest"], "No domain 'nope'. There are: images, retail, process."),
        (["step", "images", "drift", "--folder", "."], "--folder goes with `evergreen step images ingest`"),
    ],
)
def test_bad_input_is_one_message_and_exit_status_two(call, tmp_path, words, message):
    (tmp_path / "params.yaml").write_text("images: {}\n")
    code, out, err = call(*words)
    assert code == 2
    assert err.startswith("Error: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""


def test_step_outside_a_workspace_says_what_to_do(call, tmp_path):
    code, _, err = call("step", "images", "ingest")
    assert code == 2
    assert err.startswith(f"Error: {tmp_path / 'params.yaml'} is missing. Run the command from a workspace")


def test_step_leaves_its_error_to_the_run_that_asked(call, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("images: {}\n")
    monkeypatch.setenv("EVERGREEN_STATUS_FILE", str(tmp_path / "status.json"))
    assert call("step", "images", "nope") == (2, "", "")
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["code"] == 2
    assert status["message"].startswith("No step 'nope'")


def test_exit_status_leaves_the_process(tmp_path):
    command = [sys.executable, "-P", "-m", "flows.cli", "step", "images", "nope"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
