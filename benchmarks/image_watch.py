"""All drift detectors on images, each looking at the same windows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from image_world import REFERENCE_IMAGES, SEED, Pool, Rng, World, unknowing, without_class
from numpy.typing import NDArray

from evergreen.images.drift import DriftConfig, Measured, Reference, compare, pool_reference
from evergreen.stream import harm
from evergreen.stream.confidence import Confidence, prediction_drift
from evergreen.stream.detectors.registry import make_detector
from evergreen.stream.harm import Harm, HarmConfig, Shifted
from evergreen.stream.harm_judge import Judge
from evergreen.stream.harm_signals import Answers, joined


@dataclass
class Watch:
    """All detectors, fitted to one reference and one model; a window is looked at once, whatever reads it.

    Attributes:
        world: for the configuration.
        drift: reference of the drift check.
        confidence: of the reference.
        answered: (n,) classes named on the reference.
        unseen: words → harm estimate learnt without the simulated shifts related to them.
        others: window detectors of `stream.detectors`, on statistics or embeddings.
    """

    world: World
    alpha: float
    drift: Reference
    confidence: Confidence
    answered: NDArray[np.int64]
    regime: Answers
    learning: Pool
    shifted: list[Shifted]
    classes: list[str]
    others: dict[str, Any]
    unseen: dict[frozenset[str], Harm] = field(default_factory=dict)

    @classmethod
    def fit(cls, world: World, rng: Rng, without: int | None = None) -> "Watch":
        """Fit everything; ``without`` a class, for a model that does not know it."""
        if without is None:
            reference, learning, shifted, regime = world.reference, world.learning, world.shifted, world.regime
            classes = world.classes
        else:
            reference, learning = (unknowing(pool, without) for pool in (world.reference, world.learning))
            kept = world.learning.labels != without
            shifted = [
                Shifted(s.name, s.relatives, without_class(s.answers.take(np.flatnonzero(kept)), without))
                for s in world.shifted
            ]
            # nobody knows the labels of the usual images, but a stream without the class has none of it
            regime = joined(
                [learning.answers, reference.answers.take(np.arange(min(REFERENCE_IMAGES, len(reference))))]
            )
            classes = [name for code, name in enumerate(world.classes) if code != without]
        parts = np.array_split(np.arange(len(reference)), world.config.reference_windows)
        measured = [_measured(reference.take(part), world.config, rng) for part in parts]
        others = {name: make_detector(name, alpha=world.config.alpha) for name in ("psi", "frechet")}
        others["psi"].fit(reference.statistics)
        others["frechet"].fit(reference.answers.features.astype(np.float64))
        return cls(
            world,
            world.config.alpha,
            pool_reference(measured, world.config, rng),
            Confidence.fit(learning.answers.probabilities, learning.labels),
            reference.answers.probabilities.argmax(axis=1),
            regime,
            learning,
            shifted,
            classes,
            others,
        )

    def harm(self, related: frozenset[str]) -> Harm:
        """The estimate learnt without the simulated shifts that share one of these words."""
        if related not in self.unseen:
            kept = [shift for shift in self.shifted if not shift.relatives & related]
            self.unseen[related] = harm.fit(
                self.regime, self.learning.answers, self.learning.labels, kept, self.classes, HarmConfig(), SEED
            )
        return self.unseen[related]

    def look(self, window: Pool, related: frozenset[str], rng: Rng) -> dict[str, Any]:
        """What every detector needs to know of a window."""
        tests = compare(self.drift, _measured(window, self.world.config, rng), self.world.config, rng)
        named = window.answers.probabilities.argmax(axis=1)
        performance = self.confidence.estimate(window.answers.probabilities)
        return {
            "ks": min(test.p_adjusted for test in tests if test.kind == "ks") / 2,  # alone it may spend all of alpha
            "mmd": tests[-1].p_value,
            "check": min(test.p_adjusted for test in tests),
            "prediction": prediction_drift(self.answered, named, len(self.classes)).p_value,
            "confidence": performance.p_value,
            "confidence_fall": performance.fall,
            "harm": self.harm(related).estimate(window.answers),
            "harm_seen": self.harm(frozenset()).estimate(window.answers),
            "psi": self.others["psi"].test(window.statistics).p_value,
            "frechet": self.others["frechet"].test(window.answers.features.astype(np.float64)).p_value,
        }


def _measured(pool: Pool, config: DriftConfig, rng: Rng) -> Measured:
    rows = np.sort(rng.choice(len(pool), config.sampled(len(pool), encoder=True), replace=False))
    return Measured(pool.statistics, rows, pool.answers.features[rows].astype(np.float64))


Decide = Callable[[dict[str, Any]], bool]


def detectors(alpha: float) -> dict[str, Callable[[], Decide]]:
    """For each detector a maker of its decision on one window after another."""
    config = HarmConfig()

    def p_value(name: str) -> Callable[[], Decide]:
        return lambda: lambda seen: seen[name] <= alpha

    def judged(name: str) -> Callable[[], Decide]:
        def make() -> Decide:
            judge = Judge(config)
            return lambda seen: judge.update(min(seen["check"], seen["prediction"]) <= alpha, seen[name]).act

        return make

    return {
        "default": judged("harm"),
        "default_as_shipped": judged("harm_seen"),
        "harm_estimate_alone": lambda: lambda seen: seen["harm"].harmful,
        "drift_check": p_value("check"),
        "ks_holm": p_value("ks"),
        "mmd": p_value("mmd"),
        "psi": p_value("psi"),
        "frechet": p_value("frechet"),
        "prediction_drift": p_value("prediction"),
        "confidence_test": p_value("confidence"),
        "confidence_fall": lambda: lambda seen: seen["confidence_fall"] >= config.threshold,
        "always": lambda: lambda seen: True,
        "never": lambda: lambda seen: False,
    }
