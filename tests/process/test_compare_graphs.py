import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, mannwhitneyu

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.process import discovery, motivating_example
from evergreen.process.activity_scores import Answers, f_by_activity
from evergreen.process.compare_graphs import CompareConfig, changed, compare
from evergreen.process.directly_follows import Transitions, transitions
from evergreen.process.share_tests import Draws, compare_shares

ITEMS = np.arange(6)
GROUPS = ITEMS // 2

draws = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60)


def side(rows: list[tuple[int, int]]) -> Draws:
    item, cluster = np.array(rows, np.int64).reshape(-1, 2).T
    return Draws(item // 2, item, cluster)


def design_effect(item: int, *sides: list[tuple[int, int]]) -> float:
    """The definition, cluster by cluster."""
    rows = [(drawn, (number, cluster)) for number, rows in enumerate(sides) for drawn, cluster in rows]
    rows = [(drawn, cluster) for drawn, cluster in rows if drawn // 2 == item // 2]
    share = sum(drawn == item for drawn, _ in rows) / len(rows)
    if share in (0, 1):
        return 1.0
    spread = 0.0
    for cluster in {cluster for _, cluster in rows}:
        inside = [drawn for drawn, other in rows if other == cluster]
        spread += (inside.count(item) - share * len(inside)) ** 2
    return max(1.0, spread / (len(rows) * share * (1 - share)))


@settings(max_examples=60, deadline=None)
@given(draws, draws)
def test_shares_are_tested_on_effective_counts(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> None:
    found = compare_shares(side(before), side(after), ITEMS, GROUPS)
    for item in ITEMS.tolist():
        counts = [sum(drawn == item for drawn, _ in rows) for rows in (before, after)]
        totals = [sum(drawn // 2 == item // 2 for drawn, _ in rows) for rows in (before, after)]
        assert [found.before[item], found.after[item]] == counts
        assert [found.draws_before[item], found.draws_after[item]] == totals
        if not all(totals):
            assert np.isnan(found.p_value[item])
            continue
        effect = design_effect(item, before, after)
        drawn = [round(round(count / effect, 9)) for count in counts]
        whole = [round(round(total / effect, 9)) for total in totals]
        table = [[count, total - count] for count, total in zip(drawn, whole, strict=True)]
        assert found.p_value[item] == pytest.approx(fisher_exact(table).pvalue)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=30), st.lists(st.integers(0, 1), min_size=1, max_size=30))
def test_draws_that_stand_alone_get_fishers_test(before: list[int], after: list[int]) -> None:
    alone = [side([(item, number) for number, item in enumerate(rows)]) for rows in (before, after)]
    found = compare_shares(*alone, ITEMS, GROUPS)
    table = [[rows.count(0), rows.count(1)] for rows in (before, after)]
    assert found.p_value[0] == pytest.approx(fisher_exact(table).pvalue)


@settings(max_examples=30, deadline=None)
@given(st.randoms(), st.integers(2, 6))
def test_repeats_within_a_cluster_prove_nothing(random: Any, times: int) -> None:
    order = random.sample(range(40), 40)
    before = [(number % 2, number) for number in range(40)]
    after = [(int(number % 3 == 0), number) for number in range(40)]
    once = compare_shares(side(before), side(after), ITEMS, GROUPS).p_value[0]
    repeated = [side([rows[at] for at in order for _ in range(times)]) for rows in (before, after)]
    assert compare_shares(*repeated, ITEMS, GROUPS).p_value[0] == pytest.approx(once)


def log(traces: list[str], seconds: list[float] | None = None) -> Transitions:
    """Traces one after the other; every event of trace ``n`` comes ``seconds[n]`` after the one before it."""
    names = sorted(set("".join(traces)))
    case = np.repeat(np.arange(len(traces)), [len(trace) for trace in traces])
    activity = np.array([names.index(letter) for trace in traces for letter in trace], np.int64)
    step = np.array(seconds or [60.0] * len(traces))[case]
    return transitions(case, activity, np.cumsum(step), names)


def halves(before: list[str], after: list[str], seconds: list[float] | None = None) -> tuple[Transitions, Transitions]:
    whole = log([*before, *after], seconds)
    cut = sum(len(trace) for trace in before)
    return whole.between(0, cut), whole.between(cut, len(whole.source))


def words(found: dict[str, Any]) -> dict[str, str]:
    edges = {f"{e['source'] or ''}>{e['target'] or ''}": e["direction"] for e in found["edges"] if changed(e)}
    return edges | {a["activity"]: a["direction"] for a in found["activities"] if changed(a)}


def test_what_changed_is_named() -> None:
    before = ["ABC"] * 60 + ["ADC"] * 40
    after = ["ABC"] * 20 + ["ADC"] * 30 + ["AEC"] * 50
    found = compare(*halves(before, after), CompareConfig())
    assert words(found) == {
        "A>E": "appeared", "E>C": "appeared", "A>B": "less", "E": "appeared", "B": "less",
    }  # fmt: skip
    best = found["edges"][0]
    assert (best["source"], best["target"], best["before"], best["after"]) == ("A", "E", 0, 50)
    assert (best["share_before"], best["share_after"], best["flow_after"]) == (0.0, 0.5, 0.125)


def test_a_loop_of_one_case_is_no_change() -> None:
    usual = ["ABC"] * 50
    looping = ["ABC"] * 49 + ["A" + "B" * 200 + "C"]
    assert words(compare(*halves(usual, looping), CompareConfig())) == {}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["ABC", "AC", "ABBC", "AD"]), min_size=20, max_size=40), st.randoms())
