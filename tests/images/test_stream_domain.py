"""Images as a domain of the loop: real windows and models, a stream that turns dark halfway."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.images.arrays import pixel_sha256, write_folder
from evergreen.images.drift import DriftConfig
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.labels import write_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.policies import PolicyConfig
from evergreen.images.simclr import SimCLRConfig
from evergreen.images.stream_domain import AdaptConfig, ImageDomain, Setting, read_regime_policy
from evergreen.images.windows import DESCRIPTION, Window
from evergreen.stream.adaptation import Scope
from evergreen.stream.regimes import RegimePolicy

CLASSES = ["blue", "green", "red"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS = 60
SETTING = Setting(
    AdaptConfig(training=PolicyConfig(recipe=FinetuneConfig(steps=4, labelled_batch=8, unlabelled_batch=8))),
    DriftConfig(reference_windows=2, samples=40, encoder_samples=40, alpha=0.001),
    SimCLRConfig(epochs=1),
    RegimePolicy(min_rows=10),
    0,
)


def write_window(layout, number, images, labels, rng):
    """A day of images; a fifth is in the gate, a third of the rest has a known label. Returns the gate's labels."""
    start = FIRST + number * DAY
    names = [f"d{number}-{row}" for row in range(len(images))]
    split = np.where(np.arange(len(images)) % 5 == 0, "gate", "train")
    known = [label if s == "train" and rng.random() < 1 / 3 else None for label, s in zip(labels, split, strict=True)]
    index = pd.DataFrame(
        {
            "image_id": names,
            "arrived_at": pd.DatetimeIndex([start + DAY * row / len(images) for row in range(len(images))]).as_unit(
                "us"
            ),
            "label": pd.Series(known, dtype=object),
            "split": split,
            "sha256": [pixel_sha256(image) for image in images],
        }
    )
    window = Window.of(number, start, start + DAY, index)
    write_folder(layout.windows / window.window_id, images, index)
    write_json(layout.windows / window.window_id / DESCRIPTION, window.as_json())
    return [(n, label) for n, label, s in zip(names, labels, split, strict=True) if s == "gate"]


@pytest.fixture
def domain(tmp_path, painter):
    """Six days; from the fourth on, 15 of 60 images into it, everything is dark."""
    layout, rng, gate = ImageLayout(tmp_path / "work"), np.random.default_rng(0), []
    for number in range(6):
        labels = rng.choice(CLASSES, ROWS).tolist()
        images = painter(labels, seed=number).astype(float)
        if number >= 3:
            images[15 if number == 3 else 0 :] *= 0.25
        gate += write_window(layout, number, images.astype(np.uint8), labels, rng)
    write_labels(layout.gate_labels, pd.DataFrame(gate, columns=["image_id", "label"]))
    return ImageDomain(layout, SETTING, tmp_path / "store")


@pytest.fixture
def model(domain, make_classifier):
    return domain.keep(make_classifier(CLASSES), horizon="then")


def names(domain):
    return [window.window_id for window in domain.windows]


def test_windows_are_in_order_and_cover_the_stream(domain):
    assert [window.start for window in domain.windows] == [FIRST + number * DAY for number in range(6)]
    assert {window.rows for window in domain.windows} == {ROWS}


def test_answers_are_the_models_own_with_the_labels_known_on_arrival(domain, model):
    answers = domain.answer(model, names(domain)[0])
    classifier = domain.classifier(model)
    index = pd.read_parquet(domain.layout.windows / names(domain)[0] / "index.parquet")
    images = np.load(domain.layout.windows / names(domain)[0] / "images.npy")
    expected = classifier.predict_probabilities(images)
    assert answers.predictions.tolist() == [CLASSES[k] for k in expected.argmax(axis=1)]
    assert [label for label in answers.labels if label] == index["label"].dropna().tolist()
    row = int(np.flatnonzero(index["label"].notna())[0])
    assert answers.label_probabilities[row] == pytest.approx(expected[row, CLASSES.index(index["label"][row])])
    assert np.isnan(answers.label_probabilities).sum() == index["label"].isna().sum()
    assert (np.diff(answers.times) >= 0).all()


