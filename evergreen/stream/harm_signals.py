"""What a window's answers look like beside those of the reference: the signals that expected harm is read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

SIGNALS = (
    "confidence",
    "confidence_in_class",
    "entropy",
    "entropy_in_class",
    "distance",
    "distance_in_class",
    "length",
    "length_in_class",
    "answers_shift",
    "features_shift",
    "features_shift_in_class",
    "spread",
    "dispersity",
    "answers_entropy",
    "mix_change",
    "mix_fall",
    "mix_left_features",
    "mix_left_answers",
)
"""What is measured of a window, each as a change from the reference; see :meth:`Regime.signals`."""

SMALLEST = 1e-12
ANSWERS_WEIGHT = 3.0  # of mean answers beside mean feature directions, when a window is explained by another class mix
FIT_WEIGHT = 1e3  # makes the shares of a class mix sum to 1 in a least-squares problem without that constraint
SOME_ROWS = 5  # a class of fewer examples has the mean of all


@dataclass(frozen=True)
class Answers:
    """A model's answers to the examples of a window: probabilities (n, classes) and last features (n, D)."""

    probabilities: NDArray[np.floating[Any]]
    features: NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return len(self.probabilities)

    def take(self, rows: Codes) -> "Answers":
        """The answers to some of the examples, in the order asked for."""
        return Answers(self.probabilities[rows], self.features[rows])


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several sets, one after the other."""
    return Answers(
        np.concatenate([part.probabilities for part in parts]), np.concatenate([part.features for part in parts])
    )


@dataclass(frozen=True)
class Space:
    """Principal directions of the reference's features, each scaled to unit variance: centre (D,), basis (D, d)."""

    centre: Vector
    basis: Matrix

    @classmethod
    def fit(cls, features: NDArray[np.floating[Any]], directions: int) -> Self:
        points = features.astype(np.float64)
        centre = points.mean(axis=0)
        _, spread, axes = np.linalg.svd(points - centre, full_matrices=False)
        kept = min(directions, int(np.count_nonzero(spread > 1e-6 * max(float(spread[0]), SMALLEST))))
        return cls(centre, axes[:kept].T * np.sqrt(len(points)) / spread[:kept])

    def project(self, features: NDArray[np.floating[Any]]) -> Matrix:
        """Features (n, D) → (n, d)."""
        return np.asarray((features - self.centre) @ self.basis)


@dataclass(frozen=True)
class Measures:
    """Numbers of single examples; rows as in the window.

    Attributes:
        answered: (n,) the class named.
        probabilities: (n, classes).
        directions: (n, d) projected features.
        features: (n, D) as they are.
        entropy: (n,) of the answer.
        length: (n,) logarithm of the features' length.
    """

    answered: NDArray[np.int64]
    probabilities: Matrix
    directions: Matrix
    features: Matrix
    entropy: Vector
    length: Vector

    @classmethod
    def of(cls, answers: Answers, space: Space) -> Self:
        p = answers.probabilities.astype(np.float64)
        features = answers.features.astype(np.float64)
        return cls(
            p.argmax(axis=1),
            p,
            space.project(features),
            features,
            -(p * np.log(p + SMALLEST)).sum(axis=1),
            np.log(np.linalg.norm(features, axis=1) + SMALLEST),
        )


