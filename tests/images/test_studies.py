"""Label efficiency, transfer and retrieval on a small workspace: fair shares, one table, resumed where they stopped."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from evergreen.files import read_json, write_json
from evergreen.images import label_efficiency, retrieval_study, transfer
from evergreen.images.arrays import write_folder
from evergreen.images.augment import to_float
from evergreen.images.bundle import save_encoder
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.fewlabel import FinetuneConfig
from evergreen.images.label_efficiency import LabelEfficiencyConfig, Study
from evergreen.images.labels import write_labels
from evergreen.images.last_layers import last_stage, tune_last_layers
from evergreen.images.layout import ImageLayout
from evergreen.images.linear import Split
from evergreen.images.retrieval_study import RetrievalStudyConfig
from evergreen.images.study_images import over_seeds
from evergreen.images.training_parts import Labelled
from evergreen.images.transfer import OPTIONS, Transfer, TransferConfig
from evergreen.images.windows import DESCRIPTION, Window
from evergreen.progress import Silent
from evergreen.report.study_figures import draw_label_efficiency

COLOURS = ["blue", "green", "red"]
PARAMS: dict[str, Any] = {
    "seed": 0,
    "threads": 1,
    "pretrain": {"encoder": {"width": 2}, "epochs": 1, "batch_size": 32, "view_sizes": [8]},
    "finetune": {
        "recipe": {
            **{"steps": 3, "labelled_batch": 8, "unlabelled_batch": 8, "view_size": 8, "average_decay": 0.5},
            **{"head_l2": [0.01]},
        },
        "supervised": {"learning_rates": [0.05], "search_steps": 2, "batch_size": 16, "warmup_steps": 1},
    },
}


def folder_of(path: Path, painter: Callable, count: int, split: Callable[[int], str], seed: int) -> pd.DataFrame:
    """Coloured images in an array folder, every tenth with a known label; returns all labels."""
    labels = [COLOURS[row % 3] for row in range(count)]
    splits = [split(row) for row in range(count)]
    ids = [f"{path.name}-{row}" for row in range(count)]
    index = pd.DataFrame(
        {
            "image_id": ids,
            "arrived_at": pd.date_range("2026-01-01", periods=count, freq="s", tz="UTC").as_unit("us"),
            "label": [label if row % 10 == 0 or splits[row] == "test" else None for row, label in enumerate(labels)],
            "split": splits,
            "sha256": [f"{seed:032x}{row:032x}" for row in range(count)],
        }
    )
    write_folder(path, painter(labels, seed, 8), index)
    return pd.DataFrame({"image_id": ids, "label": labels})[index["label"].isna().to_numpy()]


@pytest.fixture
def layout(tmp_path: Path, painter: Callable, monkeypatch: pytest.MonkeyPatch) -> ImageLayout:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    layout = ImageLayout(tmp_path / "work")
    hidden = folder_of(layout.windows / "w1", painter, 90, lambda row: "val" if row % 5 == 0 else "train", 1)
    write_labels(layout.hidden_labels, hidden)
    folder_of(layout.test / "clean", painter, 30, lambda row: "test", 2)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    described = Window("w1", 0, start, start + timedelta(days=1), 90, "0" * 64)
    write_json(layout.windows / "w1" / DESCRIPTION, described.as_json())
    write_json(layout.training_windows, {"windows": [{"window_id": "w1"}]})
    write_json(layout.metrics / "pretrain.json", {"images": 90})
    torch.manual_seed(0)
    config = EncoderConfig(width=2)
    save_encoder(layout.encoder, build_encoder(config).eval(), config, 8, "fp32")
    return layout


def test_label_efficiency_goes_on_and_compares_equal_labels(
    layout: ImageLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LabelEfficiencyConfig(fractions=(0.01, 0.5), seeds=1, methods=("simclr", "supervised"))
    real, trained = Study.train, []

    def killed_at_the_third(study: Study, method: str, labelled: Labelled, seed: int) -> Any:
        trained.append((method, len(labelled.labels), seed))
        if len(trained) == 3:
            raise KeyboardInterrupt
        return real(study, method, labelled, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(Study, "train", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        Study(layout.workspace, PARAMS, config).run()
    rows = Study(layout.workspace, PARAMS, config).run()
    third = ("simclr", 36, 0)
    assert trained == [("simclr", 3, 0), ("supervised", 3, 0), third, third, ("supervised", 36, 0)]
    assert [(row["method"], row["labels"], row["seed"]) for row in rows] == trained[:2] + trained[3:]
    points = read_json(layout.root / "studies" / "label-efficiency.json")["points"]
    assert [(p["method"], p["labels"], p["accuracy"]) for p in points] == [
        (row["method"], row["labels"], row["accuracy"]) for row in rows
    ]
    svg, png = draw_label_efficiency(layout.root / "studies")
    assert ">self" not in svg.read_text()
    assert png.is_file()


@pytest.mark.slow
def test_baselines_train_on_the_same_budget(layout: ImageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {**PARAMS, "pretrain": {**PARAMS["pretrain"], "epochs": 40}}  # as much as some epochs of rotations
    config = LabelEfficiencyConfig(fractions=(0.5,), seeds=1, methods=("rotation", "self_training"))
    study = Study(layout.workspace, params, config)
    recipes = []
    real = label_efficiency.pretrain_rotation

    def seen(images: Any, recipe: Any, *rest: Any) -> Any:
        recipes.append(recipe)
        return real(images, recipe.model_copy(update={"epochs": 1}), *rest)

    monkeypatch.setattr(label_efficiency, "pretrain_rotation", seen)
    rows = study.run()
    assert [row["method"] for row in rows] == ["rotation", "self_training"]
    cost = recipes[0].flops(study.encoder(), len(study.task.images))
    one = cost / recipes[0].epochs
    assert recipes[0].epochs > 1
    assert abs(cost - study.task.pretrain_flops) <= one / 2


def test_larger_draws_hold_smaller_ones(layout: ImageLayout) -> None:
    study = Study(layout.workspace, PARAMS, LabelEfficiencyConfig(seeds=1, fractions=(1.0, 0.01, 0.02, 0.5)))
    draws = study.draws()
    assert [labels for labels, *_ in draws] == [3, 36, 72]
    assert set(draws[0][3]) < set(draws[1][3]) < set(draws[2][3])
    assert set(study.data.images.index["split"].to_numpy()[draws[2][3]]) == {"train"}


def test_all_options_in_one_table(layout: ImageLayout) -> None:
    config = TransferConfig(
        fraction=0.5, seeds=1, learning_rates=(0.01,), neighbours=(1, 3), rounds=(5,), depths=(2,), penalties=(0.01,)
    )
    rows = Transfer(layout.workspace, PARAMS, config).run()
    assert tuple(row["option"] for row in rows) == OPTIONS
    assert {row["labels"] for row in rows} == {36}
    by_option = {row["option"]: row for row in rows}
    for option in OPTIONS[3:]:
        assert by_option[option]["accuracy"] > 0.8, option
    assert by_option["embed, gradient boosting"]["choice"] == "5 trees of depth 2"
    assert by_option["embed, kNN"]["choice"] in ("1 neighbours", "3 neighbours")
    assert Transfer(layout.workspace, PARAMS, config).run() == rows
    table = pd.read_csv(layout.root / "studies" / "transfer.csv")
    assert table["f1"].tolist() == pytest.approx([row["f1"] for row in rows])


def test_last_layers_leave_the_others_alone(painter: Callable) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=2))
    labels = [COLOURS[row % 3] for row in range(30)]
    pixels = to_float(torch.from_numpy(painter(labels, 0, 8)))
    labelled = Labelled(pixels, torch.arange(30) % 3, 3)
    stage = {f"body.5.{name}" for name in last_stage(encoder).state_dict()}
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    recipe = FinetuneConfig(steps=4, labelled_batch=8, view_size=8, warmup_steps=1, average_decay=0.0, head_l2=(0.01,))
    network = tune_last_layers(encoder, labelled, recipe, 0, "fp32", Silent())
    moved = {name for name, value in network.encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert moved <= stage
    assert any("running_mean" in name for name in moved)


def test_choices_come_from_validation_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    train_labels, val_labels = torch.arange(20) % 2, torch.arange(10) % 2
    train = Split(centres[train_labels] + torch.randn(20, 2, generator=generator) / 10, train_labels)
    val = Split(centres[val_labels] + torch.randn(10, 2, generator=generator) / 10, val_labels)
    for way, choice in (
        (transfer.nearest(train, val, val.features, 2, (1, 5)), "1 neighbours"),
        (transfer.boosted(train, val, val.features, 2, (3, 5), (1,)), "3 trees of depth 1"),
    ):
        predicted, chosen = way
        assert predicted.tolist() == val.labels.tolist()
        assert chosen == choice  # ties go to the first
    predicted, _ = transfer.logistic(train, val, val.features, 2, (0.1,))
    assert predicted.tolist() == val.labels.tolist()


def test_retrieval_of_colours(layout: ImageLayout) -> None:
    result = retrieval_study.run(layout.workspace, PARAMS, RetrievalStudyConfig(draws=2, images=60))
    assert result["images"] == 60
    assert result["labelled"] == 3
    assert [row["name"] for row in result["methods"]] == ["nearest", "spread"]
    assert all(row["accuracy"] > 0.5 for row in result["methods"]), result["methods"]
    assert result == read_json(layout.root / "studies" / "retrieval.json")


def test_mean_over_seeds_by_hand() -> None:
    frame = pd.DataFrame({"way": ["a", "b", "a"], "seed": [0, 0, 1], "f1": [0.2, None, 0.6]})
    first, second = over_seeds(frame, ["way"])
    assert first == {"way": "a", "seeds": 2, "f1": pytest.approx(0.4), "f1_sd": pytest.approx(0.4 / 2**0.5)}
    assert second == {"way": "b", "seeds": 0, "f1": None, "f1_sd": None}
