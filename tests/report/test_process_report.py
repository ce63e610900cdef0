import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.process import discovery, motivating_example
from evergreen.process.log_table import log_table
from evergreen.report import process
from evergreen.report.process_inputs import ModelAnswers, read_process_inputs
from evergreen.report.process_scores import by_activity, mixups, sliding, window_of
from tests.report.html_page import Page, assert_sound

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # matplotlib: a drawing that has no room

DECISIONS = ("promoted", "kept", "promoted", "too few rows")
DOCS = "data/process/validation/docs/index.html"
PARAMS: dict[str, Any] = {
    "model_name": "evergreen-process", "seed": 0, "threads": 1, "champion": None,
    "source": {"log": "/somewhere/log.parquet", "columns": {}}, "online": {"mode": "default"},
}  # fmt: skip


def ledger(events: pd.DataFrame, model: str, said: dict[str, str]) -> pd.DataFrame:
    """A model that foresees every activity but those in ``said``, for which it says another."""
    ends = events.groupby("case_id").tail(1)
    closing = ends.assign(
        event_index=pd.NA, activity="_END_", timestamp=ends["timestamp"] + pd.Timedelta(seconds=1)
    )  # fmt: skip
    rows = pd.concat([events[events["case_id"].duplicated()], closing]).sort_values("timestamp", kind="stable")
    return pd.DataFrame(
        {
            "example_id": [f"{model}-{number}" for number in range(len(rows))],
            "model": model, "model_version": 0, "predicted_at": rows["timestamp"].to_numpy(),
            "prediction": rows["activity"].replace(said).to_numpy(), "score": 0.5,
            "label": rows["activity"].to_numpy(), "label_at": rows["timestamp"].to_numpy(),
            "event_index": rows["event_index"].astype("Int64").to_numpy(), "case_id": rows["case_id"].to_numpy(),
        }
    )  # fmt: skip


def make_run(folder: Path, rename: dict[str, str] | None = None) -> Path:
    """A finished run over the motivating example, with invented answers."""
    events = motivating_example.events()
    events["activity"] = events["activity"].replace(rename or {})
    odd = (rename or {}).get("G", "G")
    data = folder / "data" / "process"
    data.mkdir(parents=True)
    events.to_parquet(data / "events.parquet")
    answers = [
        ledger(events, "evergreen", {}),
        ledger(events, "markov", {odd: "_END_"}),
        ledger(events, "static", {odd: "A"}),
    ]
    pd.concat(answers).to_parquet(folder / "predictions.parquet")
    models = {
        name: {
            "macro_f1": float(f1_score(rows["label"], rows["prediction"], average="macro")),
            "accuracy": float((rows["label"] == rows["prediction"]).mean()), "n_scored": len(rows), "seeds": 1,
        }
        for name, rows in zip(("evergreen", "markov", "static"), answers, strict=True)
    }  # fmt: skip
    models["evergreen"] |= {"remaining_time_mae": 0.104167, "outcome_auc": 0.87, "spread": 0.004}
    write_json(folder / "metrics.json", {"models": models, "drifts": {"model": "evergreen", "count": 4}})
    drifts = [
        {
            "event_index": index, "timestamp": events["timestamp"][index].isoformat(), "detector": "adwin",
            "state": {"width": 64}, "adaptation": "finetune", "cost": 1.5e9, "gain": 0.02, "decision": decision,
            "reason": "gains",
        }
        for index, decision in zip(motivating_example.changes(), DECISIONS, strict=True)
    ]  # fmt: skip
    write_json(folder / "drifts.json", drifts)
    codes = [events[name].astype("category").cat.codes.to_numpy(np.int32) for name in ("case_id", "activity")]
    log = log_table(*codes, np.full(len(events), -1, np.int32), events["timestamp"].astype("int64").to_numpy())
    write_json(
        data / "metrics" / "ingest.json",
        {"mode": "default", "read": 1343, "accepted": 1340, "quarantined": 3, "log": log},
    )
    expectation = {
        "suite": "events", "check": "no activity", "level": "row", "column": "activity", "success": True,
        "expectation": "expect_column_values_to_not_be_null", "observed": [], "unexpected_count": 3, "limit": 0.2,
    }  # fmt: skip
    result = {"passed": True, "rows_read": 1343, "rows_accepted": 1340, "rows_quarantined": 3, "hash": "ab" * 32}
    write_json(
        data / "validation" / "result.json",
        {**result, "reasons": {"no activity": 3}, "expectations": [expectation], "failed": []},
    )
    discovery.run(folder, PARAMS)
    return folder


