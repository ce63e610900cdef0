"""Which detector sees the drifts of images that do harm, and leaves alone those that do none?

The model is the classifier of a workspace that ran the image pipeline on CIFAR-10. Windows of 500 images are drawn:
clean ones; nineteen kinds of corruption in five severities, abrupt, gradual and recurring; other mixes of classes; a
class that the model does not know. What is true of a shift is measured with hidden labels that no detector sees: it is
harmful if the classifier's accuracy falls by 5 points or more, harmless if by less than 1; in between is not scored.

The harm estimate learns from simulated shifts that share no code with the corruptions. What is reported as the default
configuration judges each corruption with a regression that was fitted without the simulated shifts that are related to
it (noise for noise, blur for blur, …): the kind of shift is new to it. The fit with all simulated shifts, which is what
a user has, is reported beside it.

    python benchmarks/drift_images.py --workspace DIR
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.config import read_yaml
from evergreen.files import write_json
from evergreen.images.arrays import open_images, read_index
from evergreen.images.bundle import Classifier, load
from evergreen.images.corruptions import KINDS, SEVERITIES, corrupt
from evergreen.images.drift import DriftConfig, Measured, Reference, compare, pool_reference
from evergreen.images.evaluate import gate_images
from evergreen.images.harm import answers_of, learning_set
from evergreen.images.imageset import open_windows
from evergreen.images.labels import read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.shifts import SHIFTS
from evergreen.images.statistics import describe
from evergreen.progress import track
from evergreen.stream import harm
from evergreen.stream.confidence import Confidence, prediction_drift
from evergreen.stream.detectors.registry import make_detector
from evergreen.stream.harm import Harm, HarmConfig, Shifted
from evergreen.stream.harm_judge import Judge
from evergreen.stream.harm_signals import Answers, joined
from evergreen.training.precision import set_threads

WINDOW = 500
CLEAN_WINDOWS = 320
CLEAN_POOL = (4000, 8000)  # images of the test set, and of the stream after the reference
CORRUPTED_POOL = 1000
REFERENCE_IMAGES = 1500
SEED = 7
PERMUTATIONS = 1999  # of the MMD: the fewest that can reach alpha / 2
HARMFUL, HARMLESS = 0.05, 0.01
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.0)  # of a gradual drift, window by window
NEW_CLASS_SHARES = (0.02, 0.1, 0.2, 0.4)
WITHIN = 2  # windows in which a harmful drift must be caught

Rng = np.random.Generator


@dataclass(frozen=True)
class Pool:
    """Images of one kind, answered once: windows are drawn from it.

    Attributes:
        answers: of the classifier.
        statistics: (n, features) of the pixels.
        labels: (n,) true classes; only for the truth about a shift.
    """

    answers: Answers
    statistics: NDArray[np.float64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, classifier: Classifier, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> "Pool":
        return cls(answers_of(classifier, images), describe(images).to_numpy(), labels)

    def take(self, rows: NDArray[np.integer]) -> "Pool":
        return Pool(self.answers.take(rows), self.statistics[rows], self.labels[rows])

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return self.answers.probabilities.argmax(axis=1) == self.labels

    def __len__(self) -> int:
        return len(self.labels)


def together(pools: Sequence[Pool]) -> Pool:
    return Pool(
        joined([pool.answers for pool in pools]),
        np.concatenate([pool.statistics for pool in pools]),
        np.concatenate([pool.labels for pool in pools]),
    )


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


@dataclass
class World:
    """Everything that is answered once: the classifier's view of a workspace.

    Attributes:
        config: of the drift check.
        classes: names.
        reference: images of the regime that the drift check compares with.
        learning: labelled gate images, not changed.
        shifted: the same after each simulated shift.
        regime: images that the harm estimate takes for the usual.
        clean: images that clean windows are drawn from.
        plain: labelled test images before corruption.
        corrupted: the same after each (kind, severity).
    """

    config: DriftConfig
    classes: list[str]
    reference: Pool
    learning: Pool
    shifted: list[Shifted]
    regime: Answers
    clean: Pool
    plain: Pool
    corrupted: dict[tuple[str, int], Pool]


def read_world(workspace: Path, severities: Sequence[int] = SEVERITIES) -> World:
    """Answer all images that the benchmark needs: the expensive part."""
    layout, params = ImageLayout(workspace), read_yaml(workspace / "params.yaml")["images"]
    set_threads(params["threads"])
    rng = np.random.default_rng(SEED)
    classifier = load(layout.classifier)
    config = DriftConfig.read({**params["drift"], "mmd_permutations": PERMUTATIONS}, "params.yaml: images.drift")
    stream, gate, test = _images(layout, params, classifier.classes)
    rows = rng.permutation(len(stream[0]))
    referenced, usual, streamed = np.split(
        rows[: config.reference_windows * WINDOW + REFERENCE_IMAGES + CLEAN_POOL[1]],
        [config.reference_windows * WINDOW, config.reference_windows * WINDOW + REFERENCE_IMAGES],
    )
    tested, corrupted = np.split(rng.permutation(len(test[0]))[: CLEAN_POOL[0] + CORRUPTED_POOL], [CLEAN_POOL[0]])
    corrupted.sort()
    learning = np.sort(rng.permutation(len(gate[0]))[: HarmConfig().rows])
    total = (
        len(rows[: len(referenced) + len(usual) + len(streamed)])
        + len(tested)
        + CORRUPTED_POOL * (1 + len(KINDS) * len(severities))
        + len(learning) * (1 + len(SHIFTS) * HarmConfig().strengths)
    )
    with track("answer", total=total, unit="images") as progress:

        def pool(images: tuple[NDArray[np.uint8], ...], rows: NDArray[np.int64]) -> Pool:
            progress.advance(len(rows))
            return Pool.of(classifier, np.asarray(images[0][rows]), images[1][rows])

        reference, usual_pool, learning_pool = pool(stream, referenced), pool(stream, usual), pool(gate, learning)
        shifted = learning_set(classifier, gate[0][learning], HarmConfig(), rng, SHIFTS, progress)
        clean = together([pool(test, tested), pool(stream, streamed)])
        plain = pool(test, corrupted)
        ids, pixels = [str(row) for row in corrupted], np.asarray(test[0][corrupted])
        bent = {}
        for kind in KINDS:
            for severity in severities:
                bent[kind, severity] = Pool.of(classifier, corrupt(pixels, ids, kind, severity, SEED), plain.labels)
                progress.advance(len(pixels))
    regime = joined([learning_pool.answers, usual_pool.answers])
    return World(config, classifier.classes, reference, learning_pool, shifted, regime, clean, plain, bent)


Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _images(layout: ImageLayout, params: Mapping[str, Any], classes: list[str]) -> tuple[Labelled, Labelled, Labelled]:
    """Images and labels of the clean days (without the gate's), of the gate's images of those days, and of the test."""
    names = np.array(classes, dtype=np.str_)
    windows = sorted(folder.name for folder in layout.windows.glob("images-*"))
    clean_days = params["ingest"]["noise_from_day"] or len(windows)
    images = open_windows(layout.windows, windows[:clean_days])
    index, hidden = images.index, read_labels(layout.hidden_labels)
    known = index["label"].where(
        index["label"].notna(), index["image_id"].map(dict(zip(hidden["image_id"], hidden["label"], strict=True)))
    )
    streamed = np.flatnonzero(known.notna() & (index["split"] != "gate"))
    whole, gate = gate_images(layout)
    gate = gate[gate["row"] < len(index)]
    assert whole is not None
    test = read_index(layout.test / "clean")

    def codes(labels: Any) -> NDArray[np.int64]:
        return np.searchsorted(names, np.asarray(labels, dtype=np.str_)).astype(np.int64)

    return (
        (images.take(streamed).numpy(), codes(known.iloc[streamed])),
        (whole.take(gate["row"].to_numpy()).numpy(), codes(gate["label"])),
        (np.asarray(open_images(layout.test / "clean")), codes(test["label"])),
    )


# -- detectors --------------------------------------------------------------------------------------------------------


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
            reference, learning = (_unknowing(pool, without) for pool in (world.reference, world.learning))
            kept = world.learning.labels != without
            shifted = [
                Shifted(s.name, s.relatives, _without(s.answers.take(np.flatnonzero(kept)), without))
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


def _without(answers: Answers, code: int) -> Answers:
    """The answers of the same model with one class less in its last layer."""
    left = np.delete(answers.probabilities, code, axis=1)
    return Answers(left / left.sum(axis=1, keepdims=True), answers.features)


def _unknowing(pool: Pool, code: int) -> Pool:
    """The images of all other classes, answered by a model that does not know this one."""
    kept = pool.take(np.flatnonzero(pool.labels != code))
    return Pool(_without(kept.answers, code), kept.statistics, kept.labels - (kept.labels > code))


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


# -- what happens -----------------------------------------------------------------------------------------------------


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
    known = _unknowing(world.clean, code)
    strange = world.clean.take(np.flatnonzero(world.clean.labels == code))
    strange = Pool(_without(strange.answers, code), strange.statistics, np.full(len(strange), -1))
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


# -- scores -----------------------------------------------------------------------------------------------------------


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


def run(
    workspace: Path,
    gradual: Sequence[int] = (3, 5),
    recurring: Sequence[int] = (4,),
) -> dict[str, Any]:
    """Run everything; returns what the result file holds."""
    world = read_world(workspace)
    rng = np.random.default_rng([SEED, 1])
    watch = Watch.fit(world, rng)
    makers = detectors(watch.alpha)
    scores = {name: Score() for name in makers}
    estimates: list[dict[str, Any]] = []

    def follow(watch: Watch, episodes: Iterator[Episode]) -> None:
        for episode in episodes:
            seen = [watch.look(window, episode.related, rng) for window in episode.windows]
            for name, make in makers.items():
                decide = make()
                scores[name].see(episode, [decide(window) for window in seen])
            estimates.extend(
                {
                    "kind": episode.kind,
                    "name": episode.name,
                    "fall": fall,
                    "expected": window["harm"].expected_fall,
                    "low": window["harm"].low,
                    "high": window["harm"].high,
                    "expected_as_shipped": window["harm_seen"].expected_fall,
                    "by_confidence": window["confidence_fall"],
                }
                for fall, window in zip(episode.falls, seen, strict=True)
            )

    with track("windows", total=CLEAN_WINDOWS, unit="clean windows") as progress:
        deciding = {name: make() for name, make in makers.items()}
        for window in clean_windows(world, rng):
            seen = watch.look(window, frozenset(), rng)
            for name, decide in deciding.items():
                scores[name].clean += 1
                scores[name].false_alarms += decide(seen)
            estimates.append({"kind": "clean", "name": "", "fall": 0.0, "expected": seen["harm"].expected_fall})
            progress.advance()
    follow(watch, corrupted_episodes(world, rng, gradual, recurring))
    follow(watch, prior_episodes(world, rng))
    for code in range(len(world.classes)):
        follow(Watch.fit(world, rng, without=code), new_class_episodes(world, code, rng))
    return {
        "accuracy_of_the_classifier": float(world.clean.right.mean()),
        "window": WINDOW,
        "clean_windows": CLEAN_WINDOWS,
        "clean_images": len(world.clean),
        "corrupted_images": CORRUPTED_POOL,
        "harmful_from": HARMFUL,
        "harmless_below": HARMLESS,
        "detectors": {name: score.as_json() for name, score in scores.items()},
        "harm_estimate": error_of(estimates),
        "falls": {f"{kind} {severity}": falls(world, kind, severity) for kind, severity in world.corrupted},
        "versions": {name: version(name) for name in ("numpy", "scipy", "torch")}
        | {"python": platform.python_version()},
    }


def falls(world: World, kind: str, severity: int) -> float:
    """The true fall of accuracy under a corruption."""
    return float(world.plain.right.mean() - world.corrupted[kind, severity].right.mean())


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


def summary(result: Mapping[str, Any]) -> str:
    """The result as a table."""
    lines = [f"{'detector':22} {'false/1000':>10} {'caught':>11} {'left alone':>11} {'delay':>6}"]
    for name, score in result["detectors"].items():
        caught, alone = ("{}/{}".format(*score[key]) for key in ("harmful_caught", "harmless_left_alone"))
        delay = "–" if score["mean_delay_windows"] is None else f"{score['mean_delay_windows']:.2f}"
        false = score["false_alarms_per_1000_clean_windows"]
        lines.append(f"{name:22} {false:10.1f} {caught:>11} {alone:>11} {delay:>6}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path(__file__).parents[1], help="where the pipeline ran")
    parser.add_argument("--output", type=Path, help="file for the whole result; `drift.py` keeps it in drift.json")
    arguments = parser.parse_args()
    started = time.process_time()
    result = run(arguments.workspace)
    if arguments.output:
        write_json(arguments.output, result)
    print(summary(result))
    print(f"{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
