import statistics
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.process import motivating_example
from evergreen.process.directly_follows import Graph, Transitions, graph, transitions

Event = tuple[int, int, float]  # case, activity, moment
NAMES = ("A", "B", "C", "D")

gaps = st.floats(0, 50).map(lambda value: round(value, 1))
logs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), gaps), max_size=60).map(
    lambda rows: [
        (case, activity, moment)
        for (case, activity, _), moment in zip(rows, np.cumsum([gap for *_, gap in rows]), strict=True)
    ]
)


def listed(log: list[Event]) -> Transitions:
    columns = list(zip(*log, strict=True)) or [(), (), ()]
    case, activity = (np.array(column, np.int64) for column in columns[:2])
    return transitions(case, activity, np.array(columns[2], float), NAMES)


def one_by_one(log: list[Event]) -> list[tuple[int | str, int | str, int, int, float | None]]:
    """Reads the events in turn, remembering the last one of each case: source, target, case, position, seconds."""
    steps, latest, gaps_after, lasts = [], {}, defaultdict(list), defaultdict(int)
    for position, (case, activity, moment) in enumerate(log):
        before = latest.get(case)
        if before:
            gaps_after[before[0]].append(moment - before[1])
        steps.append(
            (before[0] if before else "start", activity, case, position, moment - before[1] if before else None)
        )
        latest[case] = (activity, moment, position)
    for activity, _, _ in latest.values():
        lasts[activity] += 1
    for case, (activity, moment, position) in latest.items():
        silence = log[-1][2] - moment
        if lasts[activity] >= sum(gap > silence for gap in gaps_after[activity]):
            steps.append((activity, "end", case, position, None))
    return steps


def plain(found: Transitions) -> list[tuple[int | str, int | str, int, int, float | None]]:
    word = {found.start: "start", found.end: "end"}
    columns = (found.source, found.target, found.case, found.position, found.seconds)
    return [
        (word.get(source, source), word.get(target, target), case, position, None if np.isnan(gap) else gap)
        for source, target, case, position, gap in zip(*(column.tolist() for column in columns), strict=True)
    ]


@given(logs)
def test_transitions_are_those_of_a_walk_through_the_log(log: list[Event]) -> None:
    found = plain(listed(log))
    assert sorted(found, key=str) == sorted(one_by_one(log), key=str)
    assert [step[3] for step in found] == sorted(step[3] for step in found)


@given(logs)
def test_every_event_is_the_target_of_one_transition(log: list[Event]) -> None:
    found = listed(log)
    real = found.target < found.start
    assert found.position[real].tolist() == list(range(len(log)))
    assert found.target[real].tolist() == [activity for _, activity, _ in log]
    assert (found.source == found.start).sum() == len({case for case, _, _ in log})


@given(logs, st.integers(0, 60), st.integers(0, 60))
def test_a_stretch_holds_the_transitions_of_its_events(log: list[Event], first: int, last: int) -> None:
    found = listed(log)
    assert plain(found.between(first, last)) == [step for step in plain(found) if first <= step[3] < last]


def edges(found: Graph) -> dict[tuple[int, int], tuple[int, int, float, float, float]]:
    columns = (found.count, found.cases, found.mean_seconds, found.median_seconds, found.dependency)
    values = list(zip(*(column.tolist() for column in columns), strict=True))
    return dict(zip(zip(found.source.tolist(), found.target.tolist(), strict=True), values, strict=True))


@given(logs)
def test_a_graph_counts_transitions(log: list[Event]) -> None:
    found = listed(log)
    drawn = graph(found)
    times: dict[tuple[int, int], list[float]] = defaultdict(list)
    cases: dict[tuple[int, int], set[int]] = defaultdict(set)
    for source, target, case, seconds in zip(
        found.source.tolist(), found.target.tolist(), found.case.tolist(), found.seconds.tolist(), strict=True
    ):
        times[source, target].append(seconds)
        cases[source, target].add(case)
    assert list(edges(drawn)) == sorted(times)
    for (source, target), (count, in_cases, mean, median, dependency) in edges(drawn).items():
        gaps = times[source, target]
        assert (count, in_cases) == (len(gaps), len(cases[source, target]))
        if np.isnan(gaps[0]):
            assert np.isnan([mean, median]).all()
        else:
            assert mean == pytest.approx(statistics.mean(gaps))
            assert median == pytest.approx(statistics.median(gaps))
        back = 0 if source == target else len(times.get((target, source), []))
        assert dependency == pytest.approx((count - back) / (count + back + 1))
    assert drawn.visits.tolist() == [sum(activity == code for _, activity, _ in log) for code in range(4)]


def test_a_case_is_open_while_others_used_to_go_on_after_so_long() -> None:
    done = [(case, activity, 100.0 * case + 10 * activity) for case in range(20) for activity in (0, 1)]
    found = plain(listed([*done, (20, 0, 2000.0), (20, 1, 2010.0), (21, 0, 2012.0)]))
    ends = [(source, case) for source, target, case, *_ in found if target == "end"]
    assert (1, 20) in ends  # nobody ever went on after B
    assert (0, 21) not in ends  # the others took ten seconds to leave A, and the log stops at once
    waited = plain(listed([*done, (21, 0, 2012.0), (22, 0, 2100.0), (22, 1, 2110.0)]))
    assert (0, "end", 21, 40, None) in waited  # 98 seconds: longer than anyone took


def test_the_graph_of_the_motivating_example() -> None:
    log = motivating_example.events()
    assert len(log) == 70 * 6 + 10 * 7 + 50 * 5 + 50 * 4 + 80 * 5
    assert log["case_id"].nunique() == 260
    case, activity = (log[column].astype("category").cat.codes.to_numpy(np.int64) for column in ("case_id", "activity"))
    names = sorted(set(log["activity"]))
    found = transitions(case, activity, log["timestamp"].astype("int64").to_numpy() / 1e6, names)
    word = [*names, "start", "end"]
    counts = {(word[s], word[t]): count for (s, t), (count, *_) in edges(graph(found)).items()}
    assert counts == {
        ("start", "A"): 260, ("A", "B"): 260, ("B", "C"): 130, ("B", "D"): 130, ("C", "D"): 130, ("D", "E"): 80,
        ("D", "F"): 180, ("E", "F"): 80, ("F", "G"): 90, ("F", "end"): 170, ("G", "end"): 90,
    }  # fmt: skip
    assert log["activity"][motivating_example.changes()].tolist() == ["A"] * 4
    assert motivating_example.changes() == [420, 490, 740, 940]
