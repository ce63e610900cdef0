"""One run of the whole image flow, profile smoke, in a workspace and a home of its own, which the tests here share.

The run is killed on the way and started again, so that all else is tested on what a kill left behind. Of several
workers the first that needs it runs it; each has a workspace and a home of its own.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import psutil
import pytest

from tasks.mlflow_store import connect
from tasks.settings import CHECKOUT, Settings
from tasks.workspace import open_workspace

EVERGREEN = Path(sys.executable).with_name("evergreen")
OUTSIDE = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "EVERGREEN_STATUS_FILE", "DVC_STAGE", "DVC_ROOT", "CI")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first, so that small files fill up the workers at the end; who shares a run after who makes his own.

    Then one worker makes the shared run while the other has work that does not need it.
    """
    sharing = {item.path for item in items if "smoke" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path.parent != Path(__file__).parent, item.path in sharing))


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A workspace and the home that goes with it.

    Attributes:
        root: the workspace.
        home: EVERGREEN_HOME.
    """

    root: Path
    home: Path

    def environment(self) -> dict[str, str]:
        values = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        path = f"{EVERGREEN.parent}{os.pathsep}{values['PATH']}"
        return values | {"EVERGREEN_HOME": str(self.home), "PATH": path}

    def start(self, *command: str, folder: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a command; it writes to the files ``out`` and ``err`` of the home: no orphan can hold a pipe open."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "out").open("wb") as out, (self.home / "err").open("wb") as err:
            return subprocess.Popen(
                command,
                cwd=folder or self.root,
                env=self.environment(),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(self, *command: str, folder: Path | None = None) -> Ran:
        """Run a command in the workspace."""
        code = self.start(*command, folder=folder).wait()
        return Ran(code, (self.home / "out").read_text(), (self.home / "err").read_text())

    def images(self, *options: str) -> Ran:
        """Run the image flow on the workspace."""
        return self.run(*self.images_command(*options), folder=CHECKOUT)

    def images_command(self, *options: str) -> list[str]:
        return [str(EVERGREEN), "run", "images", "--workdir", str(self.root), *options]

    def dvc(self, *arguments: str) -> Ran:
        """Run DVC by hand in the workspace."""
        return self.run(sys.executable, "-P", "-m", "dvc", *arguments)

    def wait_for_line(self, start: str, seconds: float = 600.0) -> None:
        """Wait until the running command has printed a line that starts so."""
        deadline = time.monotonic() + seconds
        while not any(line.startswith(start) for line in (self.home / "out").read_text().splitlines()):
            assert time.monotonic() < deadline, (self.home / "err").read_text()
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """The processes that belong to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("EVERGREEN_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def settings_of(home: Path) -> Settings:
    """What the commands use that are started with this home."""
    return Settings(CHECKOUT, home, f"sqlite:///{home / 'mlflow.db'}", None)


def run_registry_example(settings: Settings, documented: str, name: str | None = None, **given: Any) -> dict[str, Any]:
    """Run the one piece of Python in mlflow/README.md that takes a model from the registry; its variables are returned.

    ``name`` replaces the name of the model that stands there, ``given`` are the variables that it takes for granted.
    """
    readme = (CHECKOUT / "mlflow" / "README.md").read_text()
    pieces = re.findall(r"```python\n(.+?)```", readme, flags=re.DOTALL)
    [code] = [piece for piece in pieces if f"models:/{documented}@" in piece]
    code = code.replace("sqlite:////path/to/.evergreen/mlflow.db", settings.tracking_uri)
    connect(settings)  # MLflow keeps the registry that an earlier test named
    names = dict(given)
    exec(code.replace(f"models:/{documented}@", f"models:/{name or documented}@"), names)
    return names


@dataclass(frozen=True)
class Smoke:
    """The shared run.

    Attributes:
        place: where it was.
        survivors: processes that were left a while after the first attempt was killed.
        ran: what the second attempt came to.
        untouched: whether the checkout's own data and parameters stayed as they were.
    """

    place: Place
    survivors: list[str]
    ran: Ran
    untouched: bool


def make_place(root: Path, home: Path) -> Place:
    """A workspace of profile smoke: as much fine-tuning as a champion needs, and a day of the stream still to come."""
    settings = settings_of(home)
    stream = {"ingest": {"days": 6, "noise_from_day": 5}, "backtest": {"start": 5}}
    light = {"finetune": {"recipe": {"steps": 30}}} | stream
    with open_workspace(settings, "images", profile="smoke", workdir=root, values=light):
        return Place(root, home)


def run_smoke(base: Path) -> Smoke:
    """Run the flow in ``base / "work"`` with the home ``base / "home"``, kill it, and run it again."""
    before = _checkout_state()
    place = make_place(base / "work", base / "home")
    killed = place.start(*place.images_command(), folder=CHECKOUT)
    place.wait_for_line("drift")
    killed.kill()
    killed.wait()
    _, survivors = psutil.wait_procs(place.processes(), timeout=20)
    ran = place.images()
    assert ran.code == 0, ran
    return Smoke(place, [str(process) for process in survivors], ran, _checkout_state() == before)


def run_or_copy_smoke(base: Path, kept: Path) -> Smoke:
    """The shared run in ``base``: made there, and kept in ``kept`` before any test changes it, or else copied from it.

    A copied home has its own databases, which tests write to, and its own processes. Only the files of the registered
    model stay where the first worker has them, as absolute paths in MLflow's database.
    """
    facts = kept / "facts.json"
    with filelock.FileLock(kept.with_suffix(".lock")):
        if not facts.is_file():
            made = run_smoke(base)
            shutil.copytree(base, kept, symlinks=True, dirs_exist_ok=True)
            told = {"survivors": made.survivors, "ran": dataclasses.asdict(made.ran), "untouched": made.untouched}
            facts.write_text(json.dumps(told))
            return made
    for name in ("work", "home"):
        shutil.copytree(kept / name, base / name, symlinks=True)
    with open_workspace(settings_of(base / "home"), "images", workdir=base / "work"):  # its cache is this home's now
        place = Place(base / "work", base / "home")
    told = json.loads(facts.read_text())
    return Smoke(place, told["survivors"], Ran(**told["ran"]), told["untouched"])


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Smoke]:
    base = tmp_path_factory.mktemp("smoke")
    try:
        if worker_id == "master":  # the only one
            yield run_smoke(base)
        else:
            yield run_or_copy_smoke(base, tmp_path_factory.getbasetemp().parent / "smoke")
    finally:
        for process in Place(base / "work", base / "home").processes():
            process.kill()


@pytest.fixture
def copied(smoke: Smoke, tmp_path: Path) -> Place:
    """A copy of the shared workspace, which a test may change; the home is the same."""
    root = tmp_path / "work"
    shutil.copytree(smoke.place.root, root, symlinks=True)
    return Place(root, smoke.place.home)


@pytest.fixture
def new_place(tmp_path: Path) -> Place:
    """A workspace named as the shared one, with a home, and so a cache, of its own."""
    return make_place(tmp_path / "new" / "work", tmp_path / "home")


def _checkout_state() -> dict[str, int]:
    """Modification times of what a run of the default workspace would write."""
    paths = [CHECKOUT / "params.yaml", CHECKOUT / "dvc.lock", *(CHECKOUT / "data").rglob("*")]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.exists()}
