"""Which labels the ledger is given, and when they count as known."""

import pandas as pd
import pytest

from evergreen.stream.predictions import PredictionLedger
from tasks.adaptation import new_labels

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