def test_the_same_traces_in_another_order_are_no_change(traces: list[str], random: Any) -> None:
    shuffled = random.sample(traces, len(traces))
    found = compare(*halves(traces, shuffled), CompareConfig())
    assert words(found) == {}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["ABC", "AC", "ABBC", "AD"]), min_size=1, max_size=40),
    st.lists(st.sampled_from(["ABC", "AC", "AED", "AD"]), min_size=1, max_size=40),
)
def test_backwards_every_change_is_its_opposite(before: list[str], after: list[str]) -> None:
    sides = halves(before, after)
    opposite = {"appeared": "vanished", "vanished": "appeared", "more": "less", "less": "more"}
    forth, back = (words(compare(*pair, CompareConfig())) for pair in (sides, sides[::-1]))
    assert back == {name: opposite[word] for name, word in forth.items()}


def test_hardly_ever_a_change_where_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    variants = np.array(["ABCDE", "ACBDE", "ABDE", "ABCBCDE", "AXE"])
    named = 0
    for _ in range(40):
        traces = rng.choice(variants, 160, p=[0.4, 0.25, 0.2, 0.1, 0.05]).tolist()
        named += bool(words(compare(*halves(traces[:80], traces[80:]), CompareConfig(alpha=0.05))))
    assert named <= 2 * 0.05 * 40 * 1.5  # two families of tests, each wrong at most once in twenty, and some bad luck


def test_times_are_compared_where_there_are_enough() -> None:
    rng = np.random.default_rng(1)
    times = [*rng.uniform(50, 70, 40), *rng.uniform(80, 200, 40)]
    found = compare(*halves(["ABC"] * 39 + ["AXC"], ["ABC"] * 39 + ["AXC"], times), CompareConfig())
    edge = {(e["source"], e["target"]): e for e in found["edges"]}
    assert edge["A", "B"]["pace"] == "slower"
    expected = mannwhitneyu(times[:39], times[40:79]).pvalue
    assert edge["A", "B"]["seconds_p"] == pytest.approx(expected)
    assert edge["A", "B"]["seconds_before"] == pytest.approx(float(np.median(times[:39])))
    assert edge["A", "X"]["seconds_p"] is None
    assert edge["A", "X"]["pace"] is None
    assert edge["C", None]["seconds_before"] is None


