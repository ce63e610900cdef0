"""Customers whose outcome is not known yet: against counting by hand, and where their hazards are known."""

import numpy as np
import pytest

from evergreen.retail.censoring import PSEUDO, ReturnCurve
from evergreen.retail.example_frames import NEVER
from evergreen.retail.lessons import CensoredLessons, Lessons
from evergreen.retail.protocol import Stream

HORIZON = 12


def shop(days: int, seed: int = 0, young: float = 0.2, old: float = 0.05) -> Stream:
    """Purchases that become twice as many every 20 days; a customer returns with a hazard for each recency.

    The one feature beside the recency is the day of the question: it says nothing of the outcome.
    """
    rng, rows = np.random.default_rng(seed), []
    hazards = np.where(np.arange(HORIZON) < 4, young, old)
    for day in range(days):
        for _ in range(int(5 * 2 ** (day / 20))):
            came = np.flatnonzero(rng.random(HORIZON) < hazards)
            gap = int(came[0]) + 1 if len(came) else HORIZON
            told = day + gap
            for recency in range(min(gap, days - day)):
                known = told if told < days else int(NEVER)
                rows.append((known, day + recency, recency, not len(came) and told < days))
    rows.sort()
    told, asked, recency, churned = (np.array(column) for column in zip(*rows, strict=True))
    features = np.column_stack([recency, asked * 0 + 1, asked]).astype(float)
    return Stream(features, ("recency_1", "frequency_1", "monetary_1"), churned, asked, told, told)


def followed(stream: Stream) -> CensoredLessons:
    first, last = int(stream.told.min()), int(stream.told[stream.told < NEVER].max())
    lessons = CensoredLessons(stream, first, HORIZON)
    for day in np.unique(stream.told[stream.told <= last]).tolist():
        lessons.tell(day, np.flatnonzero(stream.told == day))
    return lessons


def test_the_hazards_are_shares_of_returns_on_the_next_day() -> None:
    stream = shop(60)
    lessons, fade = followed(stream), 0.5 ** (1 / HORIZON)
    expected = np.zeros(HORIZON)
    for recency in range(HORIZON):
        alike = np.flatnonzero((stream.features[:, 0] == recency) & (stream.asked < lessons.today))
        ages = fade ** (lessons.today - 1 - stream.asked[alike]).astype(float)
        back = (stream.told[alike] == stream.asked[alike] + 1) & ~stream.labels[alike]
        expected[recency] = ((ages * back).sum() + PSEUDO) / (ages.sum() + 2 * PSEUDO)
    left = lessons.curve.left(np.arange(HORIZON + 1))
    np.testing.assert_allclose(left, [expected[age:].sum() for age in range(HORIZON + 1)])


def test_the_curve_finds_the_hazards() -> None:
    left = followed(shop(110)).curve.left(np.arange(HORIZON + 1))
    np.testing.assert_allclose(-np.diff(left), np.where(np.arange(HORIZON) < 4, 0.2, 0.05), atol=0.04)


def test_expectations_between_the_question_and_the_horizon() -> None:
    curve = ReturnCurve(3, half_life=1e9)
    curve.learn(np.array([1e9, 1e9, 1e9]), np.array([4e8, 2e8, 2e8]))
    risk, recency = np.array([0.3, 0.3, 0.3]), np.array([0, 0, 0])
    found = curve.expected(risk, recency, np.array([0, 1, 3]))
    np.testing.assert_allclose(found, [0.3, 0.3**0.5, 1.0])
    np.testing.assert_allclose(curve.over(recency, np.array([0, 1, 3])), [0, 0.5, 1])


def test_expected_labels_are_as_many_churners_as_there_will_be() -> None:
    """Known outcomes are mostly returns, even more so among late questions; with expectations the share is right."""
    stream = shop(80)
    lessons = followed(stream)
    hazards = np.where(np.arange(HORIZON) < 4, 0.2, 0.05)
    churn = np.array([np.prod(1 - hazards[age:]) for age in range(HORIZON)])
    rows = lessons.recent()
    truth = churn[stream.features[rows, 0].astype(int)]
    labels = lessons.labels(rows, lambda asked: churn[stream.features[asked, 0].astype(int)])
    weights = lessons.weights(rows)
    assert np.average(labels, weights=weights) == pytest.approx(np.average(truth, weights=weights), abs=0.03)
    late = stream.asked[rows] > lessons.today - HORIZON // 2
    assert np.average(labels[late], weights=weights[late]) == pytest.approx(
        np.average(truth[late], weights=weights[late]), abs=0.05
    )
    known = late & (stream.told[rows] <= lessons.today)
    assert stream.labels[rows[known]].mean() < truth[late].mean() - 0.1


def test_weights_do_not_depend_on_the_outcome_and_days_to_come_are_not_looked_at() -> None:
    stream = shop(60)
    lessons = followed(stream)
    rows = lessons.recent(HORIZON)
    assert (stream.asked[rows] > lessons.today - HORIZON).all()
    assert (np.diff(lessons.day(rows)) >= 0).all()
    weights, keys = lessons.weights(rows), np.column_stack([stream.asked[rows], stream.features[rows, 0]])
    _, place = np.unique(keys, axis=0, return_inverse=True)
    for key in range(int(place.max()) + 1):
        assert np.ptp(weights[place.ravel() == key]) == 0
    assert (weights[stream.asked[rows] == lessons.today] == 0).all()
    half = CensoredLessons(stream, int(stream.told.min()), HORIZON)
    for day in range(30):
        half.tell(day, np.flatnonzero(stream.told == day))
    assert stream.asked[half.recent()].max() == half.today == 29
    silent = half.recent()[stream.told[half.recent()] > 29]
    np.testing.assert_array_equal(half.labels(silent, lambda asked: np.full(len(asked), 1.0)), 1.0)


def test_a_proof_takes_those_whose_horizon_is_over() -> None:
    stream = shop(60)
    lessons = followed(stream)
    told = np.flatnonzero(stream.told <= lessons.today)
    fair = lessons.fair(told)
    assert (stream.asked[fair] + HORIZON - stream.features[fair, 0] <= lessons.today).all()
    assert stream.labels[fair].mean() > stream.labels[told].mean()
    np.testing.assert_allclose(lessons.weights(fair), 1.0)
    returns = told[~stream.labels[told]]
    assert len(lessons.fair(returns)) == len(returns)


def test_labels_that_come_at_once_stand_for_themselves() -> None:
    stream = shop(40)
    lessons = Lessons(stream)
    for day in range(13, 20):
        lessons.tell(day, np.flatnonzero(stream.told == day))
    rows = lessons.recent(3)
    np.testing.assert_array_equal(np.unique(stream.told[rows]), [17, 18, 19])
    np.testing.assert_array_equal(lessons.labels(rows, lambda asked: np.full(len(asked), np.nan)), stream.labels[rows])
    np.testing.assert_array_equal(lessons.weights(rows), 1.0)
