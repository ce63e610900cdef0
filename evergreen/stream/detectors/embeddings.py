"""Detectors that compare the embeddings of a window, all columns together, with those of a reference.

Each has a statistic that is larger the further two samples are apart, and a threshold from clean data: pairs of a
pseudo-reference and a pseudo-window are drawn with replacement from the reference (a bootstrap under the hypothesis
that both come from it), as large as the real ones, and the real statistic is compared with theirs. The share that
reaches it is the p-value; an alarm at ``alpha`` is a false one with about that probability, whatever the embeddings
look like. It takes rows that are alike from window to window: windows that differ among themselves (days and nights)
must all be in the reference, and even then spread more than single rows drawn from them.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.stream.detectors.arrays_json import from_json, to_json
from evergreen.stream.detectors.windows import FeatureTest, WindowConfig, WindowDetector

Vectors = NDArray[np.float64]
Draw = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of the reference that make a pseudo-reference (N,) and a pseudo-window (n,)."""


class EmbeddingConfig(WindowConfig):
    """How embeddings are compared.

    Attributes:
        resamples: of the bootstrap; the smallest possible p-value is 1 / (resamples + 1).
        samples: rows of the reference, and of a window, that are looked at; drawn at random from larger ones.
        components: principal components that the embeddings are reduced to if they have more columns. The axes come
            from half of the reference, which is then left out, so that reference and window are equally strange to it.
    """

    resamples: int = pydantic.Field(999, ge=19)
    samples: int = pydantic.Field(1000, ge=4)
    components: int = pydantic.Field(16, ge=1)

    @pydantic.model_validator(mode="after")
    def _resolution(self) -> Self:
        needed = int(np.ceil(1 / self.alpha)) - 1
        if self.resamples < needed:
            raise ValueError(f"resamples must be at least {needed}, or no p-value can be as small as alpha")
        return self


