"""The whole model on small simulated logs: what it may know, that blocks change nothing, what the step writes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.process import bundle, following, learner, models
from evergreen.process.endings import Endings, default_stream
from evergreen.process.following import Following, FollowingConfig, follow
from evergreen.process.learner import EvergreenConfig, EvergreenLearner, Task
from evergreen.process.online import run
from evergreen.process.prefixes import LongPrefixes
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.stream import EventStream, published_stream
from evergreen.stream.learner import Truth

QUICK = EvergreenConfig.read(
    {"replay": {"steps": 1, "batch": 64, "warm_up_epochs": 1, "adapt_epochs": 1}, "network": {"cells": 16}}, "test"
)


def simulated(cases: int, seed: int = 0, changed: int | None = None) -> list[tuple[str, str, float, str | None]]:
    """Cases a b (c|d) [e] f; from the ``changed``-th case on without b, and with a new activity g instead of e."""
    random = np.random.default_rng(seed)
    events: list[tuple[str, str, float, str | None]] = []
    for case in range(cases):
        new = changed is not None and case >= changed
        who = str(random.choice(["ann", "bob"]))
        path = ["a", *([] if new else ["b"]), "c" if (who == "ann") == (random.random() < 0.9) else "d"]
        path += (["g"] if new else ["e"]) * int(random.random() < 0.5)
        moment = 600.0 * case
        for activity in [*path, "f"]:
            moment += float(random.exponential(1_000))
            events.append((f"case {case}", activity, moment, who))
    return events


@pytest.fixture(scope="module")
def stream(make_events: Callable[..., pa.Table]) -> EventStream:
    return published_stream(make_events(simulated(300)))


def take(stream: EventStream, seed: int = 0, ahead: bool = False, **adaptation: Any) -> RunOutput:
    given = RunInput(stream, stream.cut, seed, 1, ahead=ahead)
    return follow(given, QUICK, FollowingConfig.read(adaptation, "test"))[0]


def same(first: RunOutput, second: RunOutput, rows: int | None = None) -> bool:
    return np.array_equal(first.predictions[:rows], second.predictions[:rows]) and np.allclose(
        first.scores[:rows], second.scores[:rows], atol=1e-5
    )


def test_blocks_answer_as_single_events_do(
    make_events: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = published_stream(make_events(simulated(150, changed=90)))
    together = take(stream)
    for module in (following, learner):
        monkeypatch.setattr(module, "BLOCK", 1)
    single = take(stream)
    assert same(together, single)
    np.testing.assert_allclose(together.remaining_days, single.remaining_days, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ahead", [False, True])
def test_answers_do_not_depend_on_what_comes_later(make_events: Callable[..., pa.Table], ahead: bool) -> None:
    events = simulated(300)
    table = make_events(events)
    full = default_stream(table, Endings(timeout_days=0.05)) if ahead else published_stream(table)
    keep = len(full) * 2 // 3
    other = replace(full, activity=full.activity.copy(), resource=full.resource.copy())
    random = np.random.default_rng(0)
    known = np.unique(full.activity[:keep])
    later = np.arange(keep, len(full))
    assert isinstance(other.activity, np.ndarray)
    other.activity[later] = random.choice(known, len(later))
    other.resource[later] = random.integers(0, 2, len(later))
    first, second = take(full, ahead=ahead), take(other, ahead=ahead)
    last = full.previous[first.rows] if ahead else first.rows
    told = np.flatnonzero(last < keep - (following.AHEAD_BLOCK if ahead else 0))
    assert len(told) > 200
    assert np.array_equal(first.predictions[told], second.predictions[told])
    np.testing.assert_allclose(first.scores[told], second.scores[told], atol=1e-6)


def test_the_same_seed_gives_the_same_answers_and_another_one_does_not(stream: EventStream) -> None:
    first, second, other = take(stream), take(stream), take(stream, seed=1)
    assert np.array_equal(first.scores, second.scores)
    assert not np.array_equal(first.scores, other.scores)


def test_it_learns_who_does_what(stream: EventStream) -> None:
    output = take(stream)
    label = stream.activity[output.rows]
    markov = models.run_model("markov", RunInput(stream, stream.cut))[0]
    assert f1_score(label, output.predictions, average="macro") > f1_score(label, markov.predictions, average="macro")


def test_a_change_is_found_and_new_activities_are_predicted(make_events: Callable[..., pa.Table]) -> None:
    events = simulated(900, changed=500)
    stream = published_stream(make_events(events))
    output = take(stream)
    begin = next(row for row in range(len(stream)) if stream.cases[int(stream.case[row])].as_py() == "case 500")
    assert [begin <= drift["row"] < begin + 500 for drift in output.drifts] == [True]
    assert output.drifts[0]["decision"] in ("promoted", "kept")
    assert output.drifts[0]["cost"] > 0
    new = stream.activities.index("g")
    late = output.rows > begin + 600
    truth = stream.activity[output.rows][late] == new
    assert (output.predictions[late][truth] == new).mean() > 0.3
    assert set(output.versions.tolist()) <= {1, 2}


@pytest.mark.parametrize("policy", ["finetune", "retrain"])
def test_a_challenger_leaves_the_model_in_service_alone(stream: EventStream, policy: str) -> None:
    model = EvergreenLearner(Task.of(stream, stream.cut, None), QUICK, 0)
    rows = np.flatnonzero(stream.asked)
    for start in range(0, 512, 128):
        model.learn(rows[start : start + 128])
    before = model.answer(rows[:50])
    challenger, flops = model.adapt(policy, rows[300:500])
    assert flops > 0
    challenger.learn(rows[512:600])
    np.testing.assert_array_equal(model.answer(rows[:50]), before)
    assert not np.allclose(challenger.answer(rows[:50]), before)


def test_the_gate_sees_no_difference_where_only_the_answers_so_far_differ(stream: EventStream) -> None:
    """The decision for macro-F holds back what was answered too often; that is no worth of the model."""
    task = Task.of(stream, stream.cut, None)
    rows = np.flatnonzero(stream.asked)
    model, other = (EvergreenLearner(task, QUICK, 0) for _ in range(2))
    for one in (model, other):
        one.learn(rows[:200])
        one.finish_warm_up()
    wrong = np.zeros(512, np.int64) + (model.task.labels[rows[200]] + 1) % len(stream.activities)
    surprising = np.eye(model.parts.table.classes)[(wrong + 1) % len(stream.activities)]
    other.parts.decision.follow(surprising, wrong, np.ones(512, bool))
    asked = rows[200:]
    assert not np.array_equal(model.decide(model.answer(asked)), other.decide(other.answer(asked)))
    truth = Truth(task.labels, stream.activities, stream.case.astype(np.int64), stream.time_us)
    judged = Following(truth, FollowingConfig(), task=task)._answered(model, other, asked)
    np.testing.assert_array_equal(judged.challenger, judged.champion)


def test_a_bundle_answers_as_the_model_does(stream: EventStream, tmp_path: Path) -> None:
    _, model = follow(RunInput(stream, stream.cut, 0, 1), QUICK, FollowingConfig())
    weights = bundle.save(tmp_path / "champion", model, mode="published")
    champion = bundle.load(tmp_path / "champion", weights)
    rows = np.arange(len(stream) - 60, len(stream))
    window = LongPrefixes(stream).at(rows)
    there, here = champion.say(window), model.parts.say(window)
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=1e-6)
    assert np.array_equal(there.classes, here.classes)
    np.testing.assert_allclose(there.remaining_days, here.remaining_days, rtol=1e-5)
    assert tuple(champion.activities) == champion.names == stream.activities
    np.testing.assert_allclose(there.outcome.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("embedding", ["learned", "word2vec"])
def test_activities_beyond_the_limit_are_seen_but_never_answered(
    make_events: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch, embedding: str
) -> None:
    monkeypatch.setattr(learner, "MOST_CLASSES", 8)
    random = np.random.default_rng(0)
    events = [(f"c{row // 5}", f"a{random.integers(40)}", float(row), None) for row in range(900)]
    stream = published_stream(make_events(events))
    config = EvergreenConfig.read({**QUICK.model_dump(), "network": {"embedding": embedding, "cells": 16}}, "test")
    output, model = follow(RunInput(stream, stream.cut, 0, 1), config, FollowingConfig())
    assert output.predictions.max() < 8
    assert model.parts.table.classes == 8


def test_a_damaged_bundle_is_refused(stream: EventStream, tmp_path: Path) -> None:
    model = EvergreenLearner(Task.of(stream, stream.cut, None), QUICK, 0)
    bundle.save(tmp_path / "champion", model)
    with pytest.raises(BadInputError, match="SHA-256"):
        bundle.load(tmp_path / "champion", "0" * 64)
    weights = tmp_path / "champion" / bundle.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInputError, match="SHA-256"):
        bundle.load(tmp_path / "champion")
    with pytest.raises(BadInputError, match="no process model"):
        bundle.load(tmp_path)


def workspace(path: Path, table: pa.Table) -> Path:
    (path / "data" / "process").mkdir(parents=True)
    pq.write_table(table, path / "data" / "process" / "events.parquet")
    return path


@pytest.mark.parametrize("mode", ["default", "published"])
def test_the_step_writes_what_the_models_said(make_events: Callable[..., pa.Table], tmp_path: Path, mode: str) -> None:
    table = make_events(simulated(250))
    folder = workspace(tmp_path, table)
    online = {"mode": mode, "models": ["evergreen", "markov"], "seeds": 2, "outcome": ["c", "d"]}
    online["settings"] = {"evergreen": {"model": {"replay": QUICK.replay.model_dump()}}}
    run(folder, {"seed": 3, "threads": 1, "online": online})
    ledger = pq.read_table(folder / "predictions.parquet").to_pandas()
    metrics = read_json(folder / "metrics.json")["models"]
    assert list(metrics) == ["evergreen", "markov"]
    for name, part in ledger.groupby("model"):
        assert part["example_id"].is_unique
        assert len(part) == metrics[name]["n_scored"]
        score = f1_score(part["label"], part["prediction"], average="macro")
        assert metrics[name]["macro_f1_by_seed"][0] == pytest.approx(score)
        assert (part["predicted_at"] <= part["label_at"]).all()
        real = part[part["event_index"].notna()]
        truth = table.to_pandas().set_index("event_index").loc[real["event_index"].astype(int)]
        assert (truth["activity"].to_numpy() == real["label"].to_numpy()).all()
        assert (truth["case_id"].to_numpy() == real["case_id"].to_numpy()).all()
    ours = metrics["evergreen"]
    assert 0.5 < ours["outcome_auc"] <= 1
    assert ours["remaining_time_mae"] > 0
    assert ours["seeds"] == 2
    assert set(read_json(folder / "metrics.timing.json")) == {"evergreen", "markov"}
    assert isinstance(read_json(folder / "drifts.json"), list)
    champion = bundle.load(folder / "data" / "process" / "models" / "champion")
    assert champion.facts["mode"] == mode
    assert {champion.names[code] for code in champion.outcomes} == {"c", "d"}


@pytest.mark.parametrize(
    ("online", "message"),
    [({"models": ["nonsense"]}, "no model"), ({"outcome": ["nonsense"]}, "no activity"), ({"seed": 1}, "Known keys")],
)
def test_what_does_not_exist_is_refused(
    make_events: Callable[..., pa.Table], tmp_path: Path, online: dict[str, Any], message: str
) -> None:
    folder = workspace(tmp_path, make_events(simulated(30)))
    with pytest.raises(BadInputError, match=message):
        run(folder, {"online": online})


def test_a_log_without_anything_to_predict_is_refused(make_events: Callable[..., pa.Table], tmp_path: Path) -> None:
    folder = workspace(tmp_path, make_events([("x", "a", 1.0, None)]))
    with pytest.raises(BadInputError, match="longer log"):
        run(folder, {"online": {"mode": "default"}})
