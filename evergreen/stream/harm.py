"""Is a shift harmful? The accuracy that a model is expected to lose, without labels, and the decision that follows.

A shift is learnt from before it comes: reference examples, whose labels are known, are changed in many simulated ways
and mixed anew by class. Each such pseudo-window has *signals* that a live window has too (how sure the model is, which
classes it names, where its features lie), and a loss of accuracy that is known. A ridge regression goes from the
signals to the loss. The idea of learning the loss of accuracy from simulated shifts is that of Guillory et al. (2021,
Predicting with confidence on unseen distributions) and Deng & Zheng (2021, Are labels always necessary for classifier
accuracy evaluation?), who use a single signal. One is not enough: noise hardly changes how sure a model is, blur far
more than is right, and another mix of classes moves the answers without any harm.

Nothing here knows what an example is: a domain brings its own simulated shifts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.stream.confidence import check_probabilities
from evergreen.stream.harm_regression import Regression, error_scale
from evergreen.stream.harm_signals import Answers, Measures, Regime, Space

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]


class HarmConfig(Config):
    """How harm is learnt and judged; the defaults refer to no data.

    Attributes:
        threshold: expected fall of accuracy from which a window counts as harmed: between the 1 point that nobody
            minds and the 5 points that nobody wants.
        sure: expected fall that needs no second window to be believed.
        level: of the interval around the expected fall.
        directions: principal directions of the features that are looked at.
        window: rows of a pseudo-window: about those of the windows to come.
        min_rows: reference examples without which nothing can be learnt.
        min_labels: with fewer known labels the model's answers on unchanged examples stand in for them.
        rows: labelled examples that are changed; more cost time in proportion.
        strengths: how many strengths of each simulated shift.
        windows_per_shift: pseudo-windows of each shift and strength: of these half are changed throughout, a quarter
            in part, a quarter throughout and with another mix of classes.
        windows_unchanged: pseudo-windows without change; four times as many have another mix of classes only.
    """

    threshold: float = pydantic.Field(0.03, gt=0, lt=1)
    sure: float = pydantic.Field(0.06, gt=0, lt=1)
    level: float = pydantic.Field(0.9, gt=0, lt=1)
    directions: int = pydantic.Field(32, ge=1)
    window: int = pydantic.Field(500, ge=20)
    min_rows: int = pydantic.Field(20, ge=2)
    min_labels: int = pydantic.Field(100, ge=10)
    rows: int = pydantic.Field(500, ge=50)
    strengths: int = pydantic.Field(4, ge=1)
    windows_per_shift: int = pydantic.Field(8, ge=4)
    windows_unchanged: int = pydantic.Field(40, ge=1)

    @pydantic.model_validator(mode="after")
    def _order(self) -> Self:
        if self.sure < self.threshold:
            raise ValueError("sure must be at least threshold: what needs no second window must be harmful by itself")
        return self


@dataclass(frozen=True)
class Shifted:
    """The labelled examples after a simulated shift: the same rows in the same order.

    Attributes:
        name: of the shift.
        relatives: what it has in common with other shifts; those sharing a word are left out together when the
            regression's error on shifts of an unknown kind is measured.
        answers: of the model.
    """

    name: str
    relatives: frozenset[str]
    answers: Answers


@dataclass(frozen=True)
class HarmEstimate:
    """What a shift is expected to do.

    Attributes:
        expected_fall: of accuracy, a fraction of 1. A rise is not estimated: near 0, or a little below, is no fall.
        low: lower end of its interval.
        high: upper end.
        harmful: the expected fall reaches the threshold.
        moved: names of what moved most, the most moved first: ``direction_3`` is the third principal direction of
            the features, ``answer_cat`` the share of the answers "cat", ``confidence`` how sure the model is. Empty
            where nothing moved by three standard errors.
    """

    expected_fall: float
    low: float
    high: float
    harmful: bool
    moved: tuple[str, ...]


@dataclass(frozen=True)
class Harm:
    """Estimates the fall of accuracy of windows; what :func:`fit` returns.

    Attributes:
        config: how it was learnt and judges.
        classes: names.
        labelled: whether labels taught it, or the model's own answers on unchanged examples.
        accuracy: on the labelled reference examples.
        regime: what windows are compared with.
        regression: from signals to falls.
        errors: lower and upper quantile of the regression's scaled error on shifts whose relatives it had not seen.
    """

    config: HarmConfig
    classes: tuple[str, ...]
    labelled: bool
    accuracy: float
    regime: Regime
    regression: Regression
    errors: tuple[float, float]

    def estimate(self, answers: Answers) -> HarmEstimate:
        """What is expected of a window.

        Raises:
            BadInputError: fewer than two rows, or answers of another shape than the reference's.
        """
        _check(answers, len(self.classes), len(self.regime.space.centre))
        found = Measures.of(answers, self.regime.space)
        fall = float(self.regression.predict(self.regime.signals(found)[None, :])[0])
        fall = float(np.clip(fall, self.accuracy - 1, self.accuracy))  # accuracy stays within 0 and 1
        scale = float(error_scale(np.array([fall]))[0])
        low, high = fall + scale * self.errors[0], fall + scale * self.errors[1]
        return HarmEstimate(fall, low, high, fall >= self.config.threshold, self.regime.moved(found, self.classes))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_json` restores exactly."""
        return {
            "config": self.config.model_dump(mode="json"),
            "classes": list(self.classes),
            "labelled": self.labelled,
            "accuracy": self.accuracy,
            "regime": {name: _plain(value) for name, value in vars(self.regime).items() if name != "space"},
            "space": {name: _plain(value) for name, value in vars(self.regime.space).items()},
            "regression": {name: _plain(value) for name, value in vars(self.regression).items()},
            "errors": list(self.errors),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        space = Space(**{name: np.array(value) for name, value in values["space"].items()})
        regime: dict[str, Any] = {n: np.array(v) if isinstance(v, list) else v for n, v in values["regime"].items()}
        return cls(
            HarmConfig.read(values["config"], "harm: config"),
            tuple(values["classes"]),
            values["labelled"],
            values["accuracy"],
            Regime(space, **regime),
            Regression(**{name: np.array(value) for name, value in values["regression"].items()}),
            (values["errors"][0], values["errors"][1]),
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _check(answers: Answers, classes: int, width: int) -> None:
    check_probabilities(answers.probabilities)
    if answers.probabilities.shape[1] != classes or answers.features.shape != (len(answers), width):
        raise BadInputError(
            f"Found answers of shape {answers.probabilities.shape} and features of shape {answers.features.shape}, "
            f"expected (rows, {classes}) and (rows, {width}): those of the model that the reference was measured with."
        )
    if len(answers) < 2:
        raise BadInputError(f"Found a window of {len(answers)} rows, expected at least 2.")
    if not np.isfinite(answers.features).all():
        raise BadInputError("Found features that are no numbers; expected finite values.")


@dataclass(frozen=True)
class PseudoWindows:
    """Simulated windows: signals (n, signals), falls of accuracy (n,), and the shift that each came from."""

    signals: Matrix
    falls: Vector
    names: tuple[str, ...]


def fit(
    reference: Answers,
    unchanged: Answers,
    labels: Codes | None,
    shifts: Sequence[Shifted],
    classes: Sequence[str],
    config: HarmConfig,
    seed: int,
) -> Harm:
    """Learn what harm looks like.

    Args:
        reference: answers to examples of the current regime, at least 20.
        unchanged: answers to the examples that were changed, as they are; they may be among ``reference``.
        labels: (n,) the true classes of those, examples that the model never trained on. None: the model's answers on
            the unchanged examples stand in for them; what is then estimated is the share of answers that change, at
            least as large as the fall of accuracy, and another mix of classes counts as harmless.
        shifts: answers to the same examples after each simulated shift.
        classes: names.
        config: how to learn and judge.
        seed: of the pseudo-windows.

    Raises:
        BadInputError: there are no shifts, too few examples, or shapes do not fit.
    """
    _check(reference, len(classes), reference.features.shape[-1])
    for answers in (unchanged, *(shift.answers for shift in shifts)):
        _check(answers, len(classes), reference.features.shape[-1])
    if not shifts or len(reference) < config.min_rows or len(unchanged) < config.min_rows:
        raise BadInputError(
            f"Found {len(shifts)} simulated shifts, {len(reference)} reference examples and {len(unchanged)} to "
            f"change; expected at least one shift and {config.min_rows} examples."
        )
    truth = unchanged.probabilities.argmax(axis=1) if labels is None else np.asarray(labels)
    space = Space.fit(reference.features, config.directions)
    windows = simulate(space, unchanged, truth, shifts, config, np.random.default_rng(seed))
    return Harm(
        config,
        tuple(classes),
        labels is not None,
        float((unchanged.probabilities.argmax(axis=1) == truth).mean()),
        Regime.fit(space, reference, unchanged, truth, sampled=True),
        Regression.fit(windows.signals, windows.falls),
        _errors(windows, {shift.name: shift.relatives for shift in shifts}, config.level),
    )


def simulate(
    space: Space,
    unchanged: Answers,
    labels: Codes,
    shifts: Sequence[Shifted],
    config: HarmConfig,
    rng: np.random.Generator,
) -> PseudoWindows:
    """Draw pseudo-windows with replacement from the labelled examples and their changed copies.

    A window's fall of accuracy is that of the distribution it is drawn from, not of the draw: what the regression
    should learn is what a shift does, so the chance in a window's signals teaches it to distrust them.
    """
    classes = unchanged.probabilities.shape[1]
    regime = Regime.fit(space, unchanged, unchanged, labels, sampled=False)
    clean = Measures.of(unchanged, space)
    clean_right = (clean.answered == labels).astype(np.float64)
    accuracy = float(clean_right.mean())
    signals, falls, names = [], [], []

    def draw(name: str, found: Measures, share: float, concentration: float | None) -> None:
        weights = _class_weights(labels, classes, concentration, rng)
        right = (found.answered == labels).astype(np.float64)
        changed = int(rng.binomial(config.window, share))
        rows = rng.choice(len(labels), config.window, p=weights)
        window = _concatenate(found, rows[:changed], clean, rows[changed:])
        signals.append(regime.signals(window))
        falls.append(accuracy - float(weights @ (share * right + (1 - share) * clean_right)))
        names.append(name)

    for _ in range(config.windows_unchanged):
        draw("", clean, 1.0, None)
        for concentration in (30.0, 5.0, 1.5, 0.5):  # from nearly the usual mix to a few classes only
            draw("", clean, 1.0, concentration)
    for shift in shifts:
        found = Measures.of(shift.answers, space)
        for number in range(config.windows_per_shift):
            in_part, remixed = number % 4 == 2, number % 4 == 3
            share = float(rng.uniform(0.2, 1)) if in_part else 1.0
            draw(shift.name, found, share, float(rng.choice([20.0, 3.0])) if remixed else None)
    return PseudoWindows(np.array(signals), np.array(falls), tuple(names))


def _class_weights(labels: Codes, classes: int, concentration: float | None, rng: np.random.Generator) -> Vector:
    """Probabilities of drawing each example; with a concentration after a random mix of classes (Dirichlet)."""
    weights = np.ones(len(labels))
    if concentration is not None:
        counts = np.bincount(labels, minlength=classes)
        mix = rng.dirichlet(np.full(classes, concentration))
        weights = (mix / np.maximum(counts, 1))[labels]
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(labels), 1 / len(labels))


def _concatenate(left: Measures, left_rows: Codes, right: Measures, right_rows: Codes) -> Measures:
    pairs = zip(vars(left).values(), vars(right).values(), strict=True)
    return Measures(*(np.concatenate([a[left_rows], b[right_rows]]) for a, b in pairs))


def _errors(windows: PseudoWindows, relatives: Mapping[str, frozenset[str]], level: float) -> tuple[float, float]:
    """Quantiles of the scaled error on each shift, learnt without it and its relatives (a conformal interval)."""
    names = np.array(windows.names)
    scaled = []
    for name, words in relatives.items():
        related = [other for other, theirs in relatives.items() if other == name or theirs & words]
        seen, tested = ~np.isin(names, related), names == name
        found = Regression.fit(windows.signals[seen], windows.falls[seen]).predict(windows.signals[tested])
        scaled.append((np.maximum(windows.falls[tested], 0) - found) / error_scale(found))
    low, high = np.quantile(np.concatenate(scaled), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