class EmbeddingDetector(WindowDetector[Vectors]):
    """Compares windows (n, d) by a statistic that subclasses give."""

    settings = EmbeddingConfig
    config: EmbeddingConfig

    def __init__(self, config: EmbeddingConfig | None = None) -> None:
        super().__init__(config)
        self._given: Vectors = np.empty((0, 0))
        self._sample: Vectors = np.empty((0, 0))
        self._centre: Vectors = np.empty(0)
        self._basis: Vectors = np.empty((0, 0))
        self._null: dict[int, Vectors] = {}

    @abstractmethod
    def _prepare(self) -> None:
        """Look at ``self._sample``, (N, c), once."""

    @abstractmethod
    def _distance(self, window: Vectors) -> float:
        """The statistic of the reference and a window (n, c)."""

    @abstractmethod
    def _distances(self, draws: Iterable[Draw]) -> Vectors:
        """The same of each pair of draws from the reference."""

    def threshold(self, rows: int) -> float:
        """What the statistic of a clean window of so many rows exceeds with probability alpha."""
        return float(np.quantile(self._clean(min(rows, self.config.samples)), 1 - self.config.alpha, method="higher"))

    def _tests(self, window: Vectors) -> list[FeatureTest]:
        chosen = self._thinned(window, [self.config.seed, len(window)])
        statistic = self._distance((chosen - self._centre) @ self._basis)
        clean = self._clean(len(chosen))
        # a draw that is the window itself may differ from it in the last digits
        reached = int(np.count_nonzero(clean >= statistic - 1e-9 * abs(statistic)))
        p_value = (1 + reached) / (1 + len(clean))
        return [FeatureTest(self.name, statistic, p_value, p_value, "changed")]

    def _clean(self, rows: int) -> Vectors:
        """(resamples,) statistics of clean windows of so many rows: a function of reference, settings and size."""
        if rows not in self._null:
            self._null[rows] = self._distances(self._draws(rows))
        return self._null[rows]

    def _draws(self, rows: int) -> Iterator[Draw]:
        rng = np.random.default_rng([self.config.seed, rows])
        size = len(self._sample)
        for _ in range(self.config.resamples):
            yield rng.integers(size, size=size), rng.integers(size, size=rows)

    def _thinned(self, rows: Vectors, seed: list[int]) -> Vectors:
        if len(rows) <= self.config.samples:
            return rows
        chosen = np.random.default_rng(seed).choice(len(rows), size=self.config.samples, replace=False)
        return rows[np.sort(chosen)]

    def _fit(self, reference: Vectors) -> None:
        width = reference.shape[1]
        most = self.config.samples if width <= self.config.components else 2 * self.config.samples
        self._given = reference
        if len(reference) > most:  # what is not looked at need not be kept
            chosen = np.random.default_rng(self.config.seed).choice(len(reference), size=most, replace=False)
            self._given = reference[np.sort(chosen)]
        order = np.random.default_rng(self.config.seed).permutation(len(self._given))
        if width <= self.config.components:
            kept = self._given
            self._centre, self._basis = np.zeros(width), np.eye(width)
        else:
            fitted, kept = self._given[order[: len(order) // 2]], self._given[order[len(order) // 2 :]]
            self._centre = fitted.mean(axis=0)
            _, _, axes = np.linalg.svd(fitted - self._centre, full_matrices=False)  # axes: (≤ d, d)
            self._basis = axes[: self.config.components].T
        self._sample = (kept - self._centre) @ self._basis
        spread = self._sample.std(axis=0)
        self._basis = self._basis / np.where(spread > 0, spread, 1)  # one scale for all columns
        self._sample = (kept - self._centre) @ self._basis
        self._null = {}
        self._prepare()

    def _reference(self) -> Vectors:
        return self._given

    def _read(self, window: Any) -> Vectors:
        array = np.asarray(window)
        if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiub":
            raise BadInputError(
                f"Detector {self.name} was given {array.dtype} of shape {array.shape}, expected rows of numbers (n, d)."
            )
        vectors = array.astype(np.float64)
        if not np.isfinite(vectors).all():
            bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
            raise BadInputError(f"{bad} rows given to detector {self.name} hold NaN or infinity: leave them out.")
        known = self._given if self._fitted else (self._waiting[0] if self._waiting else vectors)
        if vectors.shape[1] != known.shape[1]:
            raise BadInputError(
                f"The window has {vectors.shape[1]} columns, expected {known.shape[1]} as the reference."
            )
        return vectors

    def _rows(self, window: Vectors) -> int:
        return len(window)

    def _pool(self, windows: Sequence[Vectors]) -> Vectors:
        return np.concatenate(list(windows))

    def _window_json(self, window: Vectors) -> Any:
        return to_json(window)

    def _window_from_json(self, value: Any) -> Vectors:
        return np.asarray(from_json(value), dtype=np.float64)


class FrechetDetector(EmbeddingDetector):
    """Fréchet distance of two normal distributions with the samples' means and covariances (Dowson & Landau 1982)."""

    name = "frechet"

    def _prepare(self) -> None:
        self._moments = _moments(self._sample)

    def _distance(self, window: Vectors) -> float:
        return frechet_distance(*self._moments, *_moments(window))

    def _distances(self, draws: Iterable[Draw]) -> Vectors:
        pairs = ((_moments(self._sample[reference]), _moments(self._sample[window])) for reference, window in draws)
        return np.array([frechet_distance(*left, *right) for left, right in pairs])


class MmdDetector(EmbeddingDetector):
    """Maximum mean discrepancy: unbiased MMD² (Gretton et al. 2012, lemma 6), Gaussian kernel of median width.

    Kernel width and scale come from the reference alone, so that they are the same for every window.
    """

    name = "mmd"

    def _prepare(self) -> None:
        square = _square_distances(self._sample, self._sample)
        pairs = square[np.triu_indices(len(square), k=1)]
        self._width = float(np.median(pairs) or pairs.mean() or 1.0)
        self._kernel = np.exp(square / (-2 * self._width))
        self._within = _within(self._kernel, np.ones((1, len(square))))

    def _distance(self, window: Vectors) -> float:
        between = np.exp(_square_distances(self._sample, window) / (-2 * self._width)).mean()
        own = np.exp(_square_distances(window, window) / (-2 * self._width))
        return float((self._within + _within(own, np.ones((1, len(own)))) - 2 * between)[0])

    def _distances(self, draws: Iterable[Draw]) -> Vectors:
        size = len(self._sample)
        counts = [[np.bincount(rows, minlength=size) for rows in draw] for draw in draws]
        left, right = (np.array(side, dtype=np.float64) for side in zip(*counts, strict=True))  # (resamples, N)
        between = ((left @ self._kernel) * right).sum(axis=1) / (left[0].sum() * right[0].sum())
        return np.asarray(_within(self._kernel, left) + _within(self._kernel, right) - 2 * between)


class ClassifierDetector(EmbeddingDetector):
    """Classifier two-sample test (Lopez-Paz & Oquab 2017): can a classifier tell window and reference apart?

    The classifier is ridge regression on the columns and their squares, trained on half of the rows and judged on the
    other half, both ways. The statistic is the area under the ROC curve, which needs no equal sizes, instead of the
    paper's accuracy. A row that a draw holds twice is in the same half both times: a classifier could know it again.
    """

    name = "classifier"

    def _prepare(self) -> None:
        rng = np.random.default_rng(self.config.seed)
        self._half = rng.permutation(len(self._sample)) % 2

    def _distance(self, window: Vectors) -> float:
        half = np.random.default_rng([self.config.seed, 1]).permutation(len(window)) % 2
        return separability(self._sample, window, self._half, half)

    def _distances(self, draws: Iterable[Draw]) -> Vectors:
        sample, half = self._sample, self._half
        return np.array([separability(sample[r], sample[w], half[r], half[w]) for r, w in draws])


def frechet_distance(mean: Vectors, covariance: Vectors, other_mean: Vectors, other_covariance: Vectors) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), for means (d,) and covariances (d, d).

    >>> import numpy as np
    >>> round(frechet_distance(np.zeros(1), np.eye(1), np.array([3.0]), 4 * np.eye(1)), 6)
    10.0
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root @ other_covariance @ root)  # the eigenvalues of Σ₁Σ₂
    shift = float(((mean - other_mean) ** 2).sum())
    spread = float(np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.maximum(crossed, 0)).sum())
    return shift + spread


