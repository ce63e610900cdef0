"""What lies in mlflow/: the server script works, and its README names commands and tags that exist."""

import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import typer

from flows import cli
from tasks.identity import CodeState, identity_tags
from tasks.mlflow_store import connect
from tasks.settings import CHECKOUT, Settings
from tasks.workspace import Workspace

README = (CHECKOUT / "mlflow" / "README.md").read_text()


def test_commands_of_the_readme_exist() -> None:
    command = typer.main.get_command(cli.app)
    named = re.findall(r"^ +evergreen (.+?)(?: +#.*)?$", README, flags=re.MULTILINE)
    assert len(named) >= 6
    for line in named:
        first, *rest = line.split()
        found = command.commands[first]  # type: ignore[attr-defined]
        if hasattr(found, "commands"):
            found = found.commands[rest[0]]
        options = {option for parameter in found.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= options, line


def test_tags_of_the_readme_are_those_of_a_version(workspace: Workspace) -> None:
    named = set()
    for row in re.findall(r"^\| (`.+?) \|", README, flags=re.MULTILINE):
        named |= set(re.findall(r"`(\w+)`", row))
    own = identity_tags(CHECKOUT, workspace, CodeState(None, b""))
    assert named == {*own, "run_key", "weights_sha256", "config_sha256", "precision", "classes", "decision"}


def test_server_script_is_valid_shell() -> None:
    assert subprocess.run(["sh", "-n", CHECKOUT / "mlflow" / "serve.sh"]).returncode == 0


@pytest.mark.slow
def test_server_script_serves_the_store_on_loopback(settings: Settings, tmp_path: Path) -> None:
    connect(settings).create_registered_model("images")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            ["sh", CHECKOUT / "mlflow" / "serve.sh", str(port)],
            cwd=tmp_path,
            env=os.environ | settings.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/search"
    try:
        for _ in range(240):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(url, timeout=10) as response:
                    assert b'"images"' in response.read()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((tmp_path / "log").read_text())
    finally:
        os.killpg(server.pid, 9)
        server.wait()
