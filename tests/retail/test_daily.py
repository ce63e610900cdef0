"""Following days one by one: every customer answered once a day, every outcome joined once, nothing seen too early."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from evergreen.files import read_json
from evergreen.retail.daily import FOLDER, LEAST, DailyState, follow, keep
from evergreen.retail.examples import run

START = date(2026, 1, 1)
SIZES = {"period_days": 15, "periods": 3, "churn_days": 10}


class Rule:
    """The longer since the last purchase, the greater the risk. No network is needed to follow days."""

    weights_sha256 = "rule"
    threshold = 0.5
    periods = 3

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        return np.clip(features[:, 6] / 10, 0.05, 0.95)


def write(workspace: Path, until: int) -> None:
    """The receipts up to a day, and the examples made of them."""
    rng = np.random.default_rng(1)
    days = np.sort(rng.integers(0, 60, 400))
    customers = rng.integers(0, 50, 400)
    kept = days <= until
    times = np.datetime64(START, "us") + days[kept].astype("timedelta64[D]") + np.timedelta64(12, "h")
    count = int(kept.sum())
    table = pa.table(
        {
            "receipt_id": [f"r{i}" for i in range(count)],
            "customer_id": [f"c{i}" for i in customers[kept]],
            "quantity": np.ones(count),
            "amount": np.full(count, 5.0),
            "timestamp": times,
            "row": np.arange(count),
        }
    )
    (workspace / "data/retail").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, workspace / "data/retail/receipts.parquet")
    run(workspace, {"examples": {**SIZES, "last_day": (START + timedelta(days=until)).isoformat()}})


def day_after_day(workspace: Path, days: list[int]) -> list:
    found = []
    for until in days:
        write(workspace, until)
        state = DailyState.read(workspace / FOLDER, "rule")
        found.append(follow(workspace, Rule(), state))
        keep(workspace, found[-1])
    return found


def test_each_customer_of_each_day_is_answered_once_and_told_once(tmp_path: Path) -> None:
    found = day_after_day(tmp_path, [30, 31, 33, 45, 59])
    answered = pa.concat_tables([day.answers for day in found])["example_id"].to_pylist()
    told = pa.concat_tables([day.labels for day in found])
    assert len(answered) == len(set(answered))
    assert len(told) == len(set(told["example_id"].to_pylist()))
    examples = pq.read_table(tmp_path / "examples.parquet")
    ends = examples.filter(pc.ends_with(examples["example_id"], "/0"))
    after = ends.filter(pc.greater_equal(ends["generated_on"], START + timedelta(days=30)))
    assert set(answered) == set(after["example_id"].to_pylist())
    known = after.filter(after["label"].is_valid())
    assert set(told["example_id"].to_pylist()) == set(known["example_id"].to_pylist())
    labels = dict(zip(known["example_id"].to_pylist(), known["label"].to_pylist(), strict=True))
    assert {row["example_id"]: row["label"] == "1" for row in told.to_pylist()} == labels
    waiting = set(pq.read_table(tmp_path / FOLDER / "open.parquet")["example_id"].to_pylist())
    assert waiting == set(answered) - set(labels)


def test_an_answer_is_the_same_however_many_days_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = day_after_day(tmp_path / "a", [30, 31, 32, 33, 34])
    many = day_after_day(tmp_path / "b", [30, 34])

    def risks(days: list) -> dict[str, float]:
        table = pa.concat_tables([day.answers for day in days])
        return dict(zip(table["example_id"].to_pylist(), table["risk"].to_pylist(), strict=True))

    assert risks(one) == risks(many)


def test_the_loss_is_that_of_the_answers_that_were_given(tmp_path: Path) -> None:
    first, second = day_after_day(tmp_path, [30, 50])
    answers = pa.concat_tables([first.answers, second.answers])
    risk = dict(zip(answers["example_id"].to_pylist(), answers["risk"].to_pylist(), strict=True))
    given = [
        risk[row["example_id"]] if row["label"] == "1" else 1 - risk[row["example_id"]]
        for row in second.labels.to_pylist()
    ]
    expected = np.mean([np.log(max(p, LEAST)) / np.log(LEAST) for p in given])
    assert second.loss == pytest.approx(expected)
    assert first.loss is None


def test_a_day_that_was_cut_off_is_done_again_the_same(tmp_path: Path) -> None:
    day_after_day(tmp_path, [30])
    write(tmp_path, 32)
    state = DailyState.read(tmp_path / FOLDER, "rule")
    before = follow(tmp_path, Rule(), state)
    again = follow(tmp_path, Rule(), DailyState.read(tmp_path / FOLDER, "rule"))
    assert before.answers.equals(again.answers)
    keep(tmp_path, again)
    scores = sorted(path.stem for path in (tmp_path / FOLDER / "scores").iterdir())
    assert scores == ["2026-01-31", "2026-02-01", "2026-02-02"]


def test_another_model_starts_its_detector_anew(tmp_path: Path) -> None:
    day_after_day(tmp_path, [30, 45])
    state = DailyState.read(tmp_path / FOLDER, "rule")
    other = DailyState.read(tmp_path / FOLDER, "other")
    assert state.detector is not None
    assert other == replace(state, weights_sha256="other", detector=None)
    assert read_json(tmp_path / FOLDER / "state.json")["weights_sha256"] == "rule"