def separability(left: Vectors, right: Vectors, left_half: NDArray[Any], right_half: NDArray[Any]) -> float:
    """Mean area under the ROC curve of two classifiers, each trained on one half of both samples: 0.5 is chance."""
    areas = []
    for half in (0, 1):
        train = left[left_half != half], right[right_half != half]
        judge = left[left_half == half], right[right_half == half]
        if min(map(len, (*train, *judge))) == 0:
            continue
        weights = _discriminant(*train)
        areas.append(_area(*(_with_squares(part) @ weights for part in judge)))
    return float(np.mean(areas)) if areas else 0.5


def _moments(points: Vectors) -> tuple[Vectors, Vectors]:
    return points.mean(axis=0), np.atleast_2d(np.cov(points, rowvar=False))


def _square_distances(left: Vectors, right: Vectors) -> Vectors:
    """(n, d), (m, d) → (n, m)."""
    norms = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :]
    return np.asarray(np.maximum(norms - 2 * left @ right.T, 0))


def _within(kernel: Vectors, counts: Vectors) -> Vectors:
    """Mean kernel of two different draws, (N, N) and (B, N) → (B,); ``counts``: how often each point was drawn."""
    size = counts[0].sum()
    return np.asarray((((counts @ kernel) * counts).sum(axis=1) - size) / (size * (size - 1)))


def _with_squares(points: Vectors) -> Vectors:
    return np.hstack([points, points**2])


def _discriminant(left: Vectors, right: Vectors) -> Vectors:
    """Ridge regression of −1 and 1 with both samples weighing the same; (2d,) weights, the constant left out."""
    centre = (_with_squares(left).mean(axis=0) + _with_squares(right).mean(axis=0)) / 2
    parts = [_with_squares(left) - centre, _with_squares(right) - centre]
    gram = sum(part.T @ part / len(part) for part in parts)
    pull = parts[1].mean(axis=0) - parts[0].mean(axis=0)
    ridge = 2 * len(centre) / (len(left) + len(right)) * np.trace(gram) / len(centre) + 1e-9
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(len(centre)), pull))


def _area(left: Vectors, right: Vectors) -> float:
    """Probability that a score of the right sample exceeds one of the left, ties counted half."""
    ordered = np.sort(left)
    below = np.searchsorted(ordered, right, side="left") + np.searchsorted(ordered, right, side="right")
    return float(below.mean() / (2 * len(left)))
