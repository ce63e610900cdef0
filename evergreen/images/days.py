"""The arrival days under ``raw/``: ``YYYY-MM-DD``, and ``YYYY-MM-DD.1``, ``.2`` … for what came later."""

import re
from collections.abc import Iterable
from pathlib import Path

from evergreen.files import read_json, remove, write_json

GONE_FILE = "gone.json"
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([1-9]\d*))?")


def day_folders(raw: Path) -> list[Path]:
    """The array folders of all arrivals, by day and, within a day, in the order in which they were added."""
    if not raw.is_dir():
        return []
    found = [(match[1], int(match[2] or 0), path) for path in raw.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, _, path in sorted(found)]


def next_folder(raw: Path, day: str) -> Path:
    """Where the next arrivals of ``day`` go: the day's own folder or, where that exists, its next part."""
    parts = [path for path in day_folders(raw) if path.name[:10] == day]
    if not parts:
        return raw / day
    last = _NAME.fullmatch(parts[-1].name)
    return raw / f"{day}.{int((last and last[2]) or 0) + 1}"


def claim(raw: Path, identity: dict[str, object]) -> None:
    """Make ``raw`` the place of the stream that ``identity`` describes.

    Days of another stream are removed, days of this one stay. What a killed run left unfinished is removed too.

    Args:
        raw: the folder of all arrivals.
        identity: the source and the parameters that shape a day; kept in ``source.json``.
    """
    source = raw / "source.json"
    if not source.exists() or read_json(source) != identity:
        for folder in day_folders(raw):
            remove(folder)
        remove(raw / GONE_FILE)
        write_json(source, identity)
    for leftover in [*raw.glob(".*.part"), *raw.glob(".*.growing")]:
        remove(leftover)


def write_gone(raw: Path, image_ids: Iterable[str]) -> None:
    """Note which images of the stream have no file in the source any more: it was removed, moved or renamed."""
    write_json(raw / GONE_FILE, sorted(image_ids))


def read_gone(raw: Path) -> frozenset[str]:
    """The images that :func:`write_gone` noted; none where it never did, as for a benchmark."""
    return frozenset(read_json(raw / GONE_FILE)) if (raw / GONE_FILE).exists() else frozenset()
