"""The prediction ledger and accuracy over time, against dictionaries and row-by-row scans."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.accuracy import accuracy_over_time
from evergreen.stream.predictions import AT_ONCE, PredictionLedger

DAY = pd.Timedelta("1D")
START = pd.Timestamp("2026-01-01", tz="UTC")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(url: str, request: pytest.FixtureRequest) -> Iterator[PredictionLedger]:
    """One for each test: the server is shared, so the domain is the test's own."""
    opened = PredictionLedger(url, request.node.name[:50])
    yield opened
    opened.close()


def answers(count: int, first: int = 0, **columns: object) -> pd.DataFrame:
    numbers = np.arange(first, first + count)
    frame = {
        "example_id": [f"e{n}" for n in numbers],
        "model": "champion",
        "model_version": "1",
        "predicted_at": START + pd.to_timedelta(numbers, unit="h"),
        "prediction": [f"c{n % 3}" for n in numbers],
        "score": (numbers % 7) / 7,
    }
    return pd.DataFrame({**frame, **columns})


def labels(count: int, first: int = 0, late: str = "2D") -> pd.DataFrame:
    numbers = np.arange(first, first + count)
    return pd.DataFrame(
        {
            "example_id": [f"e{n}" for n in numbers],
            "label": [f"c{n % 2}" for n in numbers],
            "label_at": START + pd.to_timedelta(numbers, unit="h") + pd.Timedelta(late),
        }
    )


def everything(ledger: PredictionLedger, **filters: object) -> pd.DataFrame:
    frames = list(ledger.read(**filters))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["example_id"])


def test_answers_wait_for_their_labels(ledger: PredictionLedger) -> None:
    assert ledger.record(answers(5)) == 5
    assert everything(ledger)["label"].isna().all()
    assert ledger.add_labels(labels(3)) == 3
    found = everything(ledger)
    assert found["label"].tolist()[:3] == ["c0", "c1", "c0"]
    assert found["label"].isna().tolist() == [False, False, False, True, True]
    assert found["predicted_at"].tolist() == answers(5)["predicted_at"].tolist()
    assert found["label_at"].tolist()[:3] == labels(3)["label_at"].tolist()
    assert found["score"].tolist() == answers(5)["score"].tolist()


def test_labels_may_come_first_and_serve_every_model(ledger: PredictionLedger) -> None:
    ledger.add_labels(labels(2))
    ledger.record(answers(2))
    ledger.record(answers(2, model_version="2", prediction="c1"))
    found = everything(ledger)
    assert found["label"].tolist() == ["c0", "c0", "c1", "c1"]
    assert everything(ledger, model_version="2")["prediction"].tolist() == ["c1", "c1"]
    assert everything(ledger, model="nobody").empty


def test_entering_again_changes_nothing(ledger: PredictionLedger) -> None:
    ledger.record(answers(10))
    before = everything(ledger)
    assert ledger.record(answers(15, first=5)) == 10
    assert ledger.record(answers(20)) == 0
    assert ledger.add_labels(labels(4)) == 4
    assert ledger.add_labels(labels(6)) == 2
    pd.testing.assert_frame_equal(
        everything(ledger).iloc[:10].drop(columns=["label", "label_at"]), before.drop(columns=["label", "label_at"])
    )


@pytest.mark.parametrize(
    ("column", "value"), [("prediction", "c9"), ("score", 0.123), ("score", None), ("predicted_at", START)]
)
def test_contradictions_are_refused_and_enter_nothing(ledger: PredictionLedger, column: str, value: object) -> None:
    ledger.record(answers(5))
    changed = answers(AT_ONCE + 10)
    changed[column] = changed[column].astype(object)
    changed.at[3, column] = value
    if column == "predicted_at":
        changed[column] = pd.to_datetime(changed[column], utc=True)
    with pytest.raises(BadInputError, match=f"'e3' is already there with {column}.*now"):
        ledger.record(changed)
    assert len(everything(ledger)) == 5


def test_a_batch_that_contradicts_itself_is_refused(ledger: PredictionLedger) -> None:
    twice = pd.concat([answers(3), answers(3).assign(prediction="c8")])
    with pytest.raises(BadInputError, match="already there"):
        ledger.record(twice)
    assert everything(ledger).empty
    assert ledger.record(pd.concat([answers(3), answers(3)])) == 3


