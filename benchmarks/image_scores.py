"""What drift detectors on images did right and wrong, and how far the estimates of harm are from the truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from image_episodes import WITHIN, Episode

from evergreen.stream.harm import HarmConfig

HARMFUL, HARMLESS = 0.05, 0.01


@dataclass
class Score:
    """What a detector did: counts, and lists of names for the record."""

    clean: int = 0
    false_alarms: int = 0
    unchanged: int = 0
    alarms_unchanged: int = 0
    harmful: dict[str, list[str]] = field(default_factory=dict)
    missed: dict[str, list[str]] = field(default_factory=dict)
    harmless: dict[str, list[str]] = field(default_factory=dict)
    disturbed: dict[str, list[str]] = field(default_factory=dict)
    delays: list[int] = field(default_factory=list)

    def see(self, episode: Episode, alarms: Sequence[bool]) -> None:
        """Score an episode: every stretch of harmful windows is a drift to catch, of harmless shifted ones to leave."""
        for start, end, verdict in stretches(episode.falls):
            fired = [number for number in range(start, end) if alarms[number]]
            if verdict == "harmful":
                self.harmful.setdefault(episode.kind, []).append(episode.name)
                if fired and fired[0] - start < WITHIN:
                    self.delays.append(fired[0] - start + 1)
                else:
                    self.missed.setdefault(episode.kind, []).append(episode.name)
            elif verdict == "harmless":
                self.harmless.setdefault(episode.kind, []).append(episode.name)
                if fired:
                    self.disturbed.setdefault(episode.kind, []).append(episode.name)
            elif verdict == "unchanged":
                self.unchanged += end - start
                self.alarms_unchanged += len(fired)

    def as_json(self) -> dict[str, Any]:
        def share(part: Mapping[str, list[str]], whole: Mapping[str, list[str]], kind: str) -> list[int]:
            return [len(whole[kind]) - len(part.get(kind, [])), len(whole[kind])]

        harmful, harmless = (sum(map(len, names.values())) for names in (self.harmful, self.harmless))
        missed, disturbed = (sum(map(len, names.values())) for names in (self.missed, self.disturbed))
        return {
            "false_alarms_per_1000_clean_windows": 1000 * self.false_alarms / self.clean,
            "alarms_in_unchanged_windows_before_and_after_drifts": [self.alarms_unchanged, self.unchanged],
            "harmful_caught": [harmful - missed, harmful],
            "harmless_left_alone": [harmless - disturbed, harmless],
            "mean_delay_windows": float(np.mean(self.delays)) if self.delays else None,
            "harmful_caught_by_kind": {kind: share(self.missed, self.harmful, kind) for kind in self.harmful},
            "harmless_left_alone_by_kind": {kind: share(self.disturbed, self.harmless, kind) for kind in self.harmless},
            "missed": self.missed,
            "disturbed": self.disturbed,
        }


def stretches(falls: Sequence[float | None]) -> Iterator[tuple[int, int, str]]:
    """Runs of windows with one verdict: (first, end, harmful, harmless, between or unchanged).

    >>> list(stretches([None, 0.0, 0.06, 0.07]))
    [(0, 1, 'unchanged'), (1, 2, 'harmless'), (2, 4, 'harmful')]
    """

    def verdict(fall: float | None) -> str:
        if fall is None:
            return "unchanged"
        return "harmful" if fall >= HARMFUL else "harmless" if fall < HARMLESS else "between"

    verdicts = [verdict(fall) for fall in falls]
    start = 0
    for number in range(1, len(falls) + 1):
        if number == len(falls) or verdicts[number] != verdicts[start]:
            yield start, number, verdicts[start]
            start = number


def error_of(estimates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How far expected falls are from true ones, and how often the interval holds the truth."""
    shifted = [row for row in estimates if row["kind"] != "clean" and row["fall"] is not None]
    true = np.array([row["fall"] for row in shifted])
    expected = {
        "unknown_kind": np.array([row["expected"] for row in shifted]),
        "as_shipped": np.array([row["expected_as_shipped"] for row in shifted]),
        "confidence_alone": np.array([row["by_confidence"] for row in shifted]),
    }
    inside = [row["low"] <= row["fall"] <= row["high"] for row in shifted]
    clean = np.array([row["expected"] for row in estimates if row["kind"] == "clean"])
    return {
        "windows": len(shifted),
        "mean_absolute_error": {name: float(np.abs(values - true).mean()) for name, values in expected.items()},
        "correlation": {name: float(np.corrcoef(values, true)[0, 1]) for name, values in expected.items()},
        "interval_holds_the_truth": float(np.mean(inside)),
        "level": HarmConfig().level,
        "clean_windows": {"mean": float(clean.mean()), "standard_deviation": float(clean.std())},
    }