def sound(html: str) -> Page:
    page = assert_sound(html, DOCS)
    assert not page.all("img")
    return page


def render(folder: Path, params: dict[str, Any] = PARAMS) -> str:
    process.run(folder, params)
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("process"))


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return render(run)


def test_the_page_is_sound_and_says_what_the_files_say(run: Path, html: str) -> None:
    page = sound(html)
    models = read_json(run / "metrics.json")["models"]
    gain = 100 * (models["evergreen"]["macro_f1"] - models["markov"]["macro_f1"])
    for text in (
        "1,340 events of 260 cases, 7 activities.",
        f"macro-F of 100.0\u202f%, {gain:.1f} points above markov, the best of the others.",
        "4 drifts found, the first on 2020-01-18.",
        "1,343 events read = 1,340 accepted + 3 quarantined",
        "2.5\u202fh",
        "0.87",
        "After B comes D: 100\u202f% (0\u202f% before).",
        "C is gone (50 events before, 0 after).",
        "Cases end after F: 0\u202f% (100\u202f% before).",
        "Before: 420 events of 70 cases, 2020-01-01 to 2020-01-18. After: 70 events of 10 cases",
        "1.5e+09 FLOPs",
        "too few rows",
    ):
        assert text in page.text, text
    assert len(page.all("svg")) == 1 + 2 * 4
    assert {f"drift-{number}" for number in range(1, 5)} <= set(page.ids)


def test_the_same_run_gives_the_same_bytes_wherever_and_whenever(
    html: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    again = make_run(tmp_path)
    write_json(again / "metrics.timing.json", {"evergreen": 12.3})
    assert render(again) == html
    assert str(tmp_path) not in html
    assert "/somewhere" not in html


def test_names_are_escaped(tmp_path: Path) -> None:
    name = "<b>&\"' $x$ " + "long " * 20
    page = sound(render(make_run(tmp_path, {"G": name, "F": "100 %"})))
    assert name.strip() in page.text
    assert not page.all("b")


def without(run: Path, folder: Path, *names: str) -> Path:
    """A copy of a run that lacks some files."""
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run)
        if path.is_file() and not any(str(inside).startswith(name) for name in names):
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside).write_bytes(path.read_bytes())
    return folder


MISSING = {
    "no drift": (("drifts.json", "data/process/discovery"), "No drift was found"),
    "no comparison": (("data/process/discovery",), "4 drifts found"),
    "no answers": (("predictions.parquet",), "there is no curve"),
    "no ingest, no validation": (("data/process/metrics", "data/process/validation"), "left no figures"),
}


@pytest.mark.parametrize(("names", "expected"), MISSING.values(), ids=MISSING.keys())
def test_parts_may_be_missing(run: Path, tmp_path: Path, names: tuple[str, ...], expected: str) -> None:
    assert expected in sound(render(without(run, tmp_path, "report.html", *names))).text


def test_one_model_and_bare_records_are_enough(run: Path, tmp_path: Path) -> None:
    folder = without(run, tmp_path, "report.html", "predictions.parquet", "data/process/discovery")
    rows = pd.read_parquet(run / "predictions.parquet")
    rows[rows["model"] == "markov"].head(3).to_parquet(folder / "predictions.parquet")
    write_json(folder / "metrics.json", {"models": {"markov": {"macro_f1": 0.5}}})
    write_json(folder / "drifts.json", [{"event_index": 740}])
    page = sound(render(folder))
    assert "markov foresees the next activity with a macro-F of 50.0\u202f%." in page.text
    write_json(folder / "metrics.json", {"models": {}})
    (folder / "predictions.parquet").unlink()
    assert "No model was measured." in sound(render(folder)).text


