"""From the signals of a window to the fall of accuracy."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# Chosen by the error on simulated shifts whose relatives were left out; a factor of 10 either way changes little.
PENALTY = 400.0
ERROR_AT_ZERO, ERROR_IN_PROPORTION = 0.02, 0.1


def error_scale(falls: Vector) -> Vector:
    """How large an error is to be expected at a fall of this size, up to a factor."""
    return np.asarray(ERROR_AT_ZERO + ERROR_IN_PROPORTION * np.maximum(falls, 0))


@dataclass(frozen=True)
class Regression:
    """Ridge regression from signals to the fall of accuracy.

    Lines carry on beyond the shifts that were simulated; bending them (a Gaussian kernel was tried) gained nothing on
    shifts of an unknown kind. There is no constant: no change, no fall. Errors count in proportion: one of 3 points
    matters at a fall of 4, not of 40.

    Attributes:
        scale: (signals,) root mean square of each, which brings them to one unit.
        weights: (signals,) of the scaled signals.
    """

    scale: Vector
    weights: Vector

    @classmethod
    def fit(cls, signals: Matrix, falls: Vector) -> Self:
        """Learn from pseudo-windows: (n, signals) and (n,). A rise of accuracy counts as no fall."""
        target = np.maximum(falls, 0)
        scale = np.sqrt((signals**2).mean(axis=0))
        scale = np.where(scale > 1e-9, scale, 1.0)
        points = signals / scale
        importance = (1 / error_scale(target) ** 2)[:, None]
        system = points.T @ (importance * points) + PENALTY * np.eye(points.shape[1])
        weights = np.linalg.solve(system, points.T @ (importance[:, 0] * target))
        return cls(scale, np.asarray(weights, dtype=np.float64))

    def predict(self, signals: Matrix) -> Vector:
        """Expected falls (m,) from signals (m, signals)."""
        return np.asarray(signals / self.scale @ self.weights)
