"""What a count of next activities may depend on: many views of the same running case, each a number to look up.

Every view starts from the last activity, and adds more of them, what happened at all, how often, how long it took, or
who did it. None is right for all processes; which to trust is learned (:mod:`evergreen.process.mixture`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.process.prefixes import FEATURES, LONG_CASE, YEAR_S, Window

Keys = NDArray[np.uint64]
Ints = NDArray[np.int64]

MULTIPLIER, ADDEND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
HALF = np.uint64(32)
LONGEST_SUFFIX = 8
LAST_POSITION = 20


@dataclass(frozen=True)
class Family:
    """A view of a case, and how its counts age.

    Attributes:
        view: a name of :func:`views`.
        decay: what an observation is worth after the next one of the same context, 1 for counts that do not age.
        heard: how many of the labels that last followed this context are part of the context too.
        own: with ``heard``: whether the context itself is part of it, or only the last activity and what was heard.
    """

    view: str
    decay: float = 1.0
    heard: int = 0
    own: bool = True


STEADY = (
    *("suffix0", "suffix1", "suffix2", "suffix3", "suffix4", "suffix5", "suffix6", "suffix8", "whole", "set", "bag"),
    *("position", "repeats", "gap", "gap2", "gaps", "age", "set_age", "weekday", "hour"),
    *("resource", "resources", "set_resource"),
)
FAMILIES = (
    *(Family(view) for view in STEADY),
    Family("suffix0", 0.98),
    Family("suffix0", 0.9),
    Family("suffix1", 0.98),
    Family("suffix1", 0.9),
    Family("suffix2", 0.98),
    Family("suffix2", 0.9),
    Family("suffix3", 0.95),
    Family("suffix4", 0.9),
    Family("set", 0.95),
    Family("suffix1", heard=2),
    Family("suffix2", heard=2),
    Family("suffix4", heard=2),
    Family("set", heard=2),
    Family("suffix1", heard=3, own=False),
    Family("suffix2", heard=3, own=False),
    Family("suffix2", 0.98, heard=2),
)


def mixed(key: Keys, *parts: NDArray[np.integer]) -> Keys:
    """(n,) the key of a context with more in it: a hash, so that order and place of the parts count."""
    for part in parts:
        key = (key ^ (part.astype(np.uint64) + ADDEND)) * MULTIPLIER
        key = key ^ (key >> HALF)
    return key


def views(window: Window) -> dict[str, Keys]:
    """(n,) keys of every view of n cases, as they are at the end of their windows."""
    activity = window.activity.astype(np.int64)
    number = dict(zip(FEATURES, np.moveaxis(window.numbers, 2, 0), strict=True))
    length = activity.shape[1]
    empty = np.zeros(len(activity), np.uint64)
    suffixes = [empty]
    for back in range(1, length + 1):
        suffixes.append(mixed(suffixes[-1], activity[:, -back]))
    last, two = suffixes[1], suffixes[2]
    of_set, of_bag = _contents(activity)
    found = {f"suffix{order}": suffixes[order] for order in range(LONGEST_SUFFIX + 1)}
    gap, gap_before = (_doublings(number["since_previous"][:, -back]) for back in (1, 2))
    age = _doublings(number["since_start"][:, -1])
    who, who_before = window.resource[:, -1].astype(np.int64), window.resource[:, -2].astype(np.int64)
    position = np.minimum(_position(number["position"][:, -1]), LAST_POSITION)
    set_key = mixed(last, of_set)
    return found | {
        "whole": suffixes[-1],
        "set": set_key,
        "bag": mixed(last, of_bag),
        "position": mixed(last, position),
        "repeats": mixed(two, (activity == activity[:, -1:]).sum(1)),
        "gap": mixed(last, gap),
        "gap2": mixed(two, gap // 2),
        "gaps": mixed(suffixes[3], gap // 2, gap_before // 2),
        "age": mixed(last, age),
        "set_age": mixed(set_key, age // 2),
        "weekday": mixed(two, _turns(number["week_sin"][:, -1], number["week_cos"][:, -1], 7)),
        "hour": mixed(two, _turns(number["day_sin"][:, -1], number["day_cos"][:, -1], 8)),
        "resource": mixed(last, who),
        "resources": mixed(two, who, who_before),
        "set_resource": mixed(set_key, who),
    }


def _contents(activity: Ints) -> tuple[Keys, Keys]:
    """(n,) keys of the set and of the multiset of the activities: sums of random numbers, whatever the order."""
    ordered = np.sort(activity, axis=1)
    fresh = np.ones(ordered.shape, np.bool_)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    numbers = mixed(np.zeros(ordered.shape, np.uint64), ordered, ordered)
    return np.where(fresh, numbers, np.uint64(0)).sum(1, dtype=np.uint64), numbers.sum(1, dtype=np.uint64)


def _doublings(scaled: NDArray[np.float32]) -> Ints:
    """(n,) how often a second doubles to give these times, which come as logarithms with 1 for a year."""
    result: Ints = np.floor(scaled.astype(np.float64) * np.log2(1 + YEAR_S) + 1e-4).astype(np.int64)
    return result


def _position(scaled: NDArray[np.float32]) -> Ints:
    result: Ints = np.rint(np.expm1(scaled.astype(np.float64) * np.log1p(LONG_CASE))).astype(np.int64)
    return result


def _turns(sine: NDArray[np.float32], cosine: NDArray[np.float32], parts: int) -> Ints:
    """(n,) which of the equal parts of a circle a point is in."""
    angle = np.arctan2(sine.astype(np.float64), cosine.astype(np.float64)) / (2 * np.pi) % 1.0
    return np.floor(angle * parts + 1e-4).astype(np.int64) % parts
