"""The identity of the library's own code."""

import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).parent


@functools.cache
def code_sha256(part: str = "") -> str:
    """SHA-256 over the Python files of the library, or of one of its packages, with their names.

    What is kept outside DVC between runs is named by it too: other code may come to other results.

    Args:
        part: a package, e.g. ``images``; by default all.
    """
    digest = hashlib.sha256()
    for path in sorted((ROOT / part).rglob("*.py")):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
