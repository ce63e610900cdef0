"""The prequential engine against a naive one that takes row after row, and its promises."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.learner import Block, Learner, Truth
from evergreen.stream.prequential import LEAST, Prequential, PrequentialConfig
from evergreen.stream.regimes import RegimePolicy

CLASSES = ("a", "b", "c")
SECOND = 1_000_000


@dataclass
class Table:
    """Class frequencies by key: as plain as a model can be. Notes what it was handed."""

    keys: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    learns: bool = False
    flops: float = 0.0
    adapted_on: list[np.ndarray] = field(default_factory=list)

    def answer(self, rows: np.ndarray) -> np.ndarray:
        found = self.counts[self.keys[rows]]
        return found / found.sum(axis=1, keepdims=True)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(axis=1)

    def learn(self, rows: np.ndarray) -> None:
        if self.learns:
            np.add.at(self.counts, (self.keys[rows], self.labels[rows]), 1)

    def adapt(self, policy: str, rows: np.ndarray) -> tuple[Learner, float]:
        self.adapted_on.append(rows)
        counts = np.ones_like(self.counts) if policy == "retrain" else self.counts.copy()
        np.add.at(counts, (self.keys[rows], self.labels[rows]), 1)
        return Table(self.keys, self.labels, counts, self.learns, self.flops, self.adapted_on), self.flops


def stream(count: int, change: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow the key, and from the change on the next key."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 3, count)
    noise = rng.random(count) < 0.1
    labels = np.where(np.arange(count) < change, keys, (keys + 1) % 3)
    return keys, np.where(noise, rng.integers(0, 3, count), labels)


def table(keys: np.ndarray, labels: np.ndarray, trained: int, **facts: object) -> Table:
    counts = np.ones((3, 3))
    np.add.at(counts, (keys[:trained], labels[:trained]), 1)
    return Table(keys, labels, counts, **facts)


def truth(labels: np.ndarray, **facts: object) -> Truth:
    count = len(labels)
    return Truth(labels, CLASSES, np.arange(count) // 2, np.arange(count) * SECOND, **facts)


def blocks(start: int, stop: int, size: int) -> list[Block]:
    cuts = [np.arange(at, min(at + size, stop)) for at in range(start, stop, size)]
    return [Block(int(rows[0]) * SECOND, rows, rows) for rows in cuts]


CONFIG = PrequentialConfig(policy="retrain", min_rows=100, regimes=RegimePolicy(min_rows=10, old_margin=1.0))


@settings(max_examples=8, deadline=None)
@given(size=st.integers(1, 400), seed=st.integers(0, 5), flops=st.sampled_from([0.0, 1e12]))
def test_answers_in_batches_are_the_answers_one_by_one(size: int, seed: int, flops: float) -> None:
    keys, labels = stream(1500, 700, seed)
    one, many = (
        Prequential(truth(labels), CONFIG, splits=True).run(
            table(keys, labels, 300, flops=flops), blocks(300, 1500, step)
        )
        for step in (1, size)
    )
    np.testing.assert_array_equal(one.classes, many.classes)
    np.testing.assert_array_equal(one.scores, many.scores)
    np.testing.assert_array_equal(one.versions, many.versions)
    assert [alarm.row for alarm in one.alarms if alarm.detector["updates"]][:1] == [
        alarm.row for alarm in many.alarms if alarm.detector["updates"]
    ][:1]


def test_a_drift_is_found_learned_and_proven() -> None:
    keys, labels = stream(3000, 1500)
    answers = Prequential(truth(labels), CONFIG, splits=True).run(table(keys, labels, 500), blocks(500, 3000, 50))
    right = answers.classes == labels
    promoted = [alarm for alarm in answers.alarms if alarm.action == "promoted"]
    assert promoted
    assert all(alarm.row >= 1500 for alarm in answers.alarms)
    assert abs(promoted[0].since - 1500) < 30
    assert right[1500:1520].mean() < 0.3
    assert right[2000:].mean() > 0.85
    assert right[-500:].mean() > 0.85
    assert promoted[0].decision is not None
    assert promoted[0].decision.promote


def test_without_adaptation_it_stays_down() -> None:
    keys, labels = stream(3000, 1500)
    config = CONFIG.model_copy(update={"policy": "none"})
    answers = Prequential(truth(labels), config, splits=True).run(table(keys, labels, 500), blocks(500, 3000, 50))
    assert (answers.classes == labels)[2000:].mean() < 0.2
    assert answers.alarms
    assert {alarm.action for alarm in answers.alarms} == {"none"}


def test_an_answer_never_depends_on_what_comes_later() -> None:
    keys, labels = stream(2000, 900)
    later = labels.copy()
    later[1400:] = np.random.default_rng(9).integers(0, 3, 600)
    kept, changed = (
        Prequential(truth(values), CONFIG, splits=True).run(
            table(keys, values, 300, learns=True), blocks(300, 2000, 100)
        )
        for values in (labels, later)
    )
    np.testing.assert_array_equal(kept.classes[:1401], changed.classes[:1401])
    np.testing.assert_array_equal(kept.scores[:1401], changed.scores[:1401])


def test_a_model_in_training_cannot_answer() -> None:
    keys, labels = stream(3000, 1500)
    config = CONFIG.model_copy(update={"flops_per_second": 1.0})
    learner = table(keys, labels, 500, flops=400.0)
    answers = Prequential(truth(labels), config, splits=True).run(learner, blocks(500, 3000, 64))
    first = next(alarm for alarm in answers.alarms if alarm.action == "promoted")
    ready = first.row + 400
    assert set(answers.versions[500:ready]) == {0}
    assert answers.versions[ready] == 1


def test_rows_kept_for_the_proof_are_never_learned() -> None:
    keys, labels = stream(3000, 1500)
    learner = table(keys, labels, 500)
    engine = Prequential(truth(labels), CONFIG, splits=True)
    engine.run(learner, blocks(500, 3000, 50))
    held = engine._held_out(np.arange(3000))
    assert learner.adapted_on
    for rows in learner.adapted_on:
        assert not held[rows].any()
        assert (np.diff(rows) > 0).all()
    groups = np.arange(3000) // 2
    assert {bool(held[groups == group].all() or not held[groups == group].any()) for group in range(100)} == {True}


def test_labels_may_come_later() -> None:
    keys, labels = stream(1200, 600)
    asked = [np.arange(at, at + 10) for at in range(200, 1200, 10)]
    told = [np.array([], dtype=np.int64)] * 5 + asked[:-5]
    late = [Block(int(a[0]) * SECOND, a, t) for a, t in zip(asked, told, strict=True)]
    answers = Prequential(truth(labels), CONFIG).run(table(keys, labels, 200), late)
    assert (answers.classes[200:] >= 0).all()
    assert all(alarm.row >= 600 for alarm in answers.alarms)
    assert answers.alarms[0].time >= (answers.alarms[0].row + 40) * SECOND
    assert (answers.classes == labels)[-200:].mean() > 0.8


def test_the_mean_of_a_block_can_be_the_signal() -> None:
    keys, labels = stream(6000, 3000)
    config = CONFIG.model_copy(update={"signal": "block", "settings": {"minimum_evidence": 10}})
    answers = Prequential(truth(labels), config).run(table(keys, labels, 500), blocks(500, 6000, 10))
    assert answers.alarms
    assert 3000 <= answers.alarms[0].row < 4500


def test_a_class_the_model_does_not_know_is_the_greatest_loss() -> None:
    keys = np.zeros(50, dtype=np.int64)
    labels = np.full(50, 3)
    learner = Table(keys, labels, np.ones((3, 3)))
    stream_ = Truth(labels, (*CLASSES, "d"), np.arange(50))
    rows = np.arange(50)
    config = PrequentialConfig(trigger="never")
    answers = Prequential(stream_, config).run(learner, [Block(0, rows, rows)])
    assert (answers.losses == 1.0).all()
    assert LEAST < 1 / 3


def test_an_unknown_detector_is_one_message() -> None:
    keys, labels = stream(100, 50)
    with pytest.raises(BadInputError, match="no detector"):
        Prequential(truth(labels), PrequentialConfig(detector="nope")).run(table(keys, labels, 10), [])
