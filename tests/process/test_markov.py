"""The variable-order Markov model against a scan of everything seen so far."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from evergreen.process.markov import Markov, MarkovConfig, markov
from evergreen.process.protocol import RunInput
from evergreen.process.stream import published_stream

Pairs = list[tuple[tuple[int, ...], int]]


def scan(told: Pairs, before: tuple[int, ...], order: int, least: int, exponent: float) -> set[int]:
    """All activities with the best score, found by looking through every pair."""
    for length in range(min(order, len(before)), -1, -1):
        suffix = before[len(before) - length :]
        followed = [label for path, label in told if len(path) >= length and path[len(path) - length :] == suffix]
        if len(followed) >= least or (followed and not length):
            share = {label: sum(other == label for _, other in told) for label in followed}
            score = {label: followed.count(label) / share[label] ** exponent for label in followed}
            return {label for label, value in score.items() if np.isclose(value, max(score.values()))}
    return set()


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(0, 3)), max_size=30),
    st.integers(0, 4),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.4, 1.0]),
)
def test_the_answer_is_that_of_a_scan(pairs: list[tuple[list[int], int]], order: int, least: int, power: float) -> None:
    model = Markov(MarkovConfig(order=order, observations=least, exponent=power))
    told: Pairs = []
    for path, label in pairs:
        before = tuple(path)
        answer, score = model.answer(before)
        best = scan(told, before, order, least, power)
        assert answer in best if best else (answer == -1 and np.isnan(score))
        model.learn(before, label)
        told.append((before, label))


def test_answers_ahead_know_nothing_that_came_later(make_events: Callable[..., pa.Table]) -> None:
    random = np.random.default_rng(0)
    events = [(f"c{random.integers(30)}", str(random.choice(list("abcd"))), float(t), None) for t in range(400)]
    stream = published_stream(make_events(events))
    early, late = (markov(RunInput(stream, stream.cut, ahead=ahead)) for ahead in (True, False))
    assert np.array_equal(early.rows, late.rows)
    model, said = Markov(), dict[int, int]()
    for row in range(len(stream)):
        path = list[int]()
        at = row
        while at >= 0:
            path.insert(0, int(stream.activity[at]))
            at = int(stream.previous[at])
        if stream.asked[row]:
            model.learn(tuple(path[:-1]), path[-1])
        if stream.next[row] >= 0:
            said[int(stream.next[row])] = model.answer(tuple(path))[0]
    assert early.predictions.tolist() == [max(said[row], 0) for row in early.rows.tolist()]
