"""The gate on real windows and models: who answers what, and what is decided."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.images import bundle, evaluate
from evergreen.images.arrays import pixel_sha256, write_folder
from evergreen.images.labels import write_labels
from evergreen.images.layout import ImageLayout
from evergreen.steps import run_step

CLASSES = ["blue", "green", "red"]
POLICY = Path(__file__).parents[2] / "mlflow" / "promotion.yaml"
PARAMS: dict[str, Any] = {"seed": 0, "threads": 1, "champion": None, "evaluate": {}}
GATE = 240


@pytest.fixture
def layout(tmp_path: Path, painter: Callable[..., np.ndarray]) -> ImageLayout:
    """Two windows of 150 images, 240 of them in the gate, in an order that is not that of the label file."""
    layout = ImageLayout(tmp_path)
    (tmp_path / "mlflow").mkdir()
    shutil.copy(POLICY, tmp_path / "mlflow")
    rng = np.random.default_rng(0)
    labels = list(rng.choice(CLASSES, 300))
    names = [f"image-{number:03d}" for number in rng.permutation(300)]
    splits = ["gate"] * GATE + ["train"] * 60
    rng.shuffle(splits)
    images = painter(labels)
    for window, rows in (("images-a", range(150)), ("images-b", range(150, 300))):
        index = pd.DataFrame(
            {
                "image_id": [names[row] for row in rows],
                "arrived_at": pd.Timestamp("2026-01-01", tz="UTC"),
                "label": None,
                "split": [splits[row] for row in rows],
                "sha256": [pixel_sha256(images[row]) for row in rows],
            }
        )
        write_folder(layout.windows / window, images[list(rows)], index)
    gate = [(name, label) for name, label, split in zip(names, labels, splits, strict=True) if split == "gate"]
    write_labels(layout.gate_labels, pd.DataFrame([*gate, ("refused", "red")], columns=["image_id", "label"]))
    return layout


def put(path: Path, classifier: bundle.Classifier) -> str:
    return bundle.save(path, classifier)


def spoiled(classifier: bundle.Classifier, name: str) -> bundle.Classifier:
    """The same classifier, blind to one class."""
    with torch.no_grad():
        classifier.head.bias[classifier.classes.index(name)] -= 1000
    return classifier


def run(layout: ImageLayout, **params: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    evaluate.run(layout.workspace, PARAMS | params)
    return read_json(layout.metrics / "evaluate.json"), pd.read_parquet(layout.predictions / "gate.parquet")


def test_first_challenger_is_promoted_on_the_floor(layout: ImageLayout, make_classifier) -> None:
    digest = put(layout.classifier, make_classifier(CLASSES))
    result, rows = run(layout)
    assert result["n_gate"] == len(rows) == GATE
    assert result["challenger"]["weights_sha256"] == digest
    assert result["challenger"]["accuracy"] == pytest.approx(1.0)
    assert result["champion"] is None
    assert result["decision"]["promote"]
    assert [check["name"] for check in result["decision"]["checks"]] == ["floor"]
    assert list(rows.columns) == evaluate.PREDICTIONS_SCHEMA.names
    assert rows["champion"].isna().all()


def test_answers_belong_to_their_images(layout: ImageLayout, make_classifier) -> None:
    """Joined by image_id over windows and label file, against a look-up image by image."""
    classifier = make_classifier(CLASSES)
    put(layout.classifier, spoiled(classifier, "red"))
    _, rows = run(layout, evaluate={"batch_size": 7})
    labels = pd.read_parquet(layout.gate_labels).set_index("image_id")["label"]
    where = {}
    for window in ("images-a", "images-b"):
        index = pd.read_parquet(layout.windows / window / "index.parquet")
        pixels = np.load(layout.windows / window / "images.npy")
        where |= {name: pixels[row] for row, name in enumerate(index["image_id"])}
    assert list(rows["image_id"]) == sorted(rows["image_id"])
    for row in rows.sample(25, random_state=0).itertuples():
        probabilities = classifier.predict_probabilities(where[row.image_id][None])[0]
        assert row.label == labels[row.image_id]
        assert row.challenger == CLASSES[probabilities.argmax()]
        assert row.score == pytest.approx(probabilities.max(), abs=1e-5)


def test_better_challenger_takes_over_and_the_worse_one_does_not(layout: ImageLayout, make_classifier) -> None:
    good, poor = make_classifier(CLASSES, 1), spoiled(make_classifier(CLASSES, 2), "green")
    put(layout.classifier, good)
    expected = put(layout.champion, poor)
    result, rows = run(layout, champion=expected)
    green = (rows["label"] == "green").mean()
    assert result["decision"]["promote"]
    assert result["decision"]["gain"] == pytest.approx(green)
    assert result["champion"]["weights_sha256"] == expected
    assert result["champion"]["per_class_recall"] == {"blue": 1.0, "green": 0.0, "red": 1.0}
    put(layout.classifier, poor)
    expected = put(layout.champion, good)
    result, _ = run(layout, champion=expected)
    assert not result["decision"]["promote"]
    assert "minimum_gain" in result["decision"]["reason"]
    assert "green loses 1.000" in result["decision"]["reason"]


def test_order_of_the_classes_does_not_matter(layout: ImageLayout, make_classifier) -> None:
    """A champion whose columns are in another order is compared by name."""
    put(layout.classifier, make_classifier(CLASSES, 1))
    expected = put(layout.champion, make_classifier(CLASSES[::-1], 2))
    result, rows = run(layout, champion=expected)
    assert (rows["champion"] == rows["label"]).all()
    assert result["decision"]["gain"] == 0


def test_same_weights_are_not_promoted(layout: ImageLayout, make_classifier) -> None:
    put(layout.classifier, make_classifier(CLASSES))
    expected = put(layout.champion, make_classifier(CLASSES))
    result, _ = run(layout, champion=expected)
    assert not result["decision"]["promote"]
    assert result["decision"]["reason"] == "the challenger has the same weights as the champion"


def test_other_classes_keep_the_champion(layout: ImageLayout, make_classifier) -> None:
    put(layout.classifier, make_classifier([*CLASSES, "yellow"]))
    expected = put(layout.champion, make_classifier(CLASSES))
    result, _ = run(layout, champion=expected)
    assert not result["decision"]["promote"]
    assert "not comparable: the champion knows 3 classes" in result["decision"]["reason"]
    assert result["champion"]["accuracy"] == pytest.approx(1.0)


def test_label_that_the_model_does_not_know_is_an_error_of_it(layout: ImageLayout, make_classifier) -> None:
    put(layout.classifier, make_classifier(["blue", "green"]))
    result, rows = run(layout)
    known = (rows["label"] != "red").mean()
    assert result["challenger"]["accuracy"] == pytest.approx(known)
    assert result["challenger"]["per_class_recall"]["red"] == 0


@pytest.mark.parametrize("lost", ["labels", "windows"])
def test_without_gate_images_only_a_first_champion_is_made(
    layout: ImageLayout, make_classifier, lost: str, tmp_path: Path
) -> None:
    if lost == "labels":
        write_labels(layout.gate_labels, pd.DataFrame({"image_id": [], "label": []}, dtype=str))
    else:
        shutil.rmtree(layout.windows)
    put(layout.classifier, make_classifier(CLASSES, 1))
    result, rows = run(layout)
    assert len(rows) == result["n_gate"] == 0
    assert result["decision"]["promote"]
    assert "no champion yet, and no held-out labels" in result["decision"]["reason"]
    expected = put(layout.champion, make_classifier(CLASSES, 2))
    result, _ = run(layout, champion=expected)
    assert not result["decision"]["promote"]
    assert "the champion stays" in result["decision"]["reason"]


def test_without_a_classifier_there_is_nothing_to_judge(layout: ImageLayout) -> None:
    result, rows = run(layout)
    assert result == {"skipped": "there is no classifier to judge"}
    assert rows.empty
    assert list(rows.columns) == evaluate.PREDICTIONS_SCHEMA.names


def test_champion_other_than_the_exported_one_is_refused(layout: ImageLayout, make_classifier) -> None:
    put(layout.classifier, make_classifier(CLASSES, 1))
    put(layout.champion, make_classifier(CLASSES, 2))
    with pytest.raises(BadInputError, match="expected " + "0" * 64):
        run(layout, champion="0" * 64)


def test_same_inputs_give_the_same_bytes(layout: ImageLayout, make_classifier) -> None:
    put(layout.classifier, make_classifier(CLASSES, 1))
    expected = put(layout.champion, spoiled(make_classifier(CLASSES, 2), "blue"))
    written = []
    for _ in range(2):
        run(layout, champion=expected)
        files = (layout.metrics / "evaluate.json", layout.predictions / "gate.parquet")
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_report_agrees_with_counting() -> None:
    labels = np.array(["a", "a", "a", "b", "b", "c"])
    predictions = np.array(["a", "a", "b", "b", "c", "b"])
    found = evaluate.report(labels, predictions, ["a", "b", "c"])
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["per_class_recall"] == pytest.approx({"a": 2 / 3, "b": 1 / 2, "c": 0})
    by_class = {row["class"]: row for row in found["per_class"]}
    assert by_class["a"] == pytest.approx({"class": "a", "precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3})
    assert by_class["b"]["precision"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx((0.8 + 0.4 + 0) / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images:\n  floor: 1\n", "images.floor|floor: Extra inputs"),
        ("retail: {}\n", "has no section 'images'"),
        ("images:\n  confidence: 2\n", "confidence"),
        ("- 1\n", "expected a mapping"),
    ],
)
def test_policy_that_does_not_fit_is_refused(layout: ImageLayout, text: str, message: str) -> None:
    (layout.workspace / evaluate.POLICY).write_text(text)
    with pytest.raises(BadInputError, match=message):
        run(layout)


def test_is_the_step_of_its_name(layout: ImageLayout, make_classifier) -> None:
    put(layout.classifier, make_classifier(CLASSES))
    (layout.workspace / "params.yaml").write_text("images: {seed: 0, threads: 1, champion: null, evaluate: {}}\n")
    run_step("images", "evaluate", layout.workspace)
    assert (layout.metrics / "evaluate.json").is_file()
    (layout.workspace / "params.yaml").write_text(
        "images: {seed: 0, threads: 1, champion: null, evaluate: {batch: 1}}\n"
    )
    with pytest.raises(BadInputError, match=r"images\.evaluate"):
        run_step("images", "evaluate", layout.workspace)
