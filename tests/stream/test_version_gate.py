"""The gate of new versions: macro-F decides, drawn against a plain bootstrap."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from evergreen.errors import BadInputError
from evergreen.stream.version_gate import (
    Contender,
    VersionPolicy,
    judge_version,
    macro_f1,
    macro_f1_gains,
    read_version_policy,
)
from tasks.settings import CHECKOUT

CLASSES = 4


def answers(labels: np.ndarray, right: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < right, labels, rng.integers(0, CLASSES, len(labels)))


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).choice(CLASSES, 600, p=[0.7, 0.2, 0.07, 0.03])


def test_macro_f1_is_sklearns(labels: np.ndarray) -> None:
    said = answers(labels, 0.6, 1)
    assert macro_f1(labels, said, CLASSES) == pytest.approx(f1_score(labels, said, average="macro"))
    few = np.zeros(5, dtype=int)
    assert macro_f1(few, few, CLASSES) == 1.0


def test_gains_are_distributed_as_those_of_a_plain_bootstrap(labels: np.ndarray) -> None:
    first, second = answers(labels, 0.7, 1), answers(labels, 0.6, 2)
    found = macro_f1_gains(labels, first, second, CLASSES, 4000, seed=0)
    rng, plain = np.random.default_rng(3), []
    for _ in range(1000):
        rows = rng.integers(0, len(labels), len(labels))
        plain.append(macro_f1(labels[rows], first[rows], CLASSES) - macro_f1(labels[rows], second[rows], CLASSES))
    assert np.quantile(found, [0.05, 0.5, 0.95]) == pytest.approx(np.quantile(plain, [0.05, 0.5, 0.95]), abs=0.015)


def judged(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray | None, **policy: float) -> dict:
    names = np.array([f"class {code}" for code in range(CLASSES)])
    rival = None if champion is None else Contender("old", names[champion])
    return judge_version(names[labels], Contender("new", names[challenger]), rival, VersionPolicy(**policy), 0)


def test_a_better_version_takes_over_and_a_worse_one_does_not(labels: np.ndarray) -> None:
    better, worse = answers(labels, 0.9, 1), answers(labels, 0.5, 2)
    assert judged(labels, better, worse)["decision"]["promote"]
    kept = judged(labels, worse, better)["decision"]
    assert not kept["promote"]
    assert "interval is" in kept["reason"]


def test_rare_classes_count_where_accuracy_would_not_see_them() -> None:
    labels = np.array([0] * 950 + [1] * 50)
    constant = np.zeros(1000, dtype=int)
    finds = np.where(np.arange(1000) >= 870, 1, 0)  # 80 wrong alarms for 50 right ones: less accurate
    assert (finds == labels).mean() < (constant == labels).mean()
    assert judged(labels, finds, constant)["decision"]["promote"]
    assert judged(labels, finds, None)["decision"]["promote"]


def test_a_first_champion_beats_the_best_constant_answer(labels: np.ndarray) -> None:
    assert judged(labels, answers(labels, 0.8, 1), None)["decision"]["promote"]
    chance = np.random.default_rng(5).permutation(labels)
    refused = judged(labels, np.where(labels == 0, 1, 0), None)["decision"]
    assert not refused["promote"]
    assert "a constant answer reaches" in refused["reason"]
    assert judged(labels, chance, None)["challenger"]["macro_f1"] is not None


def test_few_labels_and_equal_weights_prove_nothing(labels: np.ndarray) -> None:
    better, worse = answers(labels, 0.95, 1), answers(labels, 0.3, 2)
    few = judged(labels[:100], better[:100], worse[:100])["decision"]
    assert not few["promote"]
    assert "enough_rows is 100" in few["reason"]
    none = judged(labels[:0], better[:0], worse[:0])
    assert (none["n_gate"], none["decision"]["promote"]) == (0, False)
    same = judge_version(
        labels.astype(str), Contender("a", labels.astype(str)), Contender("a", labels.astype(str)), VersionPolicy(), 0
    )
    assert "same weights" in same["decision"]["reason"]


@pytest.mark.parametrize("domain", ["retail", "process"])
def test_the_committed_policy_fits(domain: str) -> None:
    assert read_version_policy(CHECKOUT / "mlflow" / "promotion.yaml", domain).min_rows == 200
    with pytest.raises(BadInputError, match="no section"):
        read_version_policy(CHECKOUT / "mlflow" / "promotion.yaml", "weather")
