"""The page about a run of the retail pipeline, whatever the earlier steps left."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.report import retail
from evergreen.report.beeswarm import HALF, SHADES, offsets, shades
from evergreen.report.retail_words import feature_label
from evergreen.retail.drift_card import CardConfig
from evergreen.retail.explained_run import ExplanationsConfig, decisions_of, explain_run
from evergreen.retail.explanation_files import FOLDER, write
from tests.report.html_page import assert_sound

DOCS = "data/retail/validation/docs/index.html"
NAMES = [f"{kind}_{period}" for period in (1, 2) for kind in ("recency", "frequency", "monetary")]
FIRST = pd.Timestamp("2026-03-01", tz="UTC")
PARAMS: dict[str, Any] = {
    "seed": 0,
    "threads": 1,
    "source": {"receipts": "/somewhere/receipts.csv"},
    "examples": {"mode": "default", "period_days": 90},
}
TUNED = {"model": "evergreen", "day": "2026-03-16", "adaptation": "finetune", "flops": 2e9, "gain": 0.03}
KEPT = {"model": "evergreen", "day": "2026-03-25", "adaptation": "retrain", "flops": 1e9, "gain": -0.01}
DRIFTS = [
    {"model": "tsunami", "day": "2026-03-14", "adaptation": "finetune", "decision": "promoted"},
    {**TUNED, "decision": "promoted"},
    {**KEPT, "decision": "kept"},
]
SPREAD = {"mean": 2.5, "median": 2.0}
DATA = {
    "customers": 40, "customers_with_one_receipt": 3, "products": None, "receipts": 1234, "items": 99.0,
    "amount": 1000.0, "first_day": "2025-01-01", "last_day": "2026-04-01", "days": 456, "days_without_receipts": 7,
    "receipts_a_day": {"mean": 2.7, "max": 9}, "items_a_receipt": SPREAD, "amount_a_receipt": SPREAD,
    "days_between_receipts": None,
}  # fmt: skip


def answer(features: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + features[:, 3] / 200 - features[:, 4] / 20, 0.01, 0.99)


def other(features: np.ndarray) -> np.ndarray:
    return np.clip(0.3 + features[:, 3] / 150, 0.01, 0.99)


class Run:
    """A workspace as the retail pipeline leaves it, made up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = ["evergreen", "tsunami", "xgboost-window"]
        self.drifts: list[dict[str, Any]] = DRIFTS
        self.explained = self.ingested = True

    def build(self) -> None:
        rng = np.random.default_rng(0)
        days, customers = 40, 30
        count = days * customers
        day = np.repeat(np.arange(days), customers)
        features = np.column_stack([rng.integers(0, 9 if i % 3 else 90, count) for i in range(6)]).astype(float)
        examples = pd.DataFrame(features, columns=NAMES)
        examples["example_id"] = [f"e{i}" for i in range(count)]
        examples["customer_id"] = [f"c{i % customers}" for i in range(count)]
        version = np.where(day <= 15, 1, 2)
        score = np.where(version == 1, answer(features), other(features))
        label = np.where(rng.random(count) < score, "1", "0")
        parts = []
        for number, name in enumerate(self.models):
            noisy = np.clip(score + number * rng.normal(0, 0.2, count), 0, 1)
            parts.append(
                pd.DataFrame(
                    {
                        "example_id": examples["example_id"], "model": name, "model_version": version.astype(str),
                        "predicted_at": FIRST + pd.to_timedelta(day, unit="D"),
                        "prediction": np.where(noisy > 0.5, "1", "0"), "score": noisy, "label": label,
                        "label_at": FIRST + pd.to_timedelta(day + 3, unit="D"),
                    }
                )
            )  # fmt: skip
        ledger = pd.concat(parts) if parts else pd.DataFrame()
        if parts:
            ledger.to_parquet(self.folder / "predictions.parquet")
        found = {
            name: {
                "macro_f1": 0.8 - 0.05 * number, "f1_churn": 0.9, "f1_non_churn": 0.7, "auc": 0.88, "n_scored": count,
                "seeds": 3, "spread": 0.004,
                "matured": {"macro_f1": 0.72 - 0.05 * number},
            }
            for number, name in enumerate(self.models)
        }  # fmt: skip
        published = {"view": "published", "models": found}
        counts = {name: 2 for name in self.models}
        metrics = {"view": "default", "models": found, "drifts": counts}
        both = {"other_view": published, "gap": {name: 0.08 for name in self.models}}
        write_json(self.folder / "metrics.json", metrics | (both if len(self.models) > 1 else {}))
        write_json(self.folder / "drifts.json", self.drifts)
        if self.explained:
            cards = CardConfig(days=5, customers=10, orders=2)
            config = ExplanationsConfig(per_day=3, background=10, orders=2, cards=cards)
            own = decisions_of(examples, ledger[ledger["model"] == "evergreen"])
            write(self.folder / FOLDER, explain_run(own, {1: answer, 2: other}, self.drifts[1:], config, 0))
        if self.ingested:
            self._ingested()

    def _ingested(self) -> None:
        data = self.folder / "data" / "retail"
        expectation = {
            "suite": "lines", "check": "amounts are <numbers>", "column": "amount", "success": True,
            "unexpected_count": 3, "limit": 0.2,
        }  # fmt: skip
        result = {
            "passed": True, "rows_read": 1300, "rows_accepted": 1234, "rows_quarantined": 66,
            "reasons": {"customer is missing": 66}, "expectations": [expectation], "failed": [],
            "warnings": ["Day and month seem to be swapped."], "hash": "a" * 64,
        }  # fmt: skip
        write_json(data / "validation" / "result.json", result)
        write_json(data / "metrics" / "ingest.json", {"data": DATA})
        examples = {"rows": 1500, "labelled": 1200, "churn_share": 0.25, "first_day": "2026-03-04", "last_day": None}
        write_json(data / "metrics" / "examples.json", examples)

    def page(self) -> str:
        retail.run(self.folder, PARAMS)
        return (self.folder / "report.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>")[1]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("retail"))
    run.build()
    return run