def test_darkness_is_a_difference_since_the_image_that_it_began_with(domain, model):
    quiet = domain.compare(model, names(domain)[:2], names(domain)[2])
    assert not quiet.drift
    assert quiet.change_point is None
    dark = domain.compare(model, names(domain)[:3], names(domain)[3])
    assert dark.drift
    assert dark.moved
    assert abs(dark.change_point - (FIRST + 3 * DAY + DAY * 15 / ROWS)) <= DAY * 3 / ROWS


def test_another_mix_of_answers_is_a_difference_too(domain, model, monkeypatch):
    """Nothing moves but what the classifier says: it answers red throughout."""
    window = names(domain)[2]
    plain = domain._sampled_answers
    red = CLASSES.index("red")
    monkeypatch.setattr(domain, "_sampled_answers", lambda m, w: np.full(40, red) if w == window else plain(m, w))
    found = domain.compare(model, names(domain)[:2], window)
    assert found.drift
    assert found.moved == ("answers",)
    assert found.change_point == FIRST + 2 * DAY


def test_too_small_a_window_is_not_compared(domain, model):
    domain.setting = Setting(**{**vars(SETTING), "drift": DriftConfig(min_rows=ROWS + 1)})
    assert domain.compare(model, names(domain)[:3], names(domain)[3]).p_value is None


def test_evidence_counts_from_the_change_point_without_the_gate(domain):
    scope = Scope(FIRST + 3 * DAY + DAY * 15 / ROWS, tuple(names(domain)[:5]))
    indexes = [pd.read_parquet(domain.layout.windows / name / "index.parquet") for name in scope.windows]
    whole = pd.concat(indexes)
    wanted = whole[(whole["arrived_at"] >= scope.change_point) & (whole["split"] != "gate")]
    found = domain.evidence(scope)
    assert (found.rows, found.labels) == (len(wanted), wanted["label"].notna().sum())
    assert found.classes == wanted["label"].nunique()


def test_challenger_is_made_once_and_kept_with_what_made_it(domain, model):
    scope = Scope(FIRST + 3 * DAY, tuple(names(domain)[:5]))
    first = domain.adapt("head", model, scope)
    assert first.model != model
    assert first.flops > 0
    again = ImageDomain(domain.layout, SETTING, domain.store)
    stamp = {path: path.stat().st_mtime_ns for path in (domain.store / "models").rglob("*.safetensors")}
    assert again.adapt("head", model, scope) == first
    assert {path: path.stat().st_mtime_ns for path in stamp} == stamp
    assert again.training_seconds(first.model) > 0
    description = json.loads((domain.model_folder(first.model) / "config.json").read_text())
    assert description["horizon"] == (FIRST + 5 * DAY).isoformat()
    assert description["policy"] == "head"


def test_none_returns_the_champion(domain, model):
    assert domain.adapt("none", model, Scope(FIRST + 3 * DAY, tuple(names(domain)))).model == model


def test_proof_reads_the_gate_of_both_regimes_and_nothing_else(domain, model, make_classifier):
    scope = Scope(FIRST + 3 * DAY, tuple(names(domain)))
    decision = domain.prove(model, model, scope)
    assert not decision.promote
    assert decision.gain == 0
    checks = {check.name: check.found for check in decision.checks}
    assert checks["enough_rows"] == 3 * ROWS // 5
    blind = make_classifier(CLASSES, seed=3)
    blind.head.weight.data.zero_()
    better = domain.prove(model, domain.keep(blind), Scope(FIRST + DAY, tuple(names(domain)[:3])))
    assert better.promote
    assert better.gain > 0.3


def test_harm_is_judged_against_the_reference(domain, model):
    same = domain.harm(model, names(domain)[:2], names(domain)[2])
    dark = domain.harm(model, names(domain)[:2], names(domain)[4])
    assert same.low <= same.expected_fall <= same.high
    assert dark.expected_fall > same.expected_fall
    assert domain.harm(model, names(domain)[:2], names(domain)[4]) == dark


def test_promotion_file_without_the_section_is_named(tmp_path):
    (tmp_path / "promotion.yaml").write_text("images: {}\n")
    with pytest.raises(BadInputError, match="no section 'adaptation'"):
        read_regime_policy(tmp_path / "promotion.yaml")
