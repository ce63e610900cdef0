"""Headline numbers of a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evergreen.report.page import whole


@dataclass(frozen=True)
class Card:
    """A headline number. ``tone`` is ``good``, ``bad`` or empty."""

    title: str
    value: str
    note: str
    tone: str = ""


def validation_card(result: Mapping[str, Any], things: str) -> Card:
    """How much came through validation.

    Args:
        result: result.json.
        things: what its rows are, e.g. ``events``.
    """
    note = f"{things} accepted, {whole(result['rows_quarantined'])} quarantined"
    return Card("Validation", whole(result["rows_accepted"]), note, "good" if result["passed"] else "bad")
