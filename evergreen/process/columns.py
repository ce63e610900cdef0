"""Which column of a log is what: well-known spellings, and the user's own names."""

import re
from collections.abc import Mapping, Sequence

from evergreen.errors import BadInputError

REQUIRED = ("case_id", "activity", "timestamp")
LIFECYCLE = "lifecycle"
ROLES = (*REQUIRED, "resource", LIFECYCLE)

SPELLINGS = {
    "case_id": ("case id", "case:concept:name", "case", "trace id", "trace", "case key"),
    "activity": ("activity", "concept:name", "activity name", "activity id", "event name", "event", "task"),
    "timestamp": (
        "timestamp",
        "time:timestamp",
        "complete timestamp",
        "event time",
        "time",
        "end timestamp",
        "completion time",
        "complete time",
        "start timestamp",
    ),
    "resource": ("resource", "org:resource", "user", "resource id"),
    LIFECYCLE: ("lifecycle:transition", "lifecycle", "transition"),
}
"""Compared without case, blanks and punctuation; the first that a log has counts."""


def find_columns(there: Sequence[str], named: Mapping[str, str], where: str, lifecycle: bool = False) -> dict[str, str]:
    """The log's column for each role; ``resource`` is missing where there is none.

    Args:
        there: the log's columns.
        named: columns by role, as the user says.
        where: the log, for the message.
        lifecycle: whether the column of the lifecycle transition is needed.

    Raises:
        BadInputError: a role is unknown, a named column is not there, or a needed one cannot be told.
    """
    check_roles(named)
    if len(set(named.values())) < len(named):
        raise BadInputError("--column: one column was named twice. Each needs one of its own.")
    if gone := [(role, name) for role, name in named.items() if name not in there]:
        role, name = gone[0]
        raise BadInputError(f"{where} has no column {name!r} for {role}. It has: {', '.join(there)}.")
    found = dict(named)
    plain: dict[str, str] = {}
    for name in there:
        plain.setdefault(_plain(name), name)
    for role, spellings in SPELLINGS.items():
        known = [plain[_plain(spelling)] for spelling in spellings if _plain(spelling) in plain]
        free = [name for name in known if name not in found.values()]
        if role not in found and free:
            found[role] = free[0]
    needed = (*REQUIRED, LIFECYCLE) if lifecycle else REQUIRED
    if missing := [role for role in needed if role not in found]:
        raise BadInputError(
            f"{where} has no column that looks like {' or '.join(missing)}. It has: {', '.join(there) or 'none'}. "
            f"Say which is which, e.g. --column {missing[0]}=NAME."
        )
    if not lifecycle:
        found.pop(LIFECYCLE, None)
    return found


def check_roles(named: Mapping[str, str]) -> None:
    """Check what the user says columns are.

    Raises:
        BadInputError: there is no such role.
    """
    if unknown := sorted(set(named) - set(ROLES)):
        raise BadInputError(f"--column {unknown[0]}=…: there is no such column. Expected one of {', '.join(ROLES)}.")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
