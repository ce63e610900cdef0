"""What changed in a process, in words."""

from dataclasses import dataclass
from typing import Any

from evergreen.process.compare_graphs import APPEARED, LESS, MORE, VANISHED
from evergreen.report.page import MISSING, percent, whole

Record = dict[str, Any]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class Change:
    """One line of the list of changes: what kind, in words, how sure."""

    kind: str
    text: str
    q: float


def changes(found: Record) -> list[Change]:
    """What changed, in words: activities that came and went, then edges, then times; the largest changes first.

    Args:
        found: a record that the step ``discovery`` wrote.
    """
    lines = []
    for record in found["activities"]:
        if record["direction"] in (APPEARED, VANISHED):
            word = "is new" if record["direction"] == APPEARED else "is gone"
            count = f"{whole(record['before'])} events before, {whole(record['after'])} after"
            lines.append(Change(record["direction"], f"{record['activity']} {word} ({count}).", record["q"]))
    for edge in found["edges"]:
        if edge["direction"] in (APPEARED, VANISHED, MORE, LESS):
            lines.append(Change(edge["direction"], _edge_words(edge), edge["q"]))
    for edge in found["edges"]:
        if edge["pace"]:
            times = f"{duration(edge['seconds_after'])} instead of {duration(edge['seconds_before'])}"
            text = f"From {edge['source']} to {edge['target']} it takes {times} (median)."
            lines.append(Change(edge["pace"], text, edge["seconds_q"]))
    return lines


def _edge_words(edge: Record) -> str:
    source, target = edge["source"], edge["target"]
    was = (
        f"{share_text(edge['share_before'])} before"
        if edge["share_before"] is not None
        else f"no {source or 'start'} before"
    )
    now = share_text(edge["share_after"]) if edge["share_after"] is not None else "none"
    if source is None:
        return f"Cases begin with {target}: {now} ({was})."
    if target is None:
        return f"Cases end after {source}: {now} ({was})."
    return f"After {source} comes {target}: {now} ({was})."


def duration(seconds: float | None) -> str:
    r"""A time in the unit that suits it.

    >>> duration(42.0), duration(5400.0), duration(200000.0), duration(None)
    ('42\u202fs', '1.5\u202fh', '2.3\u202fd', '–')
    """
    if seconds is None:
        return MISSING
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if abs(seconds) >= unit:
            return f"{seconds / unit:,.1f}\u202f{name}"
    return f"{seconds:,.0f}\u202fs"


def share_text(share: float | None) -> str:
    """A share without decimals, but never 0 or 100 percent where it is not.

    >>> share_text(0.004), share_text(0.321), share_text(0.9999), share_text(None)
    ('<1\u202f%', '32\u202f%', '>99\u202f%', '–')
    """
    if share is not None and 0 < share < 0.005:
        return "<1\u202f%"
    if share is not None and 0.995 <= share < 1:
        return ">99\u202f%"
    return percent(share, 0)


def sentence(edge: Record) -> str:
    """What an edge tells, in words."""
    source, target = edge["source"], edge["target"]
    shares = f"{share_text(edge['share_after'])} after, {share_text(edge['share_before'])} before"
    if source is None:
        return f"Of the cases that begin, {target} is the first activity of {shares}"
    if target is None:
        return f"{source} ends the case in {shares}"
    return f"{source} is followed by {target} in {shares}"


def activity_sentence(record: Record) -> str:
    """What an activity's record tells, in words."""
    return (
        f"{record['activity']}: {whole(record['before'])} events before ({share_text(record['share_before'])} of all), "
        f"{whole(record['after'])} after ({share_text(record['share_after'])})"
    )
