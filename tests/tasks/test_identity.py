"""What was uncommitted when a model was made can be put back."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from tasks.identity import code_state, locked_outputs, stage_outputs


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "evergreen").mkdir(parents=True)
    (folder / "evergreen" / "model.py").write_text("width = 1\n")
    (folder / "evergreen" / "gone.py").write_text("old = 1\n")
    (folder / "dvc.lock").write_text("a\n")
    (folder / "params.yaml").write_text("a: 1\n")
    (folder / ".gitignore").write_text("*.pyc\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_clean_checkout_has_no_patch(checkout: Path) -> None:
    state = code_state(checkout)
    assert state.commit == git(checkout, "rev-parse", "HEAD").strip()
    assert (state.patch, state.patch_sha256) == (b"", "clean")


def test_generated_files_are_no_change(checkout: Path) -> None:
    (checkout / "dvc.lock").write_text("b\n")
    (checkout / "params.yaml").write_text("a: 2\n")
    (checkout / "evergreen" / "model.pyc").write_bytes(b"x")
    (checkout / "notes.txt").write_text("mine\n")
    assert code_state(checkout).patch_sha256 == "clean"


def test_patch_puts_back_every_uncommitted_change(checkout: Path, tmp_path: Path) -> None:
    changed, new, binary = (checkout / "evergreen" / name for name in ("model.py", "new é.py", "table.bin"))
    changed.write_text("width = 2\n")
    git(checkout, "add", "evergreen/model.py")
    changed.write_text("width = 3\n")
    new.write_text("depth = 1\n")
    binary.write_bytes(bytes(range(256)))
    (checkout / "evergreen" / "gone.py").unlink()
    before = git(checkout, "status", "--porcelain")
    state = code_state(checkout)
    assert git(checkout, "status", "--porcelain") == before
    assert state.patch_sha256 == hashlib.sha256(state.patch).hexdigest()

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(checkout), str(clone))
    patch = tmp_path / "uncommitted.patch"
    patch.write_bytes(state.patch)
    git(clone, "apply", str(patch))
    assert (clone / "evergreen" / "model.py").read_text() == "width = 3\n"
    assert (clone / "evergreen" / new.name).read_text() == "depth = 1\n"
    assert (clone / "evergreen" / "table.bin").read_bytes() == bytes(range(256))
    assert not (clone / "evergreen" / "gone.py").exists()


def test_outside_of_git_there_is_no_commit(tmp_path: Path) -> None:
    assert code_state(tmp_path).commit is None


def test_outputs_of_the_lock(tmp_path: Path) -> None:
    assert locked_outputs(tmp_path) == {}
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n"
        "  ingest:\n    cmd: a\n    outs:\n    - {path: data/images/raw, md5: 1.dir}\n    - {path: b, md5: '2'}\n"
        "  check:\n    cmd: b\n"
    )
    assert locked_outputs(tmp_path) == {"data/images/raw": "1.dir", "b": "2"}
    assert stage_outputs(tmp_path, "ingest") == {"data/images/raw": "1.dir", "b": "2"}
    assert stage_outputs(tmp_path, "check") == {}
    assert stage_outputs(tmp_path, "nothing") == {}
