"""A run explained: samples, versions, ranks and drift cards."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from evergreen.retail.drift_card import CardConfig, drift_card, versions_around
from evergreen.retail.explained_run import SHAP, Explained, ExplanationsConfig, decisions_of, explain_run
from evergreen.retail.explanation_files import read, write

NAMES = [f"{kind}_{period}" for period in (1, 2, 3) for kind in ("recency", "frequency", "monetary")]
CONFIG = ExplanationsConfig(per_day=4, background=10, orders=4, cards=CardConfig(days=5, customers=20, orders=4))
FIRST = pd.Timestamp("2026-01-01", tz="UTC")


def by_recency(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(features[:, 6] / 120, 0, 1)


def by_frequency(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + features[:, 7])


MODELS = {1: by_recency, 2: by_frequency}


def made_up(days: int = 20, customers: int = 8, change: int = 10) -> pd.DataFrame:
    """Decisions of two versions; each customer has two a day."""
    rng = np.random.default_rng(0)
    count = days * customers * 2
    day = np.repeat(np.arange(days), customers * 2)
    features = np.column_stack(
        [rng.integers(0, 120, count) if i % 3 == 0 else rng.integers(0, 9, count) for i in range(9)]
    )
    version = np.where(day <= change, 1, 2)
    score = np.where(version == 1, by_recency(features), by_frequency(features))
    label = (rng.random(count) < score).astype(int).astype(str)
    examples = pd.DataFrame(features.astype(float), columns=NAMES)
    examples["example_id"] = [f"e{i}" for i in range(count)]
    examples["customer_id"] = [f"c{i % customers}" for i in range(count)]
    ledger = pd.DataFrame(
        {
            "example_id": examples["example_id"], "model": "evergreen", "model_version": version.astype(str),
            "predicted_at": FIRST + pd.to_timedelta(day * 24 + 23, unit="h"), "prediction": "1", "score": score,
            "label": label,
        }
    )  # fmt: skip
    return decisions_of(examples, ledger.sample(frac=1, random_state=0))


DRIFT = {"day": "2026-01-11", "detector": "adwin", "decision": "promoted"}


@pytest.fixture(scope="module")
def explained() -> Explained:
    return explain_run(made_up(), MODELS, [DRIFT], CONFIG, seed=0)


def test_some_decisions_of_each_day_of_as_many_customers(explained: Explained) -> None:
    days = explained.decisions["predicted_at"].dt.floor("D")
    assert (days.value_counts() == 4).all()
    assert days.nunique() == 20
    customers = made_up().set_index("example_id")["customer_id"]
    pairs = pd.DataFrame({"day": days, "customer": customers[explained.decisions["example_id"]].to_numpy()})
    assert not pairs.duplicated().any()


def test_each_decision_is_explained_by_the_version_that_took_it(explained: Explained) -> None:
    found = explained.decisions
    values = found[[f"{SHAP}{name}" for name in NAMES]].to_numpy()
    np.testing.assert_allclose(found["base"] + values.sum(axis=1), found["score"], atol=1e-12)
    first = (found["model_version"] == "1").to_numpy()
    assert np.abs(values[first][:, 6]).max() > 0
    assert np.abs(values[first][:, [i for i in range(9) if i != 6]]).max() == 0
    assert np.abs(values[~first][:, [i for i in range(9) if i != 7]]).max() == 0
    assert explained.summary["additivity_error"] < 1e-12
    assert explained.summary["largest_distance_to_the_ledger"] < 1e-12


def test_ranks_of_each_day(explained: Explained) -> None:
    ranks = explained.ranks.pivot(index="day", columns="feature", values="rank")
    assert (np.sort(ranks.to_numpy(), axis=1) == np.arange(1, 10)).all()
    assert (ranks["recency_3"].to_numpy() == np.where(np.arange(20) <= 10, 1, ranks["recency_3"])).all()
    assert (ranks["frequency_3"].iloc[11:] == 1).all()


def test_importances_by_version(explained: Explained) -> None:
    one, two = explained.summary["versions"]
    assert (one["model_version"], two["model_version"]) == (1, 2)
    assert max(one["importance"], key=one["importance"].get) == "recency_3"
    assert max(two["importance"], key=two["importance"].get) == "frequency_3"
    assert one["decisions"] + two["decisions"] == explained.summary["decisions"]


def test_the_card_of_a_drift(explained: Explained) -> None:
    (card,) = explained.cards
    assert card["drift"] == DRIFT
    assert card["customers"] == {"before": 8, "after": 8}
    assert card["versions"] == [1, 2]
    moved = {row["feature"]: row["after"] - row["before"] for row in card["importance"]}
    assert moved["recency_3"] < 0 < moved["frequency_3"]
    assert card["worth"]["auc_new"] > card["worth"]["auc_old"]
    assert card["worth"]["log_loss_new"] < card["worth"]["log_loss_old"]
    assert card["worth"]["decisions"] == 5 * 16


def test_a_card_compares_the_days_before_the_alarm_with_those_before() -> None:
    decisions = made_up()
    late = decisions["day"] > pd.Timestamp("2026-01-06")
    decisions.loc[late, "recency_3"] += 500
    card = drift_card(DRIFT, decisions, MODELS, decisions[NAMES].to_numpy()[:5], CONFIG.cards, 0)
    assert card["features"][0]["feature"] == "recency_3"
    assert card["features"][0]["ks"] == 1
    assert card["features"][0]["after"] > 500 > card["features"][0]["before"]


def test_no_new_version_no_reasons_to_compare() -> None:
    decisions = made_up(change=30)
    card = drift_card(DRIFT, decisions, MODELS, decisions[NAMES].to_numpy()[:5], CONFIG.cards, 0)
    assert card["versions"] is None
    assert card["worth"] is None
    assert card["features"] is not None
    early = {**DRIFT, "day": "2025-01-01"}
    assert drift_card(early, decisions, MODELS, decisions[NAMES].to_numpy()[:5], CONFIG.cards, 0)["features"] is None
    assert versions_around(made_up(), pd.Timestamp("2026-01-11"), {1: by_recency}) is None


def test_decisions_of_unknown_versions_are_counted_and_left_out() -> None:
    found = explain_run(made_up(), {1: by_recency}, [], CONFIG, seed=0)
    assert set(found.decisions["model_version"]) == {"1"}
    assert found.summary["without_model"] == 9 * 16


def test_no_decisions_no_explanations() -> None:
    found = explain_run(made_up().head(0), MODELS, [], CONFIG, seed=0)
    assert found.decisions.empty
    assert found.ranks.empty
    assert found.summary["versions"] == []


def test_other_customers_and_labels_change_no_explanation() -> None:
    decisions = made_up()
    found = explain_run(decisions, MODELS, [], CONFIG, seed=0).decisions
    other = explain_run(decisions.assign(label="0"), MODELS, [], CONFIG, seed=0).decisions
    pd.testing.assert_frame_equal(found, other)


def test_files(tmp_path: Path, explained: Explained) -> None:
    folder = tmp_path / "explanations"
    assert read(folder) is None
    write(folder, explained)
    found = read(folder)
    assert found is not None
    pd.testing.assert_frame_equal(found.decisions, explained.decisions)
    pd.testing.assert_frame_equal(found.ranks, explained.ranks)
    assert found.summary == explained.summary
    assert found.cards == explained.cards