@pytest.fixture(scope="module")
def page(whole: Run) -> str:
    return whole.page()


def test_the_whole_page(page: str) -> None:
    text = text_of(page)
    assert "evergreen tells who will churn with a macro-F of 80.0" in text
    assert "5.0 points above tsunami, the best of the others" in text
    assert "2 drifts found, the first on 2026-03-16; 1 of them put a new model into service" in text
    assert "1,300 lines read = 1,234 accepted + 66 quarantined" in text
    assert "customer is missing" in text
    assert "Day and month seem to be swapped." in text
    assert "amounts are <numbers>" not in page  # escaped
    for name in ("f-over-time", "leads", "class-balance", "calibration", "ranks", "swarm-1", "swarm-2"):
        assert f"{name}-" in page, name
    assert page.count('class="drawing"') == 7
    assert text.count("Drift 1, 2026-03-16") == 1
    assert "version 1 would have had" in text
    assert "Cohorts: new" in text
    assert "72.0 % 80.0 % +8.0" in text  # both views and the gap
    assert "spread 0.4" in text


def test_the_page_is_sound(page: str) -> None:
    assert len(assert_sound(page, DOCS).all("svg")) == 7
    assert "/somewhere" not in page


def test_the_same_inputs_give_the_same_bytes_whatever_the_time_spent(whole: Run, page: str) -> None:
    write_json(whole.folder / "metrics.timing.json", {"online/evergreen": 12.5})
    assert whole.page() == page


@pytest.mark.parametrize("models", [["evergreen"], ["tsunami", "xgboost-window"], []])
def test_does_with_what_there_is(tmp_path: Path, models: list[str]) -> None:
    run = Run(tmp_path)
    run.models, run.drifts, run.explained, run.ingested = models, [], False, False
    run.build()
    text = assert_sound(run.page(), DOCS).text
    assert "No drift was found" in text
    assert "No decision was explained" in text
    assert "The step ingest left no figures" in text
    if not models:
        assert "No model was measured" in text
    if "evergreen" not in models and models:
        assert "tsunami tells who will churn" in text
    assert ("Against each rival" in text) == (len(models) > 1)


def test_without_metrics_it_says_which_step_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"metrics\.json.*online"):
        retail.run(tmp_path, PARAMS)


def test_a_drift_without_a_new_version_has_no_reasons_to_compare(page: str) -> None:
    second = page[page.index('id="drift-2"') : page.index('id="reasons"')]
    assert "table of customers at drift 2" in second
    assert "table of reasons at drift 2" not in second


def test_every_feature_has_a_label() -> None:
    labels = [feature_label(name, 2, 90) for name in NAMES]
    assert len(set(labels)) == len(NAMES)
    assert labels[0] == "recency, 90–179 days ago"


def test_dots_of_a_swarm_stay_on_their_line_and_apart() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.05, 500)
    moved = offsets(values, float(np.abs(values).max()))
    assert np.abs(moved).max() <= HALF + 1e-12
    column = np.round(values / np.abs(values).max() * 60).astype(int)
    assert len(set(zip(column.tolist(), np.round(moved, 9).tolist(), strict=True))) == len(values)
    np.testing.assert_array_equal(offsets(np.zeros(1), 1.0), [0.0])


def test_shades_follow_the_value_and_ties_share_one() -> None:
    found = shades(np.array([3.0, 1.0, 2.0, 2.0, 9.0, 5.0, 7.0, 8.0, 4.0, 6.0]))
    assert found[2] == found[3]
    assert (found[1], found[4]) == (0, len(SHADES) - 1)
    assert len(set(shades(np.zeros(7)))) == 1
    assert len(shades(np.zeros(0))) == 0
