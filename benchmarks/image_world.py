"""The images that drift detectors are compared on, answered once by the classifier of a workspace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.config import read_yaml
from evergreen.images.arrays import open_images, read_index
from evergreen.images.bundle import Classifier, load
from evergreen.images.corruptions import KINDS, SEVERITIES, corrupt
from evergreen.images.drift import DriftConfig
from evergreen.images.evaluate import gate_images
from evergreen.images.harm import answers_of, learning_set
from evergreen.images.imageset import open_windows
from evergreen.images.labels import read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.shifts import SHIFTS
from evergreen.images.statistics import describe
from evergreen.progress import track
from evergreen.stream.harm import HarmConfig, Shifted
from evergreen.stream.harm_signals import Answers, joined
from evergreen.training.precision import set_threads

WINDOW = 500
CLEAN_POOL = (4000, 8000)  # images of the test set, and of the stream after the reference
CORRUPTED_POOL = 1000
REFERENCE_IMAGES = 1500
SEED = 7
PERMUTATIONS = 1999  # of the MMD: the fewest that can reach alpha / 2

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


def without_class(answers: Answers, code: int) -> Answers:
    """The answers of the same model with one class less in its last layer."""
    left = np.delete(answers.probabilities, code, axis=1)
    return Answers(left / left.sum(axis=1, keepdims=True), answers.features)


def unknowing(pool: Pool, code: int) -> Pool:
    """The images of all other classes, answered by a model that does not know this one."""
    kept = pool.take(np.flatnonzero(pool.labels != code))
    return Pool(without_class(kept.answers, code), kept.statistics, kept.labels - (kept.labels > code))


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