def workspace(tmp_path: Path, drifts: list[dict[str, Any]], predictions: pd.DataFrame | None = None) -> Path:
    (tmp_path / "data" / "process").mkdir(parents=True)
    motivating_example.events().to_parquet(tmp_path / "data" / "process" / "events.parquet")
    write_json(tmp_path / "drifts.json", drifts)
    if predictions is not None:
        predictions.to_parquet(tmp_path / "predictions.parquet")
    return tmp_path


def at(index: int, **more: Any) -> dict[str, Any]:
    moment = motivating_example.FIRST + index * motivating_example.STEP
    return {"event_index": index, "timestamp": moment.isoformat(), **more}


def test_the_motivating_example_is_explained(tmp_path: Path) -> None:
    place = workspace(tmp_path, [at(index) for index in motivating_example.changes()])
    discovery.run(place, {})
    folder = place / "data" / "process" / "discovery"
    listed = read_json(folder / "drifts.json")
    assert [entry["file"] for entry in listed] == ["0.json", "1.json", "2.json", "3.json"]
    assert [(entry["activities_appeared"], entry["activities_vanished"]) for entry in listed] == [
        (["G"], []), ([], ["E", "G"]), ([], ["C"]), (["G"], []),
    ]  # fmt: skip
    found = [read_json(folder / entry["file"]) for entry in listed]
    assert [{k: v for k, v in words(f).items() if ">" in k} for f in found] == [
        {"F>": "vanished", "F>G": "appeared", "G>": "appeared"},
        {
            "D>E": "vanished",
            "E>F": "vanished",
            "F>G": "vanished",
            "G>": "vanished",
            "D>F": "appeared",
            "F>": "appeared",
        },
        {"B>C": "vanished", "C>D": "vanished", "B>D": "appeared"},
        {"F>": "vanished", "F>G": "appeared", "G>": "appeared"},
    ]
    assert [(f["before"]["cases"], f["after"]["cases"]) for f in found] == [(70, 10), (10, 50), (50, 50), (50, 80)]
    assert found[0]["before"]["start"] == "2020-01-01T00:00:00+00:00"
    assert found[0]["scores"] == []


def test_stretches_hold_so_many_cases_and_end_at_the_next_drift(tmp_path: Path) -> None:
    place = workspace(tmp_path, [at(490), at(740)])
    discovery.run(place, {"discovery": {"cases": 30}})
    first, second = (read_json(place / "data" / "process" / "discovery" / f"{n}.json") for n in range(2))
    assert (first["before"]["cases"], first["before"]["events"]) == (30, 10 * 7 + 20 * 6)
    assert (first["after"]["cases"], first["after"]["events"]) == (30, 30 * 5)
    discovery.run(place, {"discovery": {"cases": 1000}})
    second = read_json(place / "data" / "process" / "discovery" / "1.json")
    assert (second["before"]["events"], second["after"]["events"]) == (250, 600)


def test_the_moment_of_the_change_counts_not_that_of_the_alarm(tmp_path: Path) -> None:
    place = workspace(tmp_path, [at(800, change_event_index=740)])
    discovery.run(place, {})
    found = read_json(place / "data" / "process" / "discovery" / "0.json")
    assert found["event_index"] == 800
    assert words(found)["B>C"] == "vanished"


def test_only_the_drifts_of_the_model_are_explained(tmp_path: Path) -> None:
    drifts = [at(100, model="darwin"), at(740, model="evergreen"), at(900, model="darwin"), at(940)]
    place = workspace(tmp_path, drifts)
    write_json(place / "metrics.json", {"models": {"darwin": {}, "evergreen": {}}, "drifts": {"model": "evergreen"}})
    discovery.run(place, {})
    folder = place / "data" / "process" / "discovery"
    assert [entry["number"] for entry in read_json(folder / "drifts.json")] == [1, 3]
    assert {path.name for path in folder.iterdir()} == {"drifts.json", "1.json", "3.json"}
    assert read_json(folder / "3.json")["before"]["events"] == 200  # darwin's drifts bound nothing
    discovery.run(place, {"discovery": {"model": "darwin"}})
    assert [entry["number"] for entry in read_json(folder / "drifts.json")] == [0, 2, 3]


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({}, None),
        ({"models": {}, "drifts": {"model": None}}, None),
        ({"models": {"markov": {"macro_f1": 0.5}, "evergreen": {"macro_f1": 0.4}}}, "evergreen"),
        ({"models": {"markov": {"macro_f1": 0.5}, "darwin": {"macro_f1": 0.4}}}, "markov"),
        ({"models": {"markov": {}, "darwin": {"macro_f1": 0.4}}, "drifts": {"model": "markov"}}, "markov"),
    ],
)
def test_a_run_is_about_one_model(metrics: dict[str, Any], expected: str | None) -> None:
    assert discovery.shown_model(metrics) == expected


