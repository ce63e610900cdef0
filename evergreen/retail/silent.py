"""How the classes of a day's labels are mixed, foretold from the labels of earlier days.

Whoever bought ``churn_days`` ago and has not come back churns today. How many bought on that day is not known from
labels, but those of them who did come back are, and so are the customers who came back *on* that day: both counts
follow the number of purchases, and are nearly zero 120 days after a holiday. Likewise few customers return on a weekday
on which the shop was closed in the weeks before. The two logarithms here are additive corrections of the log-odds
(Bayes: a change of the class shares moves the log-odds of all examples by the same amount).

Only labels with their features are used, from days before the one that is foretold. An episode of returns shows in
counts alone: of a returner with a gap of g days there is one example with each recency 0..g-1, so the difference of the
counts of two successive recencies is the number of returners with that gap. No customer is looked up.
"""

import numpy as np
from numpy.typing import NDArray

HALF_LIFE = 120.0
"""Days after which a day counts half."""
PSEUDO = 0.5
"""Customers added to both sides of a ratio of counts (Jeffreys)."""
RIDGE = 5.0
"""Days' worth of trust in the first guess of the regression."""
GUESS = np.array([0.2, 0.2, 0.0])
WEEK = 7
ENOUGH = 5
"""Days of labels before anything is foretold."""

Floats = NDArray[np.float64]


class Silent:
    """Counts of the past days, and the corrections of the next ones.

    Attributes:
        churn_days: the horizon.
        known: days counted so far are those before this one.
    """

    def __init__(self, churn_days: int, first_day: int, last_day: int) -> None:
        span = last_day - first_day + 2
        self.churn_days, self.first, self.known = churn_days, first_day, first_day
        self._came_back = np.zeros(span)
        self._returned_since = np.zeros(span + churn_days + 1)  # by day of the purchase before
        self._fade = 0.5 ** (1 / HALF_LIFE)
        self._moments, self._targets = np.zeros((3, 3)), np.zeros(3)
        self._churners = self._weight = 0.0
        self._weekday, self._weekday_days = np.zeros(WEEK), np.zeros(WEEK)

    def corrections(self, day: int) -> tuple[float, float]:
        """Log of how many more churners, and of how many fewer returners than usual the day will have."""
        return self._more_churners(day), self._fewer_returners(day)

    def learn(self, day: int, recency: NDArray[np.int64], labels: NDArray[np.bool_]) -> None:
        """Count the labels of one day, which is not before any counted one; days left out had no labels.

        Args:
            day: on which they became known.
            recency: (n,) days since the last purchase, of the examples.
            labels: (n,) True: churned.
        """
        for between in range(self.known, day):
            self._count(between, recency[:0], labels[:0])
        if day >= self.known:
            self._count(day, recency, labels)
            self.known = day + 1

    def _count(self, day: int, recency: NDArray[np.int64], labels: NDArray[np.bool_]) -> None:
        last = self.churn_days
        returns = np.bincount(np.clip(recency[~labels], 0, last), minlength=last + 1)[: last + 1].astype(float)
        churners = float((recency[labels] == 0).sum())
        gaps = np.maximum(returns[:-1] - returns[1:], 0)  # [g - 1]: returners with a gap of g days
        if (signs := self._signs(day)) is not None:
            self._regress(signs, churners)
        self._churners = self._churners * self._fade + churners
        self._weight = self._weight * self._fade + 1
        at = day - self.first
        self._came_back[at] = returns[0]
        before = at - np.arange(1, last + 1)
        inside = before >= 0
        self._returned_since[before[inside]] += gaps[inside]
        self._weekday *= self._fade
        self._weekday_days *= self._fade
        self._weekday[day % WEEK] += returns[0]
        self._weekday_days[day % WEEK] += 1

    def _signs(self, day: int) -> Floats | None:
        """(3,) what is known of the day ``churn_days`` before: who came back on it, who came back since; the mean."""
        bought = day - self.churn_days - self.first
        if bought < 0 or self._weight < ENOUGH:
            return None
        return np.array([self._came_back[bought], self._returned_since[bought], self._churners / self._weight])

    def _regress(self, signs: Floats, churners: float) -> None:
        trust = 1 / max(signs[2], PSEUDO)  # counts vary as much as their mean
        self._moments = self._moments * self._fade + trust * np.outer(signs, signs)
        self._targets = self._targets * self._fade + trust * signs * churners

    def _more_churners(self, day: int) -> float:
        signs = self._signs(day)
        if signs is None:
            return 0.0
        ridge = RIDGE * max(signs[2], 0.1)
        weights = np.linalg.solve(self._moments + ridge * np.eye(3), self._targets + ridge * GUESS)
        expected = max(float(weights @ signs), 0.0)
        return float(np.log((expected + PSEUDO) / (signs[2] + PSEUDO)))

    def _fewer_returners(self, day: int) -> float:
        days = self._weekday_days.sum()
        if days < ENOUGH:
            return 0.0
        usual = self._weekday.sum() / days
        weekday = day % WEEK
        pseudo = PSEUDO * WEEK
        return float(-np.log((self._weekday[weekday] + pseudo) / (self._weekday_days[weekday] * usual + pseudo)))
