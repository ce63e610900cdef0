"""The mixture and the decision, each against loops over events, experts and classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from evergreen.process import decision, mixture
from evergreen.process.decision import MacroF
from evergreen.process.mixture import Mixture, Opinions, from_counts

N, EXPERTS, CLASSES = 100, 3, 4


def opinions(seed: int) -> tuple[Opinions, NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    counts = random.poisson(1.0, (N, EXPERTS, CLASSES)).astype(np.float32)
    return from_counts(counts, np.ones((N, CLASSES), np.bool_)), random.integers(0, CLASSES, N)


def loops(found: Opinions, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights by hand: a gradient of each event, summed over 32, scaled by the root of the sum of squares."""
    weights = np.full((EXPERTS, mixture.BUCKETS), mixture.FIRST_SUM / EXPERTS)
    squares, gradient, new = np.ones_like(weights), np.zeros_like(weights), np.zeros_like(weights)
    result = []
    for event in range(N):
        odds = [
            np.exp(sum(weights[e, found.bucket[event, e]] * found.logs[event, e, c] for e in range(EXPERTS)))
            for c in range(CLASSES)
        ]
        share = np.array(odds) / sum(odds)
        result.append(share)
        for e in range(EXPERTS):
            slope = found.logs[event, e, labels[event]] - sum(
                share[c] * found.logs[event, e, c] for c in range(CLASSES)
            )
            gradient[e, found.bucket[event, e]] += slope
            new[e, found.bucket[event, e]] += slope**2
        if (event + 1) % mixture.STEP == 0:
            squares += new
            weights += mixture.RATE * gradient / np.sqrt(squares)
            gradient[:], new[:] = 0, 0
    return np.array(result)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_the_mixture_is_that_of_loops_in_blocks_of_any_size(seed: int, sizes: list[int]) -> None:
    found, labels = opinions(seed)
    model, parts, start = Mixture(EXPERTS), [], 0
    while start < N:
        stop = min(N, start + sizes[len(parts) % len(sizes)])
        parts.append(model.follow(found.part(start, stop), labels[start:stop]))
        start = stop
    np.testing.assert_allclose(np.concatenate(parts), loops(found, labels), atol=1e-5)


def test_an_expert_that_is_right_gains_weight_and_unknown_activities_get_nothing() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 2_000)
    counts = random.poisson(1.0, (2_000, 2, CLASSES)).astype(np.float32)
    counts[:, :, 3] = 0
    counts[np.arange(2_000), 1, labels] += 5
    known = np.ones((2_000, CLASSES), np.bool_)
    known[:, 3] = False
    model = Mixture(2)
    answers = model.follow(from_counts(counts, known), labels)
    assert answers[:, 3].max() == 0
    np.testing.assert_allclose(answers.sum(1), 1)
    late, early = answers[1_500:], answers[:500]
    gain = np.log(late[np.arange(500), labels[1_500:]]).mean() - np.log(early[np.arange(500), labels[:500]]).mean()
    assert gain > 0
    assert model.weights[1].max() > model.weights[0].max()


def greedy(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[int]:
    """The decision by hand, with F written out."""
    size = probabilities.shape[1]
    right, occurred, answered, seen = (np.zeros(size) for _ in range(4))
    new: list[tuple[int, int, NDArray[np.float64]]] = []
    result = []
    for event, (share, label) in enumerate(zip(probabilities, labels, strict=True)):
        gains = []
        for c in range(size):
            total = occurred[c] + answered[c] + decision.PRIOR
            reached = (2 * right[c] + decision.PRIOR * decision.PRIOR_F) / total
            allowed = share[c] > 0 and (seen[c] > 0 or share[c] >= decision.SURE)
            gains.append((2 * share[c] - reached) / total if allowed else -np.inf)
        best = int(np.argmax(gains)) if max(gains) > -np.inf else int(share.argmax())
        result.append(best)
        new.append((best, int(label), share))
        if (event + 1) % mixture.STEP == 0:
            for answer, truth, given_share in new:
                right[answer] += (1 - decision.SOFT) * (answer == truth) + decision.SOFT * given_share[answer]
                occurred[truth] += 1 - decision.SOFT
                occurred += decision.SOFT * given_share
                answered[answer] += 1
                seen[truth] += 1
            new = []
    return result


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_the_decision_is_that_of_loops_in_blocks_of_any_size(seed: int, sizes: list[int]) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.5] * CLASSES, N)
    labels = random.integers(0, CLASSES, N)
    model, answers, start = MacroF(), [], 0
    while start < N:
        stop = min(N, start + sizes[len(answers) % len(sizes)])
        part = slice(start, stop)
        answers.append(model.follow(probabilities[part], labels[part], np.ones(stop - start, np.bool_)))
        start = stop
    assert np.concatenate(answers).tolist() == greedy(probabilities, labels)


@pytest.mark.parametrize("seed", range(3))
def test_with_honest_probabilities_it_beats_the_likeliest_answer_in_macro_f(seed: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.dirichlet([6.0, 2.0, 0.6, 0.3], 20_000)
    labels = (shares.cumsum(1) < random.random((20_000, 1))).sum(1)
    answers = MacroF().follow(shares, labels, np.ones(20_000, np.bool_))
    likeliest = f1_score(labels, shares.argmax(1), average="macro")
    assert f1_score(labels, answers, average="macro") > likeliest + 0.02


def test_events_that_do_not_count_teach_the_decision_nothing() -> None:
    model = MacroF()
    model.follow(np.full((64, 2), 0.5), np.zeros(64, np.int64), np.zeros(64, np.bool_))
    assert model.arrays()["sums"].sum() == 0
