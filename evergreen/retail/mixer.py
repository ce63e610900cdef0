"""How much the network, the linear model and the day's corrections are worth: judged by yesterday, used today.

A candidate is a share of the network and a weight for each correction of :mod:`evergreen.retail.silent`. All candidates
are judged by the log-loss of the answers they would have given; the one with the lowest faded loss answers.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

HALF_LIFE = 120.0
"""Days after which a day's loss counts half."""
SHARES = (0.25, 0.5, 0.75, 1.0)
WEIGHTS = (0.0, 0.5, 1.0)
CANDIDATES = np.array(list(product(SHARES, WEIGHTS, WEIGHTS)))
"""(c, 3): share of the network, weight of the churners' and of the returners' correction."""

Floats = NDArray[np.float64]


def combine(candidate: Floats, parts: Floats) -> Floats:
    """Log-odds (n,) of one candidate.

    Args:
        candidate: (3,) a row of :data:`CANDIDATES`.
        parts: (n, 4) log-odds of the network and of the linear model, and the two corrections.
    """
    share, churners, returners = candidate
    mixed = share * parts[:, 0] + (1 - share) * parts[:, 1] + churners * parts[:, 2] + returners * parts[:, 3]
    return np.asarray(mixed)


class Mixer:
    """The faded losses of the candidates, and the one that answers.

    Args:
        share: of the network, before anything is known.
    """

    def __init__(self, share: float = 0.75) -> None:
        self.losses = np.zeros(len(CANDIDATES))
        self.losses[SHARES.index(share) * len(WEIGHTS) ** 2] = -1e-9  # before anything is known: no corrections
        self._fade = 0.5 ** (1 / HALF_LIFE)

    @property
    def candidate(self) -> Floats:
        """(3,) the best one so far."""
        return np.asarray(CANDIDATES[int(self.losses.argmin())])

    def __call__(self, parts: Floats) -> Floats:
        """(n, 4) → (n,) log-odds; see :func:`combine`."""
        return combine(self.candidate, parts)

    def learn(self, parts: Floats, labels: NDArray[np.bool_]) -> None:
        """The labels of some answers: (n, 4) and (n,)."""
        if not len(labels):
            return
        sign = np.where(labels, -1.0, 1.0)
        losses = [np.logaddexp(0, sign * combine(candidate, parts)).sum() for candidate in CANDIDATES]
        self.losses = self._fade * self.losses + np.asarray(losses)
