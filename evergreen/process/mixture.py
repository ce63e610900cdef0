"""Which of many predictions to trust, learned event by event: a weighted product of experts.

p(a) is proportional to the product over the experts e of p_e(a) to the power w_e, where the weight depends on how much
the expert has seen of its context and how sure that made it. The weights follow the gradient of the log-loss: logistic
mixing, as data compressors use it (Mahoney 2005, Adaptive weighing of context models for lossless data compression;
Mattern 2013), here with many classes and step lengths of AdaGrad (Duchi et al. 2011).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evergreen.process.contexts import Ints

Probabilities = NDArray[np.float64]
Logs = NDArray[np.float32]

STEP = 32
"""Events between two changes of the weights."""
RATE = 0.02
FIRST_SUM = 2.0
SMALLEST = 1e-6
BACK_OFF = 0.2
"""Observations that a context's prior weighs, times the number of activities seen in the context."""
CONFIDENCES, SPREADS = 9, 3
BUCKETS = CONFIDENCES * SPREADS
UNKNOWN = np.float32(-1e30)


@dataclass(frozen=True)
class Opinions:
    """What E experts say of n events.

    Attributes:
        logs: (n, E, C) log-probabilities.
        bucket: (n, E) how sure each expert may be.
        known: (n, C) activities that there were before.
    """

    logs: Logs
    bucket: Ints
    known: NDArray[np.bool_]

    def part(self, start: int, stop: int) -> "Opinions":
        """Events start to stop."""
        return Opinions(self.logs[start:stop], self.bucket[start:stop], self.known[start:stop])

    def joined(self, logs: Logs, bucket: Ints) -> "Opinions":
        """With one more expert: (n, C) and (n,)."""
        return Opinions(
            np.concatenate([self.logs, logs[:, None]], axis=1),
            np.concatenate([self.bucket, bucket[:, None]], axis=1),
            self.known,
        )


def from_counts(counts: NDArray[np.float32], known: NDArray[np.bool_]) -> Opinions:
    """Opinions of counts: each context's shares, smoothed towards the shares of all events.

    Args:
        counts: (n, F, C); of the first family all events are in one context.
        known: (n, C).
    """
    prior = counts[:, 0] + np.float32(0.1) * known
    prior /= np.maximum(prior.sum(1, keepdims=True), np.float32(1e-9))
    total = counts.sum(2)
    different = (counts > 0.01).sum(2)
    weight = np.float32(BACK_OFF) * np.maximum(different, 1).astype(np.float32)
    logs = counts + weight[..., None] * prior[:, None, :]
    logs /= (total + weight)[..., None]
    logs += np.float32(SMALLEST)
    np.log(logs, out=logs)
    confidence = np.where(total > 0, 1 + np.log2(total + 1).astype(np.int64), 0)
    bucket = np.minimum(confidence, CONFIDENCES - 1) * SPREADS + np.clip(different - 1, 0, SPREADS - 1)
    return Opinions(logs, bucket.astype(np.int64), known)


def from_probabilities(probabilities: NDArray[np.float32]) -> tuple[Logs, Ints]:
    """Opinion of a model that gives probabilities (n, C): (n, C) logs and (n,) buckets by its largest probability."""
    bucket = np.minimum((probabilities.max(1) * 10).astype(np.int64), 9)
    return np.log(probabilities + np.float32(10 * SMALLEST)), bucket


class Mixture:
    """Weights of E experts, which change every :data:`STEP` events, whatever blocks the events come in."""

    def __init__(self, experts: int) -> None:
        self.experts = experts
        self.weights = np.full((experts, BUCKETS), FIRST_SUM / experts)
        self._squares = np.ones((experts, BUCKETS))
        self._gradient = np.zeros((experts, BUCKETS))
        self._new_squares = np.zeros((experts, BUCKETS))
        self.events = 0

    def answer(self, opinions: Opinions) -> Probabilities:
        """(n, C) probabilities, with the weights as they are."""
        weights = self.weights[np.arange(self.experts), opinions.bucket].astype(np.float32)
        logits = np.matmul(weights[:, None, :], opinions.logs)[:, 0].astype(np.float64)
        logits[~opinions.known] = UNKNOWN
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        odds[~opinions.known] = 0.0
        return np.asarray(odds / np.maximum(odds.sum(1, keepdims=True), 1e-300))

    def follow(self, opinions: Opinions, labels: Ints) -> Probabilities:
        """(n, C) probabilities of events in their order, learning from each before the next step of the weights.

        Args:
            opinions: of n events.
            labels: (n,) what happened; an activity without a column teaches only what did not happen.
        """
        result = np.empty(opinions.known.shape)
        start = 0
        while start < len(labels):
            stop = min(len(labels), start + STEP - self.events % STEP)
            part = opinions.part(start, stop)
            result[start:stop] = self.answer(part)
            self._learn(part, labels[start:stop], result[start:stop])
            start = stop
        return result

    def _learn(self, opinions: Opinions, labels: Ints, answers: Probabilities) -> None:
        error = -answers
        known = np.flatnonzero(labels < answers.shape[1])
        error[known, labels[known]] += 1
        slope = np.matmul(opinions.logs, error.astype(np.float32)[:, :, None])[:, :, 0].astype(np.float64)
        place = (np.arange(self.experts) * BUCKETS + opinions.bucket).ravel()
        shape, size = self.weights.shape, self.weights.size
        self._gradient += np.bincount(place, slope.ravel(), size).reshape(shape)
        self._new_squares += np.bincount(place, np.square(slope).ravel(), size).reshape(shape)
        self.events += len(labels)
        if self.events % STEP == 0:
            self._squares += self._new_squares
            self.weights += RATE * self._gradient / np.sqrt(self._squares)
            self._gradient[:], self._new_squares[:] = 0.0, 0.0

    def copy(self) -> Self:
        """A mixture that may be changed without changing this one."""
        other = type(self)(self.experts)
        other.restore(self.arrays())
        return other

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All it knows, as arrays."""
        return {
            "weights": self.weights.copy(),
            "squares": self._squares.copy(),
            "gradient": self._gradient.copy(),
            "new_squares": self._new_squares.copy(),
            "events": np.array([self.events]),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Know what another mixture knew."""
        self.weights, self._squares = arrays["weights"].copy(), arrays["squares"].copy()
        self._gradient, self._new_squares = arrays["gradient"].copy(), arrays["new_squares"].copy()
        self.events = int(arrays["events"][0])