def test_another_label_is_refused(ledger: PredictionLedger) -> None:
    ledger.add_labels(labels(2))
    with pytest.raises(BadInputError, match=r"labels: 'e1' is already there with label 'c1', now 'c7'"):
        ledger.add_labels(labels(2).assign(label=["c0", "c7"]))


def test_the_ledger_as_it_was(ledger: PredictionLedger) -> None:
    ledger.record(answers(72))
    ledger.add_labels(labels(72))
    then = START + 2.5 * DAY
    found = everything(ledger, known_at=then)
    assert len(found) == 61
    assert found["label"].notna().sum() == 13
    assert (found["label_at"].dropna() <= then).all()
    part = everything(ledger, start=START + DAY, end=START + 2 * DAY)
    assert part["example_id"].tolist() == [f"e{n}" for n in range(24, 48)]


def test_domains_see_nothing_of_each_other(url: str) -> None:
    one, two = PredictionLedger(url, "one"), PredictionLedger(url, "two")
    one.record(answers(3))
    two.record(answers(2, prediction="c5"))
    two.add_labels(labels(2))
    assert everything(one)["label"].isna().all()
    assert len(everything(two)) == 2
    one.close()
    two.close()


def test_export_has_the_columns_of_the_contract(ledger: PredictionLedger, tmp_path: Path) -> None:
    ledger.record(answers(4))
    ledger.add_labels(labels(2))
    assert ledger.export(tmp_path / "predictions.parquet", known_at=START + 10 * DAY) == 4
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.column_names == [
        "example_id", "model", "model_version", "predicted_at", "prediction", "score", "label", "label_at",
    ]  # fmt: skip
    assert str(table.schema.field("predicted_at").type) == "timestamp[us, tz=UTC]"
    assert table["label"].to_pylist() == ["c0", "c1", None, None]
    assert table["predicted_at"].to_pylist() == [moment.to_pydatetime() for moment in answers(4)["predicted_at"]]


def test_process_answers_keep_their_event(tmp_path: Path) -> None:
    ledger = PredictionLedger(f"sqlite:///{tmp_path / 'l.db'}", "process")
    ledger.record(answers(2, event_index=[7, 9], case_id=["a", "b"]))
    ledger.export(tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names[-2:] == ["event_index", "case_id"]
    assert table["event_index"].to_pylist() == [7, 9]
    empty = PredictionLedger(f"sqlite:///{tmp_path / 'l.db'}", "images")
    assert empty.export(tmp_path / "none.parquet") == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_many_rows_go_in_and_come_out(ledger: PredictionLedger) -> None:
    count = 3 * AT_ONCE + 7
    assert ledger.record(answers(count)) == count
    assert ledger.record(answers(count)) == 0
    assert everything(ledger)["example_id"].tolist() == [f"e{n}" for n in range(count)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="model"), "lack model"),
        (lambda f: f.assign(colour="red"), "unknown columns colour"),
        (lambda f: f.assign(prediction=[None, "a"]), "empty values in prediction"),
        (lambda f: f.assign(predicted_at=f["predicted_at"].dt.tz_localize(None)), "expected times with a zone"),
        (lambda f: f.assign(score=np.inf), "infinity"),
    ],
)
def test_answers_that_do_not_fit_are_refused(tmp_path: Path, change: object, message: str) -> None:
    ledger = PredictionLedger(f"sqlite:///{tmp_path / 'l.db'}", "images")
    with pytest.raises(BadInputError, match=message):
        ledger.record(change(answers(2)))
    assert ledger.record(answers(0)) == 0


def test_what_is_no_database_is_refused() -> None:
    with pytest.raises(BadInputError, match="no database URL"):
        PredictionLedger("nonsense", "images")


steps = st.lists(
    st.tuples(
        st.sampled_from(["record", "label"]),
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=4),
    ),
    max_size=12,
)


@given(steps)
@settings(max_examples=40, deadline=None)
def test_agrees_with_two_dictionaries(history: list[tuple[str, list[tuple[int, int]]]]) -> None:
    ledger = PredictionLedger("sqlite://", "images")
    given_answers: dict[int, int] = {}
    given_labels: dict[int, int] = {}
    for action, pairs in history:
        known = given_answers if action == "record" else given_labels
        merged = dict(known)
        fits = all(merged.setdefault(number, value) == value for number, value in pairs)
        new = len(merged) - len(known)
        numbers, values = [n for n, _ in pairs], [f"c{v}" for _, v in pairs]
        if action == "record":
            frame = pd.concat([answers(1, first=n) for n in numbers]).assign(prediction=values)
        else:
            frame = pd.concat([labels(1, first=n) for n in numbers]).assign(label=values)
        act = ledger.record if action == "record" else ledger.add_labels
        if fits:
            assert act(frame) == new
            known.update(merged)
        else:
            with pytest.raises(BadInputError):
                act(frame)
    found = everything(ledger)
    expected = [
        (f"e{n}", f"c{v}", f"c{given_labels[n]}" if n in given_labels else None)
        for n, v in sorted(given_answers.items())
    ]
    rows = (
        []
        if found.empty
        else [
            (e, p, None if pd.isna(label) else label)
            for e, p, label in zip(found["example_id"], found["prediction"], found["label"], strict=True)
        ]
    )
    assert rows == expected


