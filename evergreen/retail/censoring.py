"""What is known of customers whose outcome is not: how likely do those who are silent until now stay so?

At decision time the outcome of an example made on some day becomes known piece by piece: quick returners first,
churners last. Learning from known outcomes alone would teach that everybody comes back, and that whatever differs
between examples of last week and of last quarter tells returners from churners. So an example counts whatever has
become of it, for the part of its horizon that is over, and while its customer is silent the label is its expectation
(the E step of Dempster, Laird & Rubin 1977): with proportional hazards, a customer whose risk at recency r was p churns
with probability p^ρ after silence up to recency a, where ρ is the cumulative hazard of returning from a to the horizon,
divided by that from r.

The hazard at a recency is the share of its examples that are returns on the next day. A day's examples tell that one
day later, returners and the silent alike, so it is fresh and fair.
"""

import numpy as np
from numpy.typing import NDArray

PSEUDO = 0.5
"""Examples added to both sides of a share (Jeffreys)."""

Days = NDArray[np.int64]
Floats = NDArray[np.float64]


class ReturnCurve:
    """The cumulative hazard of returning, by recency.

    Args:
        horizon: days of silence after which a customer has churned.
        half_life: days after which a day counts half.
    """

    def __init__(self, horizon: int, half_life: float) -> None:
        self.horizon, self._fade = horizon, 0.5 ** (1 / half_life)
        self._silent, self._returned = np.zeros(horizon), np.zeros(horizon)

    def learn(self, silent: Floats, returned: Floats, days: int = 1) -> None:
        """Some days: (horizon,) examples by recency, and how many of them were returns on the day after."""
        fade = self._fade**days
        self._silent = self._silent * fade + silent
        self._returned = self._returned * fade + returned

    def left(self, recency: Days) -> Floats:
        """(n,) cumulative hazard from a recency, 0 to the horizon, to the horizon."""
        hazard = (self._returned + PSEUDO) / (self._silent + 2 * PSEUDO)
        return np.asarray(np.append(hazard[::-1].cumsum()[::-1], 0.0)[recency])

    def over(self, recency: Days, elapsed: Days) -> Floats:
        """(n,) share of the horizon that is over so many days after a question, 0 to 1: measured in hazard."""
        return np.asarray(1 - self.left(np.minimum(recency + elapsed, self.horizon)) / self.left(recency))

    def expected(self, risk: Floats, recency: Days, elapsed: Days) -> Floats:
        """(n,) probability that customers churn who were asked at a recency, and have been silent since.

        Args:
            risk: (n,) when they were asked.
        """
        return np.asarray(risk ** (1 - self.over(recency, elapsed)))
