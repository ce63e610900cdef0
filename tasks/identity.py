"""What a model was made of: code, environment, data, parameters, machine. Enough to make it again, bit for bit."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from evergreen.files import read_json, sha256_file

if TYPE_CHECKING:
    from tasks.workspace import Workspace

# What decides a result. params.yaml and dvc.lock do too, but runs write them: they are kept whole with every run.
CODE = (
    *("evergreen", "flows", "tasks", "mlflow", "profiles"),
    *("dvc.yaml", "pipelines", "pyproject.toml", "requirements.lock"),
)
RAW = {
    "images": "data/images/raw",
    "retail": "data/retail/receipts.parquet",
    "process": "data/process/events.parquet",
}
"""What a domain took in."""


@dataclass(frozen=True)
class CodeState:
    """The commit of a checkout, None outside of git, and its uncommitted changes as a patch, empty without any."""

    commit: str | None
    patch: bytes

    @property
    def patch_sha256(self) -> str:
        """Hash of the patch, ``clean`` where there is none."""
        return hashlib.sha256(self.patch).hexdigest() if self.patch else "clean"


def code_state(checkout: Path) -> CodeState:
    """The commit and the uncommitted changes, new files included, of the code in a checkout."""
    commit = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return CodeState(None, b"")
    new = _git(checkout, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE) or b""
    with tempfile.TemporaryDirectory() as folder:
        # in a copy of the index new files can be announced, so that the patch holds them; the user's own stays as it is
        index = Path(folder) / "index"
        own = checkout / (_git(checkout, "rev-parse", "--git-path", "index") or b"").decode().strip()
        if own.is_file():
            shutil.copy(own, index)
        names = [name for name in new.decode().split("\0") if name]
        if names:
            _git(checkout, "add", "--intent-to-add", "--", *names, index=index)
        patch = _git(checkout, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--", *CODE, index=index)
    return CodeState(commit.decode().strip(), patch or b"")


def locked_outputs(workspace: Path) -> dict[str, str]:
    """Path → md5 of everything that dvc.lock says the stages wrote; empty before the first run."""
    return {out["path"]: out["md5"] for stage in _stages(workspace).values() for out in stage.get("outs", [])}


def stage_outputs(workspace: Path, stage: str) -> dict[str, str]:
    """Path → md5 of what one stage wrote."""
    return {out["path"]: out["md5"] for out in _stages(workspace).get(stage, {}).get("outs", [])}


def identity_tags(checkout: Path, workspace: Workspace, code: CodeState) -> dict[str, str]:
    """The tags that a run and its model version carry.

    Args:
        checkout: where the code and its locked environment are.
        workspace: with dvc.lock, data and parameters.
        code: as from :func:`code_state`.
    """
    import torch

    from evergreen.training.precision import cpu_capabilities

    params = workspace.section
    validation = workspace.data / "validation" / "result.json"
    lock = checkout / "requirements.lock"
    return {
        "git_commit": code.commit or "none",
        "git_patch_sha256": code.patch_sha256,
        "requirements_sha256": sha256_file(lock) if lock.is_file() else "none",
        "dvc_md5": locked_outputs(workspace.root).get(RAW[workspace.domain], "none"),
        "validation_sha256": read_json(validation)["hash"] if validation.is_file() else "none",
        "profile": str(params.get("profile", "none")),
        "seed": str(params["seed"]),
        "threads": str(params["threads"]),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "cpu_capability": " ".join(cpu_capabilities()),
        "machine": platform.machine(),
    }


def _stages(workspace: Path) -> dict[str, Any]:
    path = workspace / "dvc.lock"
    return (yaml.safe_load(path.read_text()) or {}).get("stages", {}) if path.is_file() else {}


def _git(checkout: Path, *arguments: str, index: Path | None = None) -> bytes | None:
    """What a git command prints, None if it fails or there is no git."""
    environment = os.environ | ({"GIT_INDEX_FILE": str(index)} if index else {})
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], env=environment, capture_output=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