def test_a_drift_at_the_very_start_has_nothing_before_it(tmp_path: Path) -> None:
    place = workspace(tmp_path, [at(0), at(0)])
    discovery.run(place, {})
    found = read_json(place / "data" / "process" / "discovery" / "1.json")
    assert found["before"] == {"events": 0, "cases": 0, "start": None, "end": None}
    assert words(found) == {}
    json.dumps(found, allow_nan=False)


def test_without_drift_there_is_an_empty_list(tmp_path: Path) -> None:
    discovery.run(workspace(tmp_path, []), {})
    assert read_json(tmp_path / "data" / "process" / "discovery" / "drifts.json") == []


def test_files_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="event 99999"):
        discovery.run(workspace(tmp_path, [at(99999)]), {})
    (tmp_path / "drifts.json").unlink()
    with pytest.raises(BadInputError, match="online"):
        discovery.run(tmp_path, {})
    with pytest.raises(BadInputError, match="alhpa"):
        discovery.run(tmp_path, {"discovery": {"alhpa": 1}})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_f_by_activity_is_the_definition(rows: list[tuple[int, int]], first: int, last: int) -> None:
    names = ("A", "B", "C", "D")
    label, prediction = np.array(rows, np.int64).reshape(-1, 2).T
    found = f_by_activity(Answers(names, np.arange(len(rows)), prediction, label), first, last)
    inside = rows[first:last]
    support = Counter(true for true, _ in inside)
    for code, name in enumerate(names):
        right = sum(true == said == code for true, said in inside)
        said = sum(said == code for _, said in inside)
        if not support[code] + said:
            assert name not in found
        else:
            assert found[name] == {"f1": pytest.approx(2 * right / (support[code] + said)), "support": support[code]}


def test_f_before_and_after_comes_from_the_ledger(tmp_path: Path) -> None:
    log = motivating_example.events()
    closing = log.groupby("case_id").tail(1)
    known = pd.concat(
        [
            pd.DataFrame(
                {"event_index": log["event_index"].astype("Int64"), "label": log["activity"],
                 "label_at": log["timestamp"]}
            ),
            pd.DataFrame(
                {"event_index": pd.array([None] * len(closing), "Int64"), "label": "_END_",
                 "label_at": closing["timestamp"] + pd.Timedelta(seconds=1)}
            ),
        ]
    )  # fmt: skip
    said = known["label"].where(known["label"] != "G", "_END_")  # never foresees G
    ledger = known.assign(model="evergreen", prediction=said)
    other = known.assign(model="markov", prediction="A")
    place = workspace(tmp_path, [at(940)], pd.concat([ledger, other]).sample(frac=1, random_state=0))
    discovery.run(place, {"discovery": {"cases": 50, "model": "evergreen"}})
    scores = {s["activity"]: s for s in read_json(place / "data" / "process" / "discovery" / "0.json")["scores"]}
    assert scores["A"] == {
        "activity": "A",
        "f1_before": 1.0,
        "support_before": 50,
        "f1_after": 1.0,
        "support_after": 50,
    }
    assert (scores["G"]["f1_before"], scores["G"]["f1_after"], scores["G"]["support_after"]) == (None, 0.0, 50)
    assert scores["_END_"]["f1_before"] == 1.0
    # one end falls on the next stretch's first second: it is placed by its time
    assert scores["_END_"]["f1_after"] == pytest.approx(2 * 49 / (49 + 99), abs=0.02)
