"""DVC stages of a workspace: run one, ask which are stale, and the identity of what they made."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from evergreen.config import read_yaml
from evergreen.errors import EvergreenError
from evergreen.files import read_json, remove, sha256_file, sha256_json
from tasks.process import run_in_own_session
from tasks.settings import Settings
from tasks.status import VARIABLE, StepStatus
from tasks.workspace import Workspace

STAGES = {
    "images": ("ingest", "validate", "windows", "drift", "pretrain", "probe", "finetune", "evaluate", "report"),
    "retail": ("ingest", "examples", "online", "explanations", "evaluate", "report"),
    "process": ("ingest", "online", "discovery", "evaluate", "report"),
}
"""What a domain's flow runs, in its order."""
# What a model is made of. Drift, evaluation and report follow the champion and say nothing about the model itself.
IDENTITY_STAGES = {
    "images": ("ingest", "validate", "windows", "pretrain", "finetune"),
    "retail": ("ingest", "examples", "online"),
    "process": ("ingest", "online"),
}
ADAPTED_STAGES = ("ingest", "validate", "windows", "adapt")


class StageError(EvergreenError):
    """A stage failed. The text is the step's own; the exit code too."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InfrastructureError(EvergreenError):
    """DVC was kept from working by something that may pass, such as another process. Worth a retry."""


@dataclass(frozen=True)
class StageResult:
    """What it took to bring a stage up to date.

    Attributes:
        stage: its name.
        ran: whether the step ran; else nothing had changed, or DVC had the same inputs before and restored the outputs.
        step_seconds: run time of the step itself, 0 where it did not run.
        seconds: run time altogether.
    """

    stage: str
    ran: bool
    step_seconds: float
    seconds: float


def reproduce(settings: Settings, workspace: Workspace, stage: str) -> StageResult:
    """Bring one stage up to date, in a process of its own that writes to this one's terminal.

    DVC does not look at the stages before it: bring those up to date first.

    Raises:
        StageError: the step failed; text and exit code are its own.
        InfrastructureError: DVC was kept from working.
    """
    started = time.monotonic()
    report = workspace.root / ".dvc" / "tmp" / f"{stage}.status.json"
    with workspace.lock():
        remove(report)
        _drop_stale_locks(workspace)
        command = [sys.executable, "-P", "-m", "tasks.repro", stage]
        code = run_in_own_session(command, workspace.root, settings.child_environment() | {VARIABLE: str(report)})
    status = StepStatus.read(report)
    if status is not None and status.busy:
        raise InfrastructureError(f"Stage {stage} cannot start in {workspace.root}: {status.message}")
    if code != 0:
        if status is None or not status.message:
            raise StageError(f"Stage {stage} ended with exit status {code} and left no message; see above.", 1)
        raise StageError(status.message, status.code)
    return StageResult(
        stage=stage,
        ran=status is not None,
        step_seconds=status.seconds or 0.0 if status else 0.0,
        seconds=time.monotonic() - started,
    )


def stale_stages(settings: Settings, workspace: Workspace, among: Collection[str]) -> list[str]:
    """Names of the stages, among some, whose inputs or outputs differ from dvc.lock, in the order of DVC.

    Raises:
        EvergreenError: DVC cannot tell; its own words are in the text.
    """
    with workspace.lock():
        _drop_stale_locks(workspace)
        command = [sys.executable, "-P", "-m", "dvc", "status", "--json"]
        done = subprocess.run(
            command, cwd=workspace.root, env=settings.child_environment(), capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise InfrastructureError(f"dvc status failed in {workspace.root}: {done.stderr.strip()}")
    return [name for name in json.loads(done.stdout) if name in among]


def run_key(workspace: Workspace, made_by: tuple[str, ...] = IDENTITY_STAGES["images"]) -> str | None:
    """Identity of a model: commands, dependency hashes and parameters of its stages, and the locked environment.

    Args:
        workspace: where the stages ran.
        made_by: the stages that the model is made of.

    Returns:
        SHA-256 as hex digits. None while one of the stages has not run.
    """
    path = workspace.root / "dvc.lock"
    stages = read_yaml(path).get("stages", {}) if path.is_file() else {}
    if any(name not in stages for name in made_by):
        return None
    environment = sha256_file(workspace.root / "requirements.lock")
    return sha256_json({"stages": {name: _identity(stages[name]) for name in made_by}, "environment": environment})


def _identity(stage: dict[str, Any]) -> dict[str, Any]:
    return {
        "cmd": stage["cmd"],
        "deps": {dep["path"]: dep["md5"] for dep in stage.get("deps", [])},
        "params": stage.get("params", {}),
    }


def _drop_stale_locks(workspace: Workspace) -> None:
    """Remove DVC's list of readers and writers when none of them is a DVC any more.

    DVC asks only whether the process number exists; after a kill it may belong to somebody else by now. The workspace's
    lock is held here, so at most a `dvc` started by hand can be at work.
    """
    path = workspace.root / ".dvc" / "tmp" / "rwlock"
    try:
        held = read_json(path)
    except FileNotFoundError:
        return
    except json.JSONDecodeError:  # cut off by a kill
        held = {}
    entries = [*held.get("write", {}).values(), *(entry for list_ in held.get("read", {}).values() for entry in list_)]
    if not any(_is_dvc(int(entry["pid"])) for entry in entries):
        remove(path)


def _is_dvc(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(Path(part).name in ("dvc", "tasks.repro") for part in psutil.Process(pid).cmdline())
    return False
