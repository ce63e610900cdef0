"""The ledger of a churn run in counts, and the curves made of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from evergreen.report import retail_ledger
from evergreen.report.retail_ledger import Tally, read_tallies
from evergreen.report.retail_scores import balance, calibration, cumulative, lead, macro_f, windowed

FIRST = pd.Timestamp("2026-03-01", tz="UTC")


def ledger(rows: int = 4000, days: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    day = np.sort(rng.integers(0, days, rows))
    score = rng.random(rows)
    label = np.where(rng.random(rows) < score, "1", "0").astype(object)
    label[rng.random(rows) < 0.1] = None
    told = (FIRST + pd.to_timedelta(day + rng.integers(0, 5, rows), unit="D")).to_series(index=range(rows))
    return pd.DataFrame(
        {
            "example_id": [f"e{i}" for i in range(rows)],
            "model": np.where(np.arange(rows) % 2, "evergreen", "tsunami"),
            "model_version": "1",
            "predicted_at": FIRST + pd.to_timedelta(day, unit="D") + pd.Timedelta(hours=23),
            "prediction": np.where(score > 0.5, "1", "0"),
            "score": score,
            "label": label,
            "label_at": told.where(pd.Series(label).notna(), pd.NaT),
        }
    )


@pytest.fixture
def tallies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tally]:
    monkeypatch.setattr(retail_ledger, "ROWS_AT_ONCE", 700)  # several pieces
    ledger().to_parquet(tmp_path / "predictions.parquet")
    return read_tallies(tmp_path / "predictions.parquet")


@pytest.fixture
def own() -> pd.DataFrame:
    rows = ledger()
    rows = rows[(rows["model"] == "evergreen") & rows["label"].notna()]
    return rows.assign(day=(rows["predicted_at"] - pd.Timestamp(0, tz="UTC")).dt.days)


def score(rows: pd.DataFrame) -> float:
    return float(f1_score(rows["label"] == "1", rows["prediction"] == "1", average="macro"))


def test_no_ledger_no_counts(tmp_path: Path) -> None:
    assert read_tallies(tmp_path / "predictions.parquet") == {}


def test_every_answer_is_counted_once(tallies: dict[str, Tally]) -> None:
    assert list(tallies) == ["evergreen", "tsunami"]
    for name, tally in tallies.items():
        rows = ledger()
        rows = rows[rows["model"] == name]
        assert tally.confusions().sum() == rows["label"].notna().sum() == tally.bins[:, 0].sum()
        assert sum(tally.waiting.values()) == rows["label"].isna().sum()
        assert sum(counts.sum() for counts in tally.told.values()) == rows["label"].notna().sum()


def test_macro_f_over_a_window_and_from_the_start(tallies: dict[str, Tally], own: pd.DataFrame) -> None:
    recent, overall = windowed(tallies["evergreen"], 7), cumulative(tallies["evergreen"])
    np.testing.assert_array_equal(recent.days, np.unique(own["day"]))
    for day, one, two in zip(recent.days, recent.values, overall.values, strict=True):
        assert one == pytest.approx(score(own[(own["day"] <= day) & (own["day"] > day - 7)]))
        assert two == pytest.approx(score(own[own["day"] <= day]))


def test_a_lead_is_a_difference_on_common_days() -> None:
    one, two = Tally(), Tally()
    one.decided = {1: np.diag([5, 5]), 2: np.array([[3, 2], [1, 4]])}
    two.decided = {2: np.diag([1, 1]), 3: np.diag([1, 1])}
    found = lead(cumulative(one), cumulative(two))
    assert found.days.tolist() == [2]
    assert found.values[0] == pytest.approx(macro_f(np.array([[8, 2], [1, 9]])) - 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_macro_f_of_counts_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    labels, predictions = np.array(pairs).T
    counts = np.bincount(2 * labels + predictions, minlength=4).reshape(2, 2)
    assert macro_f(counts) == pytest.approx(f1_score(labels, predictions, average="macro"))


def test_nothing_counted_has_no_macro_f() -> None:
    assert np.isnan(macro_f(np.zeros((2, 2), np.int64)))


def test_balance_is_by_the_day_of_the_label(tallies: dict[str, Tally], own: pd.DataFrame) -> None:
    found = balance({"evergreen": tallies["evergreen"]}, 1)
    told = (own["label_at"] - pd.Timestamp(0, tz="UTC")).dt.days
    expected = (own["label"] == "1").groupby(told).mean()
    np.testing.assert_array_equal(found.days, expected.index)
    np.testing.assert_allclose(found.values, expected)
    assert len(balance({}, 1).days) == 0


def test_scores_that_are_chances_are_calibrated(tallies: dict[str, Tally]) -> None:
    found = calibration(tallies["evergreen"])
    assert found is not None
    assert found.error < 0.05
    assert (np.abs(found.score - found.churned) < 0.2).all()
    assert calibration(Tally()) is None