def test_drifts_of_other_models_stay_out(run: Path, tmp_path: Path) -> None:
    folder = without(run, tmp_path, "report.html")
    drifts = read_json(folder / "drifts.json")
    write_json(folder / "drifts.json", [{"model": "darwin", "event_index": 5}, *drifts[1:]])
    discovery.run(folder, PARAMS)
    page = sound(render(folder))
    assert "3 drifts found, the first on 2020-01-21." in page.text
    assert len(page.all("svg")) == 1 + 2 * 3


def test_only_the_drifts_with_most_changes_are_drawn(run: Path, tmp_path: Path) -> None:
    folder = without(run, tmp_path, "report.html")
    page = sound(render(folder, {**PARAMS, "report": {"graphs": 1, "changes": 2, "confusion": 3}}))
    assert len(page.all("svg")) == 1 + 2
    assert "more changes" in page.text
    assert "others" in page.text


def test_bad_calls_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="online"):
        process.run(tmp_path, PARAMS)
    with pytest.raises(BadInputError, match="grahps"):
        process.run(tmp_path, {**PARAMS, "report": {"grahps": 1}})


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=80)


def answered(rows: list[tuple[int, int]]) -> ModelAnswers:
    prediction, label = np.array(rows, np.int64).T
    return ModelAnswers(("A", "B", "C", "D", "E"), prediction, label, np.arange(len(rows)) * 1_000_000)


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_the_curve_is_macro_f_of_each_window(rows: list[tuple[int, int]]) -> None:
    curve = sliding(answered(rows))
    assert curve.scored[-1] == len(rows)
    assert curve.window == window_of(len(rows))
    for end, value in zip(curve.scored.tolist(), curve.macro_f1.tolist(), strict=True):
        said, true = zip(*rows[end - curve.window : end], strict=True)
        assert value == pytest.approx(f1_score(true, said, average="macro", zero_division=0))


@settings(max_examples=30, deadline=None)
@given(pairs, pairs)
def test_scores_by_activity_are_those_of_scikit_learn(
    rows: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    found = by_activity(answered(rows), {"rival": answered(other)})
    said, true = zip(*rows, strict=True)
    codes = sorted({*said, *true})
    expected = precision_recall_fscore_support(true, said, labels=codes, zero_division=0)
    assert {row.name for row in found} == {"ABCDE"[code] for code in codes}
    assert [row.support for row in found] == sorted((row.support for row in found), reverse=True)
    for row in found:
        at = codes.index("ABCDE".index(row.name))
        assert [row.precision, row.recall, row.f1, row.support] == pytest.approx([part[at] for part in expected])
        assert row.other == "rival"


@given(pairs, st.integers(2, 5))
def test_mixups_count_every_answer_about_what_is_shown(rows: list[tuple[int, int]], most: int) -> None:
    found = mixups(answered(rows), most)
    for name, counts, shares in zip(found.rows, found.counts, found.shares, strict=True):
        said = [p for p, true in rows if true == "ABCDE".index(name)]
        assert sum(counts) == len(said)
        assert sum(shares) == pytest.approx(1)
        for column, number in zip(found.columns, counts, strict=True):
            if column != "others":
                assert number == said.count("ABCDE".index(column))


def test_the_ledger_is_read_in_the_order_of_the_stream(run: Path) -> None:
    inputs = read_process_inputs(run, PARAMS)
    assert inputs.main == "evergreen"
    answers = inputs.answers["markov"]
    assert (np.diff(answers.moment) >= 0).all()
    names = np.array(answers.classes)
    rows = pd.read_parquet(run / "predictions.parquet", filters=[("model", "==", "markov")])
    assert names[answers.label].tolist() == rows.sort_values("label_at", kind="stable")["label"].tolist()