def naive_accuracy(frame: pd.DataFrame, every: pd.Timedelta, view: str) -> list[tuple[pd.Timestamp, int, int, float]]:
    """Row by row: the period of each answer or label, and whether its label counts there."""
    found: dict[pd.Timestamp, list[int]] = {}
    for row in frame.itertuples():
        known = not pd.isna(row.label_at)
        if view == "label" and not known:
            continue
        moment = row.label_at if view == "label" else row.predicted_at
        start = moment.floor(every)
        counts = found.setdefault(start, [0, 0, 0])
        counts[0] += 1
        if known and (view != "decision" or row.label_at < start + every):
            counts[1] += 1
            counts[2] += row.label == row.prediction
    return [(start, n, k, right / k if k else float("nan")) for start, (n, k, right) in sorted(found.items())]


hours = st.integers(0, 200)
outcome = st.tuples(hours, st.one_of(st.none(), hours), st.booleans())


@given(st.lists(outcome, max_size=30), st.sampled_from([1, 5, 24]), st.sampled_from(["decision", "label", "hindsight"]))
@settings(max_examples=60, deadline=None)
def test_accuracy_over_time_agrees_with_a_scan(rows: list[tuple[int, int | None, bool]], every: int, view: str) -> None:
    zero = pd.Timestamp(0, tz="UTC")
    frame = pd.DataFrame(
        {
            "predicted_at": pd.Series([zero + pd.Timedelta(hours=h) for h, _, _ in rows], dtype="datetime64[us, UTC]"),
            "prediction": pd.Series(["a"] * len(rows), dtype=object),
            "label": pd.Series([None if d is None else ("a" if ok else "b") for _, d, ok in rows], dtype=object),
            "label_at": pd.Series(
                [pd.NaT if d is None else zero + pd.Timedelta(hours=h + d) for h, d, _ in rows],
                dtype="datetime64[us, UTC]",
            ),
        }
    )
    length = pd.Timedelta(hours=every)
    expected = naive_accuracy(frame, length, view)
    for parts in ([frame], [frame.iloc[:7], frame.iloc[7:]]):
        series = accuracy_over_time(parts, length, view)
        assert series["start"].tolist() == [start for start, *_ in expected]
        assert (series["end"] - series["start"] == length).all()
        assert series["predictions"].tolist() == [n for _, n, _, _ in expected]
        assert series["labelled"].tolist() == [k for _, _, k, _ in expected]
        np.testing.assert_allclose(series["accuracy"].astype(float), [a for *_, a in expected])


def test_the_view_of_a_decision_does_not_change_with_later_labels(tmp_path: Path) -> None:
    ledger = PredictionLedger(f"sqlite:///{tmp_path / 'l.db'}", "images")
    ledger.record(answers(96))
    ledger.add_labels(labels(96, late="6h"))
    now = accuracy_over_time(ledger.read(), DAY, "decision")
    for day in range(1, 5):
        then = START + day * DAY
        past = accuracy_over_time(ledger.read(known_at=then - pd.Timedelta("1us")), DAY, "decision")
        pd.testing.assert_frame_equal(past, now.iloc[:day])
    assert now["labelled"].tolist() == [18, 18, 18, 18]
    assert accuracy_over_time(ledger.read(), DAY, "hindsight")["labelled"].tolist() == [24, 24, 24, 24]
    assert accuracy_over_time(ledger.read(), DAY, "label")["labelled"].tolist() == [18, 24, 24, 24, 6]
    assert json.loads(now.to_json())


def test_views_and_periods_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BadInputError, match="no view 'future'"):
        accuracy_over_time([], DAY, "future")
    with pytest.raises(BadInputError, match="positive"):
        accuracy_over_time([], 0 * DAY, "label")
