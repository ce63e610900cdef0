"""Sweeps: what is tried, that a killed one goes on to the same table, and that only validation labels judge."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.images import sweep as sweeping
from evergreen.images import sweep_judge
from evergreen.images.arrays import write_folder
from evergreen.images.labels import write_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.simclr_config import SimCLRConfig
from evergreen.images.study_images import open_study, stratified
from evergreen.images.sweep_config import PAIRED, SweepConfig, Trial, recipe, suggested, table
from evergreen.report.study_figures import draw_sweep

PARAMS = {
    "seed": 0,
    "threads": 1,
    "pretrain": {"encoder": {"width": 2}, "epochs": 9, "view_sizes": [8], "precision": "fp32"},
}
TINY = {"images": 40, "epochs": 1, "classes": 2, "labelled": 20, "validation": 10, "batches": (8, 16)}
CLASSES = ["bird", "cat", "dog"]


@pytest.fixture
def layout(tmp_path: Path, make_pictures: Callable, monkeypatch: pytest.MonkeyPatch) -> ImageLayout:
    """Two windows of 60 images, a fifth of them for validation, all labelled, most of that hidden."""
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sweep_judge, "PENALTIES", (1e-2,))
    layout = ImageLayout(tmp_path / "work")
    hidden = []
    for number, name in enumerate(("w1", "w2")):
        labels = [CLASSES[row % 3] for row in range(60)]
        ids = [f"{name}-{row}" for row in range(60)]
        index = pd.DataFrame(
            {
                "image_id": ids,
                "arrived_at": pd.date_range("2026-01-01", periods=60, freq="s", tz="UTC").as_unit("us"),
                "label": [label if row % 10 == 0 else None for row, label in enumerate(labels)],
                "split": ["gate" if row >= 57 else "val" if row % 5 == 0 else "train" for row in range(60)],
                "sha256": [f"{number:032x}{row:032x}" for row in range(60)],
            }
        )
        write_folder(layout.windows / name, make_pictures(60, seed=number), index)
        hidden.append(pd.DataFrame({"image_id": ids, "label": labels})[index["label"].isna().to_numpy()])
    write_labels(layout.hidden_labels, pd.concat(hidden))
    write_json(layout.training_windows, {"windows": [{"window_id": "w1"}, {"window_id": "w2"}]})
    return layout


def opened(layout: ImageLayout, **values: object) -> sweeping.Sweep:
    return sweeping.open_sweep(layout.workspace, PARAMS, SweepConfig(**TINY | values))


def test_all_labels_and_neither_gate_nor_test(layout: ImageLayout) -> None:
    study = open_study(layout)
    assert study.classes == CLASSES
    assert set(study.images.index["split"]) == {"train", "val"}
    assert (study.labels >= 0).all()
    assert len(study.images) == 114


def test_sample_keeps_the_splits_apart(layout: ImageLayout) -> None:
    sweep = opened(layout)
    split = sweep.study.images.index["split"].to_numpy()
    assert set(split[sweep.sample.pretraining]) == set(split[sweep.sample.known]) == {"train"}
    assert set(split[sweep.sample.judged]) == {"val"}
    assert set(sweep.study.labels[sweep.sample.known]) == {0, 1}
    assert len(sweep.sample.pretraining) == 40


def test_killed_sweep_goes_on_to_the_same_files(layout: ImageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def stop_at_the_third(row: sweeping.Row) -> None:
        told.append(row["trial"])
        if len(told) == 3:
            raise KeyboardInterrupt

    values = {"study": "temperature", "temperatures": (0.1, 0.5), "seeds": 2}
    with pytest.raises(KeyboardInterrupt):
        sweeping.run(opened(layout, **values), stop_at_the_third)
    trained: list[object] = []
    real = sweeping.pretrain
    monkeypatch.setattr(sweeping, "pretrain", lambda *a, **k: trained.append(a) or real(*a, **k))
    resumed = sweeping.run(opened(layout, **values))
    assert len(trained) == 1  # three of the four were there
    csv = (layout.root / "studies" / "temperature.csv").read_bytes()
    monkeypatch.setenv("EVERGREEN_HOME", str(layout.workspace / "other"))
    assert sweeping.run(opened(layout, **values)) == resumed
    assert (layout.root / "studies" / "temperature.csv").read_bytes() == csv
    settings = read_json(layout.root / "studies" / "temperature.json")["settings"]
    for row, expected in zip(settings, ([0, 1], [2, 3]), strict=True):
        values_of = [resumed[place]["f1"] for place in expected]
        assert row["f1"] == pytest.approx(np.mean(values_of))
        assert row["f1_sd"] == pytest.approx(np.std(values_of, ddof=1))
    svg, png = draw_sweep(layout.root / "studies", "temperature")
    assert svg.read_text().startswith("<?xml")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_search_asks_the_same_after_a_kill(layout: ImageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(sweep: object, trial: Trial, seed: int, *rest: object) -> dict:
        scores = dict.fromkeys(("precision", "recall", "accuracy", "loss"), 0.5)
        return scores | {"f1": trial.temperature, "failed": None}

    monkeypatch.setattr(sweeping, "measured", numbers)
    values = {"study": "search", "trials": 14, "encoders": ("resnet9",)}
    whole = sweeping.run(opened(layout, **values))
    assert len(whole) == 14
    assert len({row["trial"] for row in whole}) > 7
    for path in sorted((layout.workspace.parent / "home" / "studies").glob("*.json"))[::2]:
        path.unlink()  # as if it had never been finished
    assert sweeping.run(opened(layout, **values)) == whole
    assert read_json(layout.root / "studies" / "search.json")["best"] == max(whole, key=lambda row: row["f1"])["trial"]


def test_a_setting_that_cannot_be_run_says_why(layout: ImageLayout) -> None:
    rows = sweeping.run(opened(layout, encoders=("resnet9", "timm:no_such"), trials=4, outputs=(8,), finetune_steps=2))
    assert [row["failed"] is None for row in rows] == [True, True, False, False]
    assert "no backbone" in rows[2]["failed"]
    assert rows[2]["f1"] is None
    draw_sweep(layout.root / "studies", "backbones")
    with pytest.raises(BadInputError, match="None of the 1 trials could be run"):
        sweeping.run(opened(layout, encoders=("timm:no_such",), trials=1))


def test_a_workspace_without_windows_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="Run `evergreen run images --workdir"):
        sweeping.open_sweep(tmp_path, PARAMS, SweepConfig())


def test_augmentations_are_all_pairs_once() -> None:
    trials = table(SweepConfig(study="augmentations"))
    found = [trial.operations for trial in trials]
    assert len(found) == len(set(found)) == 7 + 21
    assert {frozenset(pair) for pair in found} == {frozenset((a, b)) for a in PAIRED for b in PAIRED}


def test_backbones_change_one_thing_at_a_time() -> None:
    trials = table(SweepConfig(encoders=("resnet9", "resnet18")))
    assert [(t.encoder, t.head_output, t.batch_size) for t in trials[:5]] == [
        ("resnet9", 128, 128),
        ("resnet9", 64, 128),
        ("resnet9", 32, 128),
        ("resnet9", 128, 64),
        ("resnet9", 128, 32),
    ]
    assert len(trials) == 10


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_stratified_shares_are_nested_and_hold_every_class(seed: int, fraction: float) -> None:
    labels = np.array([0] * 7 + [1] * 30 + [2])
    rows = np.arange(len(labels)) + 100
    small = stratified(rows, labels, fraction, np.random.default_rng(seed))
    large = stratified(rows, labels, min(1.0, fraction + 0.2), np.random.default_rng(seed))
    assert set(small) <= set(large) <= set(rows)
    for number in (0, 1, 2):
        own = (labels[small - 100] == number).sum()
        assert own == max(1, round(fraction * (labels == number).sum()))


class Asked:
    """Stands in for optuna: takes the last of what there is."""

    def suggest_categorical(self, name: str, choices: tuple) -> object:
        return choices[0] if name == "first" else choices[-1]

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        return high


def test_every_kind_of_trial_is_a_recipe() -> None:
    base = SimCLRConfig.model_validate(PARAMS["pretrain"] | {"augment": {"flip": False}})
    tables = ("backbones", "heads", "losses", "augmentations", "temperature", "batch")
    trials = [trial for study in tables for trial in table(SweepConfig(study=study, epochs=3))]
    for trial in [*trials, suggested(Asked(), SweepConfig())]:
        made = recipe(base, trial, SweepConfig(epochs=3))
        assert made.epochs == 3
        for name, value in trial.model_dump(exclude_none=True, exclude={"encoder", "operations"}).items():
            assert getattr(made, name) == value
        if trial.operations:
            assert tuple(operation.name for operation in made.augment.operations or ()) == trial.operations
        else:
            assert made.augment == base.augment


def test_backbones_are_judged_after_fine_tuning(layout: ImageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither way of judging passes for the other, not even among the finished trials."""
    monkeypatch.setattr(sweeping, "judge_tuned", lambda *judged: dict.fromkeys(sweeping.MEASURES, judged[4] / 1000))
    values = {"study": "backbones", "encoders": ("resnet9",), "trials": 1}
    (tuned,) = sweeping.run(opened(layout, **values))
    assert tuned["f1"] == 0.1
    (frozen,) = sweeping.run(opened(layout, **values, finetune_steps=0))
    assert frozen["f1"] != 0.1
    assert read_json(layout.root / "studies" / "backbones.json")["finetune_steps"] == 0
