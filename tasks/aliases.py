"""Who is champion: moving the aliases under a lock, undoing it, and the record of who moved what and why.

The record is one tag a move on the registered model, ``history.000001`` onwards, written after the move. A move that
was made around this module, or cut off before its entry, shows as a gap and is entered by the next one.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evergreen.errors import BadInputError, EvergreenError
from tasks.mlflow_store import connect, locked
from tasks.versions import CHAMPION, PREVIOUS, aliases_of, get_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.settings import Settings

HISTORY = "history."


class ChampionMovedError(EvergreenError):
    """The champion is not the one that the decision was taken against."""


def move_champion(
    settings: Settings,
    name: str,
    version: str,
    why: str,
    expected: Callable[[str | None], bool],
    verify: Callable[[], object],
) -> dict[str, Any]:
    """Make a version the champion and the champion ``previous``.

    Args:
        settings: where the store is.
        name: of the registered model.
        version: the new champion.
        why: kept in the history.
        expected: asked, under the lock, whether the champion found (None: there is none) is still the right one.
        verify: called under the lock before anything moves; raises if the version's weights are not what they were.

    Returns:
        The entry of the history.

    Raises:
        BadInputError: no such version, or it is the champion already.
        ChampionMovedError: ``expected`` said no; nothing was moved.
    """
    client = connect(settings)
    with locked(settings):
        get_version(client, name, version)
        champion = aliases_of(client, name).get(CHAMPION)
        if champion == version:
            raise BadInputError(f"Version {version} is the champion of {name} already: nothing was moved.")
        if not expected(champion):
            raise ChampionMovedError(
                f"The champion of {name} is version {champion or 'none'} now, not the one that version {version} was "
                "compared with: nothing was moved. Run the pipeline again to compare with the new one."
            )
        verify()
        return _move(client, name, champion, version, "promote", why)


def rollback(settings: Settings, name: str, why: str, verify: Callable[[str], object]) -> dict[str, Any]:
    """Swap ``champion`` and ``previous``; a second rollback undoes the first.

    Raises:
        BadInputError: there is no champion, or none before it.
    """
    client = connect(settings)
    with locked(settings):
        aliases = aliases_of(client, name)
        champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
        if champion is None:
            raise BadInputError(f"{name} has no champion to roll back. Promote one: evergreen models promote VERSION.")
        if previous is None or previous == champion:
            raise BadInputError(
                f"Version {champion} is the only champion {name} has had: there is nothing to roll back to. "
                "Promote another version: evergreen models promote VERSION."
            )
        verify(previous)
        return _move(client, name, champion, previous, "rollback", why)


def history(client: MlflowClient, name: str) -> list[dict[str, Any]]:
    """The moves of a model's champion, oldest first: at, who, action, from, to, why."""
    tags = client.get_registered_model(name).tags
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith(HISTORY)]


def _move(client: MlflowClient, name: str, champion: str | None, version: str, action: str, why: str) -> dict[str, Any]:
    """Set ``previous`` first: a kill in between leaves a champion, and never loses who it was."""
    entries = history(client, name)
    if entries and entries[-1]["to"] != champion:
        gap = "the alias was moved outside of Evergreen, or a move was cut off before it was recorded"
        entries.append(_record(client, name, len(entries), "unrecorded", entries[-1]["to"], champion, gap))
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, version)
    return _record(client, name, len(entries), action, champion, version, why)


def _record(
    client: MlflowClient, name: str, count: int, action: str, old: str | None, new: str | None, why: str
) -> dict[str, Any]:
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _user(),
        "action": action,
        "from": old,
        "to": new,
        "why": why,
    }
    client.set_registered_model_tag(name, f"{HISTORY}{count + 1:06d}", json.dumps(entry))
    return entry


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"
