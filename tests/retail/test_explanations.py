"""The step that explains a run, on models as the step `online` leaves them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.retail import explanations
from evergreen.retail.bundle import ChurnModel
from evergreen.retail.explanation_files import FOLDER, read
from evergreen.retail.features import Encoder
from evergreen.retail.model import Linear, Network, NetworkConfig
from evergreen.retail.versions import load_versions, save_versions

NAMES = [f"{kind}_{period}" for period in (1, 2, 3) for kind in ("recency", "frequency", "monetary")]
PARAMS: dict[str, Any] = {"seed": 0, "threads": 1, "explanations": {"per_day": 3, "background": 8, "orders": 2}}


def features(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.integers(0, 9 if i % 3 else 120, count) for i in range(9)]).astype(float)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    rows = features(120)
    encoder = Encoder.fit(rows, 120, 120)
    models = {}
    for number in (1, 2):
        linear = Linear(np.random.default_rng(number).normal(size=encoder.wide + 1) / 9)
        network = Network(encoder.width, NetworkConfig(), seed=number).eval()
        models[number] = ChurnModel(encoder, network, linear, 0.5, 0.5)
    save_versions(tmp_path / "data" / "retail" / "models", models)
    examples = pd.DataFrame(rows, columns=NAMES)
    examples["example_id"] = [f"e{i}" for i in range(len(rows))]
    examples["customer_id"] = [f"c{i % 12}" for i in range(len(rows))]
    examples.to_parquet(tmp_path / "examples.parquet")
    day = np.arange(len(rows)) // 12
    version = np.where(day < 5, 1, 2)
    score = np.where(version == 1, models[1].probabilities(rows), models[2].probabilities(rows))
    ledger = pd.DataFrame(
        {
            "example_id": examples["example_id"], "model": "evergreen", "model_version": version.astype(str),
            "predicted_at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(day, unit="D"),
            "prediction": "1", "score": score, "label": np.where(np.arange(len(rows)) % 2, "1", "0"),
        }
    )  # fmt: skip
    rival = ledger.assign(model="tsunami", score=0.5)
    pd.concat([ledger, rival]).to_parquet(tmp_path / "predictions.parquet")
    entries = [{"model": name, "day": "2026-01-05", "decision": "promoted"} for name in ("evergreen", "tsunami")]
    write_json(tmp_path / "drifts.json", entries)
    return tmp_path


def test_explains_the_answers_of_the_models_that_were_kept(workspace: Path) -> None:
    assert sorted(load_versions(workspace / "data" / "retail" / "models")) == [1, 2]
    explanations.run(workspace, PARAMS)
    found = read(workspace / FOLDER)
    assert found is not None
    assert found.summary["decisions_taken"] == 120
    assert found.summary["without_model"] == 0
    assert found.summary["largest_distance_to_the_ledger"] < 1e-6
    assert found.summary["additivity_error"] < 1e-9
    assert len(found.decisions) == 10 * 3
    (card,) = found.cards
    assert card["drift"]["model"] == "evergreen"
    assert card["versions"] == [1, 2]


def test_is_repeatable(workspace: Path) -> None:
    explanations.run(workspace, PARAMS)
    first = {path.name: path.read_bytes() for path in (workspace / FOLDER).iterdir()}
    explanations.run(workspace, PARAMS)
    assert {path.name: path.read_bytes() for path in (workspace / FOLDER).iterdir()} == first


def test_without_the_model_there_is_nothing_to_explain(workspace: Path) -> None:
    ledger = pd.read_parquet(workspace / "predictions.parquet")
    ledger[ledger["model"] == "tsunami"].to_parquet(workspace / "predictions.parquet")
    explanations.run(workspace, PARAMS)
    found = read(workspace / FOLDER)
    assert found is not None
    assert found.decisions.empty
    assert found.summary["versions"] == []


def test_says_which_step_is_missing(workspace: Path) -> None:
    (workspace / "predictions.parquet").unlink()
    with pytest.raises(BadInputError, match=r"predictions\.parquet.*online"):
        explanations.run(workspace, PARAMS)
