"""What happens to a stream of images: clean windows, and stretches of shifted ones with the harm that they do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from image_world import WINDOW, Pool, Rng, World, together, unknowing, without_class
from numpy.typing import NDArray

from evergreen.images.corruptions import KINDS

CLEAN_WINDOWS = 320
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.0)  # of a gradual drift, window by window
NEW_CLASS_SHARES = (0.02, 0.1, 0.2, 0.4)
WITHIN = 2  # windows in which a harmful drift must be caught


@dataclass
class Episode:
    """A stretch of windows with one story.

    Attributes:
        kind: abrupt, gradual, recurring, prior or new_class.
        name: of the shift, for the record.
        related: words of its relatives, which the default's regression has not seen.
        windows: what arrives.
        falls: true fall of accuracy of each window's distribution; None for a window without shift.
    """

    kind: str
    name: str
    related: frozenset[str]
    windows: list[Pool]
    falls: list[float | None]


def clean_windows(world: World, rng: Rng) -> Iterator[Pool]:
    """Windows of clean images: the pool in a new order is cut up without replacement, again and again."""
    given = 0
    while given < CLEAN_WINDOWS:
        order = rng.permutation(len(world.clean))
        for start in range(0, len(order) - WINDOW + 1, WINDOW):
            if given == CLEAN_WINDOWS:
                return
            given += 1
            yield world.clean.take(order[start : start + WINDOW])


def corrupted_episodes(world: World, rng: Rng, gradual: Sequence[int], recurring: Sequence[int]) -> Iterator[Episode]:
    """Every kind: abrupt in all severities, gradual and recurring in some."""
    for (kind, severity), pool in world.corrupted.items():
        fall = float(world.plain.right.mean() - pool.right.mean())

        def window(share: float, pool: Pool = pool) -> Pool:
            rows, changed = rng.choice(len(pool), WINDOW, replace=False), round(share * WINDOW)
            return together([pool.take(rows[:changed]), world.plain.take(rows[changed:])])

        shapes: list[tuple[str, Sequence[float]]] = [("abrupt", (0.0, 1.0, 1.0))]
        if severity in gradual:
            shapes.append(("gradual", SHARES))
        if severity in recurring:
            shapes.append(("recurring", (1.0, 1.0, 0.0, 0.0, 1.0, 1.0)))
        for shape, shares in shapes:
            yield Episode(
                shape,
                f"{kind} {severity}",
                KINDS[kind].relatives,
                [window(share) for share in shares],
                [share * fall if share else None for share in shares],
            )


def prior_episodes(world: World, rng: Rng) -> Iterator[Episode]:
    """Other mixes of classes: one class as common as all others together, and random mixes."""
    classes = len(world.classes)
    recalls = np.array([world.clean.right[world.clean.labels == code].mean() for code in range(classes)])
    usual = np.bincount(world.clean.labels, minlength=classes) / len(world.clean)
    mixes = [(f"half {world.classes[code]}", 0.5 * (np.eye(classes)[code] + usual)) for code in range(classes)]
    mixes += [(f"random mix {number}", rng.dirichlet(np.full(classes, 3.0))) for number in range(20)]
    for name, mix in mixes:
        weights = (mix / usual)[world.clean.labels]
        windows = [world.clean.take(_weighted(weights, rng)) for _ in range(WITHIN)]
        yield Episode("prior", name, frozenset(), windows, [float((usual - mix) @ recalls)] * WITHIN)


def _weighted(weights: NDArray[np.float64], rng: Rng) -> NDArray[np.int64]:
    return rng.choice(len(weights), WINDOW, replace=False, p=weights / weights.sum())


def new_class_episodes(world: World, code: int, rng: Rng) -> Iterator[Episode]:
    """Images of a class that the model does not know, as a share of the windows."""
    known = unknowing(world.clean, code)
    strange = world.clean.take(np.flatnonzero(world.clean.labels == code))
    strange = Pool(without_class(strange.answers, code), strange.statistics, np.full(len(strange), -1))
    for share in NEW_CLASS_SHARES:
        count = round(share * WINDOW)
        windows = [
            together(
                [
                    strange.take(rng.choice(len(strange), count, replace=False)),
                    known.take(rng.choice(len(known), WINDOW - count, replace=False)),
                ]
            )
            for _ in range(WITHIN)
        ]
        fall = share * float(known.right.mean())
        yield Episode("new_class", f"{world.classes[code]} {share:.0%}", frozenset(), windows, [fall] * WITHIN)
