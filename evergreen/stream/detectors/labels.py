"""Drift of the labels that follow what the model knew, without tuning to the data: a betting test.

For each key (the model's answer, or the last activity of a process) two forecasters bet on the next label: one
counts all labels since the detector started, the other mostly the last few. If nothing changes, the second knows
nothing that the first does not, and the product of its odds, a fair game's fortune, stays small. If the labels change
it grows without bound. Summing the fortunes of games that start at each observation gives the Shiryaev-Roberts
statistic, whose mean run between false alarms is at least the threshold (Shin, Ramdas & Rinaldo 2024, E-detectors: a
nonparametric framework for sequential change detection). That takes no correction for the number of keys: the
statistic is summed over them, and still each observation starts one game, whose fortune has mean one.

The first forecaster learns the labels' shares instead of knowing them, so the bound holds up to that: benchmarks
measure how well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pydantic

from evergreen.errors import BadInputError
from evergreen.stream.detectors.detector import Detector, DetectorConfig, Direction

LARGEST = 1e100  # fortune; far above any threshold, far below infinity
PRIOR = 1.0  # observations that the assumption of equally likely labels is worth


class Labelled(NamedTuple):
    """One label and what it belongs to.

    Attributes:
        key: what was known before: the model's answer, the last activity, a segment of customers.
        label: what turned out to be true.
    """

    key: str
    label: str


class LabelConfig(DetectorConfig):
    """How labels are watched.

    Attributes:
        direction: ``both``: any change of the labels. ``up``: only where labels agree less often with the key than
            before, which takes keys that are the model's answers.
        run_length: mean number of observations between false alarms, at least.
        memory: labels of a key that the second forecaster mostly looks at.
        strength: labels that the first forecaster's opinion is worth to the second.
    """

    minimum_evidence: int = pydantic.Field(500, ge=0)
    cool_down: int = pydantic.Field(250, ge=0)
    direction: Literal["up", "both"] = "both"
    run_length: float = pydantic.Field(1e6, ge=10, le=1e12)
    memory: float = pydantic.Field(80, ge=2)
    strength: float = pydantic.Field(10, gt=0)


@dataclass
class _Game:
    """What is known of one key: counts of all labels, decaying counts of the last ones, the fortune."""

    all: dict[str, float] = field(default_factory=dict)
    recent: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    recent_total: float = 0.0
    fortune: float = 0.0


class LabelDetector(Detector[Labelled]):
    """Watches the labels that follow each key. State grows with the number of different keys and labels."""

    name = "labels"
    settings = LabelConfig
    config: LabelConfig

    def __init__(self, config: LabelConfig | None = None) -> None:
        super().__init__(config)
        self._games: dict[str, _Game] = {}
        self._labels: dict[str, None] = {}  # in order of appearance
        self._fortune = 0.0
        self.alarm_key: str | None = None
        """The key whose labels changed, after an alarm."""

    def update(self, item: Labelled) -> bool:
        """Take the next label; True if it raises an alarm.

        Raises:
            BadInputError: key or label is not a name.
        """
        key, label = _checked(item)
        if self._cools_down():
            return False
        game = self._games.setdefault(key, _Game())
        self._bet(game, label)
        if self._fortune < self.config.run_length:
            return False
        richest = max(self._games, key=lambda name: self._games[name].fortune)
        self.direction = _agreement(richest, self._games[richest])
        if self.config.direction == "up" and self.direction != "up":
            self._absorb(self._games[richest])
            return False
        if self.evidence < self.config.minimum_evidence:
            return False
        self.drift_detected, self.alarm_key = True, richest
        self.restart()
        return True

    def restart(self) -> None:
        self._games, self._labels, self._fortune = {}, {}, 0.0
        self.evidence = 0
        self.cooling = self.config.cool_down

    def _bet(self, game: _Game, label: str) -> None:
        """Let both forecasters bet on the label, then tell them."""
        flat = PRIOR / (len(self._labels) + 1)  # of the labels known, and one that is not
        long = (game.all.get(label, 0.0) + flat) / (game.total + PRIOR)
        strength = self.config.strength
        short = (game.recent.get(label, 0.0) + strength * long) / (game.recent_total + strength)
        fortune = min(LARGEST, (game.fortune + 1) * short / long)
        self._fortune += fortune - game.fortune
        game.fortune = fortune
        self._labels[label] = None
        game.all[label] = game.all.get(label, 0.0) + 1
        game.total += 1
        decay = 1 - 1 / self.config.memory
        for name in game.recent:
            game.recent[name] *= decay
        game.recent[label] = game.recent.get(label, 0.0) + 1
        game.recent_total = game.recent_total * decay + 1

    def _absorb(self, game: _Game) -> None:
        """Take a change that is no drift for granted: the last labels are the new normal."""
        self._fortune -= game.fortune
        game.all, game.total, game.fortune = dict(game.recent), game.recent_total, 0.0

    def _memory(self) -> dict[str, Any]:
        games = [[key, {**vars(game)}] for key, game in self._games.items()]
        return {"games": games, "labels": list(self._labels), "fortune": self._fortune, "alarm_key": self.alarm_key}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._games = {key: _Game(**game) for key, game in memory["games"]}
        self._labels = dict.fromkeys(memory["labels"])
        self._fortune = memory["fortune"]
        self.alarm_key = memory["alarm_key"]


def _agreement(key: str, game: _Game) -> Direction:
    """Whether labels other than the key became more frequent."""
    recent = game.recent.get(key, 0.0) / game.recent_total
    before = game.all.get(key, 0.0) / game.total
    if recent == before:
        return "changed"
    return "up" if recent < before else "down"


def _checked(item: object) -> tuple[str, str]:
    if not isinstance(item, tuple) or len(item) != 2 or not all(isinstance(part, str) and part for part in item):
        raise BadInputError(f"Detector labels was given {item!r}, expected two names: (key, label).")
    return item[0], item[1]
