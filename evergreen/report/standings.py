"""How the models of a run stand against each other, by macro-F."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evergreen.report.cards import Card
from evergreen.report.page import points

Models = Mapping[str, Mapping[str, Any]]
"""Metrics by name of the model."""

OWN = "evergreen"
SHOWN = ("macro_f1", "spread", "n_scored", "seeds")


@dataclass(frozen=True)
class Lead:
    """By how much macro-F the main model is ahead of the best other one."""

    rival: str
    gain: float

    def card(self) -> Card:
        """The lead as a headline number."""
        tone = "good" if self.gain > 0 else "bad"
        return Card("Against the best other", points(self.gain), f"points, {self.rival}", tone)


def lead(models: Models, main: str | None) -> Lead | None:
    """The main model's lead; None where there is nothing to compare. Variants of the main model are no rivals."""
    own = models.get(main or "", {}).get("macro_f1")
    if main is None or own is None:
        return None
    family = OWN if main.startswith(f"{OWN}-") else main
    others = {
        name: found["macro_f1"]
        for name, found in models.items()
        if name != family and not name.startswith(f"{family}-") and found.get("macro_f1") is not None
    }
    if not others:
        return None
    rival = max(others, key=lambda name: others[name])
    return Lead(rival, own - others[rival])


def score_sentence(said: str, found: Lead | None) -> str:
    """What the main model reached, and how that compares.

    >>> score_sentence("It reaches 90 %", Lead("static", -0.012))
    'It reaches 90 %, 1.2 points below static, the best of the others.'
    """
    if found is None:
        return f"{said}."
    side = "above" if found.gain >= 0 else "below"
    return f"{said}, {abs(100 * found.gain):.1f} points {side} {found.rival}, the best of the others."


def model_rows(
    models: Models, main: str | None, also: Sequence[str], note: Callable[[str], str]
) -> list[dict[str, Any]]:
    """The table of models: the main one first, the others by macro-F, with how far the main one is ahead of each.

    Args:
        models: of the run.
        main: the model that the report is about.
        also: metrics that the table shows beside those that all tables show.
        note: says what a model is.
    """
    best = models.get(main or "", {}).get("macro_f1")
    rows = []
    for name in sorted(models, key=lambda name: (name != main, -(models[name].get("macro_f1") or 0.0), name)):
        found = models[name]
        value = found.get("macro_f1")
        gain = None if best is None or value is None or name == main else best - value
        shown = {key: found.get(key) for key in (*SHOWN, *also)}
        rows.append({**shown, "name": name, "note": note(name), "main": name == main, "gain": gain})
    return rows