@dataclass(frozen=True)
class Regime:
    """The reference in numbers: what a window's signals are measured against.

    Attributes:
        space: of the features.
        rows: how many examples it was measured on; 0 if windows are drawn from those examples themselves, whose mean
            then has no error.
        answers: (classes,) mean probabilities.
        answer_shares: (classes,) share of each class among the answers.
        answers_variance: sum of the variances of the probabilities.
        directions: (d,) mean projected features; directions_variance: sum of their variances.
        class_directions: (classes, d) the same among the examples answered so; class_variance: sum of the variances
            around those.
        single: (4,) means of confidence, entropy, distance and length, in this order.
        class_single: (classes, 4) the same among the examples answered so.
        confidence_deviation: standard deviation of the confidences.
        spread: logarithm of the features' total variance.
        dispersity: nuclear norm of the probabilities, as a share of what it can be.
        mix_means: (classes, classes + d) mean answers and directions of the examples that are of each class.
        mix_centre: (classes + d,) their mean over the labelled examples.
        mix_scale: (classes + d,) standard deviation within classes.
        priors: (classes,) share of each class.
        recalls: (classes,) share of each class's examples that are answered rightly.
    """

    space: Space
    rows: int
    answers: Vector
    answer_shares: Vector
    answers_variance: float
    directions: Vector
    directions_variance: float
    class_directions: Matrix
    class_variance: float
    single: Vector
    class_single: Matrix
    confidence_deviation: float
    spread: float
    dispersity: float
    mix_means: Matrix
    mix_centre: Vector
    mix_scale: Vector
    priors: Vector
    recalls: Vector

    @classmethod
    def fit(cls, space: Space, answers: Answers, labelled: Answers, labels: Codes, *, sampled: bool) -> Self:
        """Measure the reference.

        Args:
            space: of the features.
            answers: to all reference examples.
            labelled: answers to those with a label.
            labels: (m,) their classes.
            sampled: the examples are a sample of the reference, not the whole of it.
        """
        found, classes = Measures.of(answers, space), answers.probabilities.shape[1]
        class_directions = _class_means(found.directions, found.answered, classes)
        single = _single(found, class_directions)
        known = Measures.of(labelled, space)
        place = _place(known)
        mix_means = _class_means(place, labels, classes)
        within = (place - mix_means[labels]).std(axis=0)
        right = (known.answered == labels).astype(np.float64)
        return cls(
            space,
            len(answers) if sampled else 0,
            found.probabilities.mean(axis=0),
            np.bincount(found.answered, minlength=classes) / len(answers),
            float(found.probabilities.var(axis=0).sum()),
            found.directions.mean(axis=0),
            float(found.directions.var(axis=0).sum()),
            class_directions,
            float((found.directions - class_directions[found.answered]).var(axis=0).sum()),
            single.mean(axis=0),
            _class_means(single, found.answered, classes),
            float(single[:, 0].std()),
            _log_spread(found.features),
            _dispersity(found.probabilities),
            mix_means,
            place.mean(axis=0),
            np.where(within > 1e-6, within, 1.0),
            np.bincount(labels, minlength=classes) / len(labels),
            _class_means(right[:, None], labels, classes)[:, 0],
        )

    def signals(self, found: Measures) -> Vector:
        """What moved: (signals,) in the order of :data:`SIGNALS`.

        - ``confidence``, ``entropy`` of the answers, ``distance`` (log, squared) of the features from the centre of the
          class that was named, ``length`` (log) of the features: change of the mean; ``…_in_class``: change from what
          is usual among examples that get the same answers;
        - ``answers_shift``, ``features_shift``, ``features_shift_in_class``: distance of the means of probabilities and
          of directions, without what chance adds to it;
        - ``spread``: change of the log variance of the features; ``dispersity``: of the probabilities' nuclear norm
          (Deng et al. 2023, Confidence and dispersity speak), ``answers_entropy``: of the entropy of mean answers;
        - ``mix_…``: the mix of classes that explains the window best: how far it is from the usual one, what fall it
          would bring by itself (a mix of easier classes counts as 0: a corruption that makes everything look like an
          easy class must not be taken for good news), and what it leaves unexplained of features and answers.
        """
        n = len(found.answered)
        single = _single(found, self.class_directions)
        usual = self.class_single[found.answered]
        changes = single.mean(axis=0) - self.single
        in_class = (single - usual).mean(axis=0)
        residual = found.directions - self.class_directions[found.answered]
        mean_answers = found.probabilities.mean(axis=0)
        place = _place(found)
        moved = place.mean(axis=0) - np.concatenate([ANSWERS_WEIGHT * self.answers, self.directions])
        centre = self.mix_centre + moved
        mix = self._mix(centre)
        left = centre - mix @ self.mix_means
        noise = float((place.var(axis=0) / self.mix_scale**2).sum()) * (1 / n + (1 / self.rows if self.rows else 0))
        usual_mix = self._mix(self.mix_centre)
        return np.array(
            [
                *np.column_stack([changes, in_class]).reshape(-1),
                self._shift(found.probabilities, self.answers, self.answers_variance),
                self._shift(found.directions, self.directions, self.directions_variance),
                self._shift(residual, np.zeros(residual.shape[1]), self.class_variance),
                _log_spread(found.features) - self.spread,
                _dispersity(found.probabilities) - self.dispersity,
                _entropy(mean_answers) - _entropy(self.answers),
                0.5 * np.abs(mix - usual_mix).sum(),
                max(0.0, float((usual_mix - mix) @ self.recalls)),
                _signed_root(float(((left / self.mix_scale) ** 2).sum()) - noise),
                np.linalg.norm(left[: len(mean_answers)]) / ANSWERS_WEIGHT,
            ]
        )

    def moved(self, found: Measures, classes: Sequence[str], most: int = 5, errors: float = 3.0) -> tuple[str, ...]:
        """Names of what moved by more than ``errors`` standard errors, see :class:`HarmEstimate`."""
        n = len(found.answered)
        scale = 1 / n + (1 / self.rows if self.rows else 0)
        shares = np.bincount(found.answered, minlength=len(classes)) / n
        pooled = np.clip((shares + self.answer_shares) / 2, 1 / n, 1 - 1 / n)
        confidence = found.probabilities.max(axis=1).mean() - self.single[0]
        scores = {
            **{
                f"direction_{number + 1}": change / np.sqrt(scale)
                for number, change in enumerate(found.directions.mean(axis=0) - self.directions)
            },
            **{
                f"answer_{name}": change / np.sqrt(p * (1 - p) * scale)
                for name, change, p in zip(classes, shares - self.answer_shares, pooled, strict=True)
            },
            "confidence": confidence / (max(self.confidence_deviation, SMALLEST) * np.sqrt(scale)),
        }
        ranked = sorted(scores, key=lambda name: -abs(scores[name]))
        return tuple(name for name in ranked[:most] if abs(scores[name]) > errors)

    def _mix(self, centre: Vector) -> Vector:
        """The shares of classes (≥ 0, sum 1) whose mixture of reference classes is nearest to a window's mean."""
        classes = len(self.priors)
        system = np.vstack([(self.mix_means / self.mix_scale).T, np.full((1, classes), FIT_WEIGHT)])
        shares, _ = nnls(system, np.append(centre / self.mix_scale, FIT_WEIGHT))
        return np.asarray(shares / max(shares.sum(), SMALLEST))

    def _shift(self, points: Matrix, reference: Vector, variance: float) -> float:
        """Distance of the window's mean from the reference's, without the part that sampling is expected to add."""
        chance = points.var(axis=0).sum() / len(points) + (variance / self.rows if self.rows else 0)
        return _signed_root(float(((points.mean(axis=0) - reference) ** 2).sum() - chance))


