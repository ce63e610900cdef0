"""The step `online` and what it leaves, on a small stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.retail.bundle import CONFIG, WEIGHTS, load
from evergreen.retail.example_frames import NEVER
from evergreen.retail.online import choose, run
from evergreen.retail.stream import plan, read_examples
from evergreen.retail.versions import load_versions
from tests.retail import churn_streams as streams


def write_examples(folder: Path, bare: bool = False) -> None:
    """The made-up stream as a file of examples, in the default view."""
    stream = streams.stream("default", count=30, days=70)
    told = stream.told < NEVER
    columns: dict[str, Any] = {name: stream.features[:, i] for i, name in enumerate(stream.names)}
    columns["label"] = pa.array(stream.labels, mask=~told)
    columns["day"] = pa.array(np.where(told, stream.told, 0).astype(np.int32), mask=~told).cast(pa.date32())
    if not bare:
        columns["example_id"] = [f"e{i}" for i in range(len(stream))]
        columns["customer_id"] = [f"c{group // 1000}" for group in stream.groups]
        columns["generated_on"] = pa.array(stream.asked.astype(np.int32)).cast(pa.date32())
        at = pa.array((stream.told + 1) * 86_400_000_000 - 1, mask=~told)
        columns["label_at"] = at.cast(pa.timestamp("us"))
    pq.write_table(pa.table(columns), folder / "examples.parquet")


def params(**online: Any) -> dict[str, Any]:
    examples = {"mode": "default", "period_days": 12, "periods": 2, "churn_days": 12}
    small = {"network": {"members": 2, "width": 8}, "first_steps": 40, "steps": 2, "batch": 64}
    evergreen = {"learner": small, "search": {"trials": 1, "steps": 10}}
    online = {"initial_days": 30, "evergreen": evergreen, **online}
    return {"seed": 0, "threads": 1, "examples": examples, "online": online}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("online")
    write_examples(folder)
    run(folder, params(models=["evergreen", "logistic-window"]))
    return folder


def test_the_ledger_has_every_answer_and_its_label(workspace: Path) -> None:
    ledger = pd.read_parquet(workspace / "predictions.parquet")
    examples = pd.read_parquet(workspace / "examples.parquet").set_index("example_id")
    assert set(ledger["model"]) == {"evergreen", "logistic-window"}
    assert not ledger.duplicated(["model", "example_id"]).any()
    labels = examples.loc[ledger["example_id"], "label"].to_numpy()
    assert (ledger["label"].isna().to_numpy() == pd.isna(labels)).all()
    known = ledger["label"].notna().to_numpy()
    assert (ledger["label"][known].to_numpy() == np.where(labels[known].astype(bool), "1", "0")).all()
    assert (ledger["predicted_at"][known] <= ledger["label_at"][known]).all()
    assert ledger["label"].isna().any()
    assert ledger["score"].between(0, 1).all()


def test_the_figures_are_those_of_the_ledger(workspace: Path) -> None:
    metrics = read_json(workspace / "metrics.json")
    ledger = pd.read_parquet(workspace / "predictions.parquet").dropna(subset=["label"])
    for name, found in metrics["models"].items():
        mine = ledger[ledger["model"] == name]
        churn, said = mine["label"] == "1", mine["prediction"] == "1"
        f_churn = 2 * (churn & said).sum() / (churn.sum() + said.sum())
        assert found["f1_churn"] == pytest.approx(f_churn)
        assert found["n_scored"] == len(mine)
    assert "seconds" not in str(metrics)
    assert set(read_json(workspace / "metrics.timing.json")["total"]) == set(metrics["models"])
    assert isinstance(read_json(workspace / "drifts.json"), list)


def test_the_champion_and_its_versions_can_be_read(workspace: Path) -> None:
    models = workspace / "data" / "retail" / "models"
    champion = load(models / "champion")
    versions = load_versions(models)
    ledger = pd.read_parquet(workspace / "predictions.parquet")
    assert {int(v) for v in ledger[ledger["model"] == "evergreen"]["model_version"]} <= set(versions)
    risks = champion.probabilities(champion.background)
    assert ((risks >= 0) & (risks <= 1)).all()
    one_by_one = np.concatenate([champion.probabilities(row[None]) for row in champion.background[:10]])
    np.testing.assert_allclose(one_by_one, risks[:10], atol=1e-6)
    assert (champion.periods, champion.churn_days) == (2, 12)
    assert read_json(models / "champion" / CONFIG)["horizon"]


def test_a_changed_bundle_is_refused(workspace: Path, tmp_path: Path) -> None:
    source = workspace / "data" / "retail" / "models" / "champion"
    for name in (WEIGHTS, CONFIG):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    with pytest.raises(BadInputError, match="expected abc"):
        load(tmp_path, expected_sha256="abc")
    damaged = bytearray((tmp_path / WEIGHTS).read_bytes())
    damaged[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(bytes(damaged))
    with pytest.raises(BadInputError, match="SHA-256"):
        load(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(BadInputError, match="missing"):
        load(tmp_path)


def test_features_label_and_day_are_enough(tmp_path: Path) -> None:
    write_examples(tmp_path, bare=True)
    run(tmp_path, params(models=["logistic-window"]))
    ledger = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(ledger)
    assert read_json(tmp_path / "metrics.json")["models"]["logistic-window"]["n_scored"] > 0


@pytest.mark.parametrize("view", ["published", "default"])
def test_every_row_is_asked_once_and_told_once(view: Any) -> None:
    stream = streams.stream(view)
    data = plan(stream, view, None, 30, 12, 12, 0, 1)
    start = data.blocks[0].day
    asked, told = data.scored(), np.concatenate([block.tell for block in data.blocks])
    assert sorted(asked) == np.flatnonzero(stream.asked >= start).tolist()
    assert sorted(told) == np.flatnonzero((stream.told >= start) & (stream.told < NEVER)).tolist()
    assert sorted([*data.initial, *told]) == np.flatnonzero(stream.told < NEVER).tolist()
    for block in data.blocks:
        assert (stream.asked[block.ask] == block.day).all()
        assert (stream.told[block.tell] == block.day).all()


def test_without_a_number_the_initial_days_cover_a_horizon_and_both_classes() -> None:
    stream = streams.stream("default", count=120, days=120)
    data = plan(stream, "default", None, None, 12, 12, 0, 1)
    assert 12 <= data.initial_days <= len(np.unique(stream.told[stream.told < NEVER])) // 3
    assert np.bincount(stream.labels[data.initial]).min() >= 100


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="missing"):
        run(tmp_path, params())
    write_examples(tmp_path)
    with pytest.raises(BadInputError, match="No model nonsense"):
        run(tmp_path, params(models=["nonsense"]))
    with pytest.raises(BadInputError, match="initial days"):
        run(tmp_path, params(initial_days=10_000))
    with pytest.raises(BadInputError, match="every customer comes back"):
        run(tmp_path, params(initial_days=2))
    table = pq.read_table(tmp_path / "examples.parquet")
    pq.write_table(table.drop_columns(["label"]), tmp_path / "examples.parquet")
    with pytest.raises(BadInputError, match="label"):
        run(tmp_path, params())
    pending = table.set_column(table.column_names.index("day"), "day", pa.nulls(len(table), pa.date32()))
    pq.write_table(pending, tmp_path / "examples.parquet")
    with pytest.raises(BadInputError, match="no example whose outcome is known"):
        read_examples(tmp_path / "examples.parquet", "default")


def test_all_means_all() -> None:
    assert {"evergreen", "tsunami", "logistic-window", "xgboost-window", "adaptive-forest"} <= set(choose("all"))
