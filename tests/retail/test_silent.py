import numpy as np
import pytest

from evergreen.retail.silent import Silent

HORIZON = 10


def shop(days: int, seed: int, closed: int = 6) -> list[tuple[np.ndarray, np.ndarray]]:
    """Recencies and labels told on each day, counted customer by customer; nobody buys on weekday ``closed``."""
    rng = np.random.default_rng(seed)
    told: list[list[tuple[int, bool]]] = [[] for _ in range(days)]
    for start in range(days):
        if start % 7 == closed:
            continue
        for _ in range(rng.poisson(12)):
            gap = int(rng.integers(1, 3 * HORIZON))
            while (start + gap) % 7 == closed:
                gap += 1
            back = gap <= HORIZON
            when, length = start + (gap if back else HORIZON), gap if back else HORIZON
            if when < days:
                told[when] += [(recency, not back) for recency in range(length)]
    return [(np.array([r for r, _ in day], np.int64), np.array([c for _, c in day], bool)) for day in told]


def test_the_day_after_the_closed_day_is_foretold() -> None:
    days = shop(200, seed=0)
    silent = Silent(HORIZON, 0, 200)
    guesses, truths = [], []
    for day, (recency, labels) in enumerate(days):
        if day > 100:
            guesses.append(silent.corrections(day)[0])
            truths.append((recency[labels] == 0).sum())
        silent.learn(day, recency, labels)
    assert np.corrcoef(guesses, np.log1p(truths))[0, 1] > 0.7
    shut = [g for g, t in zip(guesses, truths, strict=True) if t == 0]
    assert max(shut) < -0.5


def test_few_returners_are_expected_on_the_closed_weekday() -> None:
    silent = Silent(HORIZON, 0, 120)
    for day, (recency, labels) in enumerate(shop(119, seed=1)):
        silent.learn(day, recency, labels)
    corrections = [silent.corrections(day)[1] for day in range(119, 126)]
    assert int(np.argmax(corrections)) == [day % 7 for day in range(119, 126)].index(6)


def test_the_labels_of_a_day_do_not_change_what_was_said_of_it() -> None:
    days = shop(80, seed=2)
    first, second = Silent(HORIZON, 0, 100), Silent(HORIZON, 0, 100)
    for day, (recency, labels) in enumerate(days):
        assert first.corrections(day) == second.corrections(day)
        first.learn(day, recency, labels)
        order = np.random.default_rng(day).permutation(len(labels))
        second.learn(day, recency[order], labels[order])


def test_days_without_labels_may_be_left_out() -> None:
    days = shop(60, seed=3)
    for day in (20, 21, 40):
        days[day] = days[day][0][:0], days[day][1][:0]
    every, some = Silent(HORIZON, 0, 80), Silent(HORIZON, 0, 80)
    for day, (recency, labels) in enumerate(days):
        every.learn(day, recency, labels)
        if len(labels):
            some.learn(day, recency, labels)
    assert every.corrections(60) == pytest.approx(some.corrections(60))


def test_nothing_is_foretold_from_nothing() -> None:
    assert Silent(HORIZON, 0, 10).corrections(5) == (0.0, 0.0)