def _single(found: Measures, class_directions: Matrix) -> Matrix:
    """(n, 4): confidence, entropy, distance and length of each example."""
    apart = ((found.directions - class_directions[found.answered]) ** 2).sum(axis=1)
    return np.column_stack([found.probabilities.max(axis=1), found.entropy, np.log(apart + SMALLEST), found.length])


def _place(found: Measures) -> Matrix:
    return np.hstack([ANSWERS_WEIGHT * found.probabilities, found.directions])


def _class_means(values: Matrix, codes: Codes, classes: int) -> Matrix:
    """(n, k) → (classes, k): means by class; that of all where a class has too few rows."""
    whole = values.mean(axis=0)
    return np.stack(
        [values[codes == code].mean(axis=0) if np.sum(codes == code) >= SOME_ROWS else whole for code in range(classes)]
    )


def _log_spread(features: Matrix) -> float:
    return float(np.log(features.var(axis=0).sum() + SMALLEST))


def _dispersity(probabilities: Matrix) -> float:
    """Sum of the singular values, as a share of its largest possible value; from a matrix of classes × classes."""
    rows, classes = probabilities.shape
    squares = np.linalg.eigvalsh(probabilities.T @ probabilities)
    return float(np.sqrt(np.maximum(squares, 0)).sum() / np.sqrt(rows * min(rows, classes)))


def _entropy(shares: Vector) -> float:
    return float(-(shares * np.log(shares + SMALLEST)).sum())


def _signed_root(value: float) -> float:
    return float(np.sign(value) * np.sqrt(abs(value)))
