"""What follows step adapt: a version, the alias, the ledger; which labels it is given, and since when they count."""

import json
import shutil

import pandas as pd
import pytest

from evergreen.files import write_json
from evergreen.images import bundle
from evergreen.images.layout import ImageLayout
from evergreen.stream.predictions import PredictionLedger
from tasks import adaptation, aliases, record, registry
from tasks.adaptation import new_labels
from tasks.mlflow_store import connect
from tasks.settings import CHECKOUT
from tasks.versions import aliases_of, get_version

ARRIVED = pd.Timestamp("2026-01-01", tz="UTC")
LATER = pd.Timestamp("2026-02-01", tz="UTC")


def answers(labels):
    known = pd.Series(labels, dtype=object)
    return pd.DataFrame(
        {
            "example_id": [f"i{row}" for row in range(len(labels))],
            "model": "images",
            "model_version": "1",
            "predicted_at": ARRIVED,
            "prediction": "cat",
            "score": 0.5,
            "label": known,
            "label_at": pd.Series([ARRIVED if label else pd.NaT for label in labels]),
        }
    )


@pytest.fixture
def ledger(tmp_path):
    opened = PredictionLedger(f"sqlite:///{tmp_path / 'ledger.db'}", "images")
    yield opened
    opened.close()


def put(ledger, labels, now=LATER):
    table = answers(labels)
    found = new_labels(table, ledger, now)
    ledger.record(table.drop(columns=["label", "label_at"]))
    ledger.add_labels(found)
    return found.set_index("example_id")


def test_label_that_came_with_its_example_is_known_since_then(ledger):
    found = put(ledger, ["cat", None])
    assert found["label"].to_dict() == {"i0": "cat"}
    assert found["label_at"]["i0"] == ARRIVED


def test_label_that_comes_later_is_known_from_then_on(ledger):
    put(ledger, ["cat", None, None])
    found = put(ledger, ["cat", "dog", None])
    assert found["label"].to_dict() == {"i1": "dog"}
    assert found["label_at"]["i1"] == LATER


def test_first_label_stays(ledger):
    put(ledger, ["cat"])
    assert put(ledger, ["dog"]).empty
    frame = pd.concat(ledger.read())
    assert frame["label"].tolist() == ["cat"]


def test_nothing_labelled_is_nothing_to_add(ledger):
    assert put(ledger, [None, None]).empty


CLASSES = ["blue", "green", "red"]


@pytest.fixture
def followed(settings, workspace, make_classifier):
    """A registered champion, and what step adapt leaves when it has proven another model; the two models' hashes."""
    layout = ImageLayout(workspace.root)
    bundle.save(layout.classifier, make_classifier(CLASSES, 1))
    first = registry.register(settings, workspace, record.start_run(settings, workspace), "key-1")
    aliases.move_champion(settings, "images", first.version, "test", lambda found: True, lambda: None)
    workspace.update("images", {"champion": first.weights_sha256})
    digest = bundle.save(layout.adaptation / "model", make_classifier(CLASSES, 2), horizon="then")
    window = {"start": "2026-01-01", "rows": 3, "drift": True, "harm": None, "action": "promoted"}
    decision = {"promote": True, "reason": "the new regime gains", "checks": []}
    found = {"windows": [{**window, "decision": decision}], "weights_sha256": digest, "decision": decision}
    write_json(layout.metrics / "adapt.json", {**found, "drifts": 1, "harmful": 1, "promotions": 1, "skipped": None})
    stages = {name: {"cmd": name} for name in ("ingest", "validate", "windows", "adapt")}
    (workspace.root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    shutil.copy(CHECKOUT / "requirements.lock", workspace.root)
    return first.weights_sha256, digest


def test_proven_challenger_becomes_a_version_once_and_the_champion(settings, workspace, followed):
    folder = str(workspace.root)
    run_id = record.start_run(settings, workspace)
    version = adaptation.register_adapted.fn(folder, run_id)
    assert adaptation.register_adapted.fn(folder, run_id) == version == "2"
    moved = adaptation.promote_adapted.fn(folder, version)
    assert (moved["promoted"], moved["champion"], moved["previous"]) == (True, "2", "1")
    info = get_version(connect(settings), "images", "2")
    assert info.weights_sha256 == followed[1]
    assert json.loads(info.tags["decision"])["reason"] == "the new regime gains"


def test_champion_that_moved_meanwhile_is_not_replaced(settings, workspace, followed):
    folder = str(workspace.root)
    version = adaptation.register_adapted.fn(folder, record.start_run(settings, workspace))
    workspace.update("images", {"champion": "0" * 64})
    with pytest.raises(aliases.ChampionMovedError):
        adaptation.promote_adapted.fn(folder, version)
    assert aliases_of(connect(settings), "images")["champion"] == "1"


def test_predictions_go_to_the_ledger_under_their_versions(settings, workspace, followed):
    table = answers(["cat", None]).assign(model_version=[followed[0], "0" * 64])
    path = ImageLayout(workspace.root).adaptation / "predictions.parquet"
    table.to_parquet(path)
    assert adaptation.keep_predictions.fn(str(workspace.root)) == 1
    opened = PredictionLedger(settings.ledger_url, "images")
    frame = pd.concat(opened.read())
    opened.close()
    assert frame[["example_id", "model_version", "label"]].values.tolist() == [["i0", "1", "cat"]]
