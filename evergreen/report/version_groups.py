"""Model versions in groups that fit on a page: a model that learns every few days has many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class VersionGroup:
    """Successive versions.

    Attributes:
        versions: their numbers, at least one.
        decisions: explained ones of all of them.
        importance: by feature, mean over these decisions.
    """

    versions: tuple[int, ...]
    decisions: int
    importance: Mapping[str, float]

    @property
    def name(self) -> str:
        """E.g. ``3`` or ``3–7``."""
        first, last = self.versions[0], self.versions[-1]
        return str(first) if first == last else f"{first}–{last}"

    @property
    def title(self) -> str:
        """The name with its noun."""
        return f"version {self.name}" if len(self.versions) == 1 else f"versions {self.name}"


def group_versions(versions: Sequence[Mapping[str, Any]], most: int) -> list[VersionGroup]:
    """Put versions into at most so many groups, in order, with about as many decisions each.

    Args:
        versions: as in the summary of the explanations: model_version, decisions, importance by feature.
        most: groups, at least 1; up to so many versions stay alone.
    """
    ordered = sorted(versions, key=lambda version: int(version["model_version"]))
    if len(ordered) <= most:
        owner = np.arange(len(ordered))
    else:
        counts = np.array([version["decisions"] for version in ordered], np.float64)
        middle = counts.cumsum() - counts / 2
        owner = np.minimum((middle / counts.sum() * most).astype(np.int64), most - 1)
    parts = [[v for v, group in zip(ordered, owner, strict=True) if group == number] for number in np.unique(owner)]
    return [_together(part) for part in parts]


def _together(versions: Sequence[Mapping[str, Any]]) -> VersionGroup:
    total = sum(version["decisions"] for version in versions)
    importance = {
        name: sum(version["importance"][name] * version["decisions"] for version in versions) / total
        for name in versions[0]["importance"]
    }
    return VersionGroup(tuple(int(version["model_version"]) for version in versions), total, importance)
