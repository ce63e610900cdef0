"""How good are a model's answers, by its own word? Performance and drift from predicted probabilities, without labels.

Two views of a window's answers. *Confidence*: the probability that a calibrated model gives to its answer is the
probability that the answer is right, so its mean is the expected accuracy (the confidence-based performance estimate of
NannyML; the difference of confidences of Guillory et al. 2021, Predicting with confidence on unseen distributions).
*Prediction drift*: the classes that the model names come in other shares. The first holds where a shift moves examples
to where the model knows that it is unsure (another mix of classes, say); under corruptions models grow wrong faster
than they grow unsure, which `harm` corrects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import chi2_contingency, norm, ttest_ind_from_stats

from evergreen.errors import BadInputError
from evergreen.stream.two_sample import Comparison

Probabilities = NDArray[np.floating[Any]]
Codes = NDArray[np.integer[Any]]

SMALLEST = 1e-12  # probabilities are kept this far from 0, so that their logarithms stay finite
TEMPERATURES = (0.05, 20.0)
EXPECTED_COUNT = 5.0  # the chi-square approximation needs about this many in every cell (Cochran 1954)


@dataclass(frozen=True)
class Performance:
    """What a window's confidences say.

    Attributes:
        accuracy: expected share of right answers.
        fall: how much lower that is than on the reference; negative if it rose.
        low: lower end of the interval of ``fall``.
        high: upper end.
        p_value: of the hypothesis that confidence has not fallen (Welch's t-test, one-sided).
    """

    accuracy: float
    fall: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Confidence:
    """A model's confidences on reference data, to compare windows with.

    Attributes:
        temperature: softens (> 1) or sharpens the probabilities so that they are calibrated on the reference.
        mean: of the calibrated confidences of the reference.
        deviation: their standard deviation.
        rows: how many there were.
    """

    temperature: float
    mean: float
    deviation: float
    rows: int

    @classmethod
    def fit(cls, probabilities: Probabilities, labels: Codes | None) -> Self:
        """Learn from answers to reference examples that the model never trained on.

        Args:
            probabilities: (n, classes).
            labels: (n,) true classes, −1 where unknown. Without any the model is taken at its word.

        Raises:
            BadInputError: shapes do not fit, or values are no probabilities; or fewer than two rows.
        """
        check_probabilities(probabilities)
        temperature = 1.0
        if labels is not None:
            if len(labels) != len(probabilities):
                raise BadInputError(
                    f"Found {len(labels)} labels for {len(probabilities)} answers, expected one for each."
                )
            known = np.asarray(labels) >= 0
            if known.any():
                temperature = fit_temperature(probabilities[known], np.asarray(labels)[known])
        if len(probabilities) < 2:
            raise BadInputError(f"Found {len(probabilities)} answers, expected at least 2 as a reference.")
        confidences = calibrate(probabilities, temperature).max(axis=1)
        return cls(temperature, float(confidences.mean()), float(confidences.std(ddof=1)), len(confidences))

    def estimate(self, probabilities: Probabilities, level: float = 0.95) -> Performance:
        """Expected accuracy of a window's answers, (n, classes) probabilities, n at least 2.

        Raises:
            BadInputError: fewer than two rows, or values are no probabilities.
        """
        check_probabilities(probabilities)
        if len(probabilities) < 2:
            raise BadInputError(f"Found {len(probabilities)} answers in the window, expected at least 2.")
        confidences = calibrate(probabilities, self.temperature).max(axis=1)
        mean, deviation = float(confidences.mean()), float(confidences.std(ddof=1))
        error = float(np.sqrt(deviation**2 / len(confidences) + self.deviation**2 / self.rows))
        fall, reach = self.mean - mean, float(norm.ppf((1 + level) / 2)) * error
        if error < SMALLEST:  # rounding, where all confidences are equal
            p_value = float(fall <= SMALLEST)
        else:
            p_value = ttest_ind_from_stats(
                *(mean, deviation, len(confidences)),
                *(self.mean, self.deviation, self.rows),
                equal_var=False,
                alternative="less",
            ).pvalue
        return Performance(mean, fall, fall - reach, fall + reach, float(p_value))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_json` restores exactly."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


def calibrate(probabilities: Probabilities, temperature: float) -> NDArray[np.float64]:
    """Soften or sharpen probabilities (n, classes) as if their logits were divided by ``temperature``."""
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(probabilities: Probabilities, labels: Codes) -> float:
    """The temperature with the highest likelihood of the labels (Guo et al. 2017, On calibration of neural networks).

    Args:
        probabilities: (n, classes), n at least 1.
        labels: (n,) true classes.

    Returns:
        A number from 0.05 to 20; the ends are reached where the answers are all right or mere chance.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        chosen = calibrate(probabilities, float(np.exp(log_temperature)))[rows, labels]
        return float(-np.log(np.maximum(chosen, SMALLEST)).mean())

    low, high = (float(np.log(end)) for end in TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def prediction_drift(reference: Codes, window: Codes, classes: int) -> Comparison:
    """Does the model name the classes in other shares than before? Chi-square test of two samples of answers.

    Classes that are too rare for the approximation are counted as one.

    Args:
        reference: (n,) answered classes, codes from 0.
        window: (m,) answered classes.
        classes: how many there are.

    Returns:
        The statistic and its p-value; 0 and 1 where all answers are the same class.

    Raises:
        BadInputError: a set is empty, or holds a code that is no class.
    """
    for name, codes in (("reference", reference), ("window", window)):
        if not len(codes) or np.min(codes) < 0 or np.max(codes) >= classes:
            raise BadInputError(f"The answers of the {name} must be at least one, all of them codes below {classes}.")
    counts = np.stack([np.bincount(codes, minlength=classes) for codes in (reference, window)])  # (2, classes)
    smaller = min(len(reference), len(window)) / (len(reference) + len(window))
    rare = counts.sum(axis=0) * smaller < EXPECTED_COUNT
    table = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return Comparison(0.0, 1.0)
    result = chi2_contingency(table, correction=False)
    return Comparison(float(result.statistic), float(result.pvalue))


def check_probabilities(probabilities: Probabilities) -> None:
    """Refuse what is no table of class probabilities.

    Raises:
        BadInputError: not (n, at least 2), a value that is missing, negative or above 1, or a row that does not
            sum to 1.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise BadInputError(
            f"Found answers of shape {probabilities.shape}, expected (rows, classes) with 2 classes or more."
        )
    # not (within) instead of outside: a NaN is neither
    if not np.all((probabilities >= 0) & (probabilities <= 1 + 1e-4)):
        raise BadInputError("Found an answer outside 0 to 1, or none at all; expected class probabilities.")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if len(sums) and np.abs(sums - 1).max() > 1e-2:
        worst = float(sums[np.abs(sums - 1).argmax()])
        raise BadInputError(f"The probabilities of an answer sum to {worst:.3g}, expected 1.")
