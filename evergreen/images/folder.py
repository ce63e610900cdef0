"""Anyone's own images in a folder: what is there, which class it belongs to, and when it arrived.

The sub-folders right below the folder are the classes; what lies deeper belongs to the class above it. Loose files and
sub-folders named ``unlabelled``, ``unlabeled`` or ``unknown`` have no label. A file arrives at its modification time.
Links are followed.
"""

import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evergreen.errors import BadInputError

UNLABELLED = frozenset({"unlabelled", "unlabeled", "unknown"})
NANOSECONDS = 1_000_000_000
# What the calendars of all readers can hold, whatever unit they count in: the years 1678 to 2261.
EARLIEST, LATEST = -9_214_560_000, 9_214_646_400
_UNREACHABLE = {errno.ENOENT: "broken link", errno.ELOOP: "circular link"}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something found in the folder.

    Attributes:
        relative: path below the folder, parts joined by ``/``; may hold surrogates where the name is no UTF-8.
        size_bytes: of the file; 0 where it has none.
        mtime_ns: modification time in nanoseconds since 1970, UTC.
        problem: why it cannot be read, ``kind: details``; None for a regular file.
    """

    relative: str
    size_bytes: int
    mtime_ns: int
    problem: str | None = None

    @property
    def name(self) -> str:
        """The relative path as text that any file can hold."""
        return os.fsencode(self.relative).decode("utf-8", "backslashreplace")

    @property
    def label(self) -> str | None:
        """The class that the path names, or None."""
        first, *rest = self.name.split("/")
        if not rest or first.lower() in UNLABELLED:
            return None
        return unicodedata.normalize("NFC", first)

    @property
    def arrived_us(self) -> int:
        """Arrival in microseconds since 1970, UTC."""
        return self.mtime_ns // 1000

    def image_id(self, sha256: str) -> str:
        """The image's name for good: its path and 16 digits that stand for path and content.

        Args:
            sha256: of the file's bytes.
        """
        digest = hashlib.sha256(os.fsencode(self.relative) + b"\0" + sha256.encode()).hexdigest()
        return f"{self.name}#{digest[:16]}"


def scan(folder: Path) -> list[Entry]:
    """Everything in a folder and below that is no folder itself, sorted by relative path.

    Folders that cannot be read and links that lead nowhere or in a circle are entries with a problem.

    Raises:
        BadInputError: there is no such folder, it cannot be read, or it is empty.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is no folder. Name the folder that holds your images.")
    here = folder.stat()
    entries = sorted(_walk(folder, (here.st_dev, here.st_ino)), key=lambda entry: os.fsencode(entry.relative))
    if not entries:
        raise BadInputError(f"{folder} is empty. Put images into it, in sub-folders named by class or without any.")
    return entries


def _walk(folder: Path, identity: tuple[int, int]) -> Iterator[Entry]:
    """What lies below ``folder``, in any order; ``identity``: the folder's device and inode."""
    pending: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = [
        (folder, "", (identity,))
    ]  # with the identities of the folders that lead there
    while pending:
        here, prefix, above = pending.pop()
        try:
            names = os.listdir(here)
        except OSError as error:
            yield Entry(prefix.rstrip("/") or ".", 0, 0, f"unreadable folder: {error.strerror}")
            continue
        for name in names:
            try:
                found = (here / name).stat()
            except OSError as error:
                kind = _UNREACHABLE.get(error.errno or 0, "unreadable file")
                yield Entry(prefix + name, 0, 0, f"{kind}: {error.strerror}")
                continue
            inner = (found.st_dev, found.st_ino)
            if not stat.S_ISDIR(found.st_mode):
                yield _entry(here / name, prefix + name, found)
            elif inner in above:
                yield Entry(prefix + name, 0, 0, "circular link: it leads to a folder that it lies in")
            else:
                pending.append((here / name, f"{prefix}{name}/", (*above, inner)))


def _entry(path: Path, relative: str, found: os.stat_result) -> Entry:
    problem = None
    if not stat.S_ISREG(found.st_mode):
        problem = "no regular file: a device, pipe or socket"
    elif not EARLIEST < found.st_mtime_ns // NANOSECONDS < LATEST:
        problem = f"impossible date: modified {found.st_mtime_ns // NANOSECONDS} s after 1970"
    elif not os.access(path, os.R_OK):
        problem = "unreadable file: permission denied"
    return Entry(relative, found.st_size, found.st_mtime_ns, problem)


def digest_of(entries: list[Entry]) -> str:
    """SHA-256 over the sorted paths, sizes and modification times of what was found, and whether it can be read.

    Times stand in for contents: they shape the stream, as arrival times, and reading no file makes this fast enough to
    be asked before every run. A file that changes while size and time stay is noticed when it is read, not here.
    """
    digest = hashlib.sha256()
    for entry in entries:
        fields = (str(entry.size_bytes), str(entry.mtime_ns), entry.problem or "")
        digest.update(b"\0".join([os.fsencode(entry.relative), *map(str.encode, fields)]) + b"\n\0")
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """Identity of what a folder holds now, see :func:`digest_of`.

    Raises:
        BadInputError: it is missing or empty.
    """
    return digest_of(scan(folder))


def folder_params(folder: Path) -> dict[str, str]:
    """The values of params.yaml's ``images.ingest`` that make a folder, as it is now, the source.

    Raises:
        BadInputError: it is missing or empty.
    """
    absolute = Path(os.path.abspath(folder.expanduser()))
    return {"source": "folder", "folder": str(absolute), "folder_digest": folder_digest(absolute)}
