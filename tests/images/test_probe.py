"""Probe and fine-tuning as steps on a small workspace: what they read, write and leave alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from evergreen.files import read_json, sha256_file, write_json
from evergreen.images import bundle, finetune, probe
from evergreen.images.arrays import write_folder
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.labels import write_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.linear import Split
from evergreen.images.windows import DESCRIPTION, Window

CLASSES = ["dark", "light", "middle"]
LEVEL = {"dark": 50, "middle": 120, "light": 200}


def array_folder(path: Path, labels: list[str], splits: list[str], known: list[bool], seed: int) -> pd.DataFrame:
    """Noisy images whose brightness is their class; returns image_id and label of all of them."""
    generator = np.random.default_rng(seed)
    level = np.array([LEVEL[label] for label in labels])[:, None, None, None]
    images = np.clip(generator.normal(level, 25, (len(labels), 32, 32, 3)), 0, 255).astype(np.uint8)
    ids = [f"{path.name}-{i}" for i in range(len(labels))]
    index = pd.DataFrame(
        {
            "image_id": ids,
            "arrived_at": pd.date_range("2026-01-01", periods=len(labels), freq="s", tz="UTC"),
            "label": [label if k else None for label, k in zip(labels, known, strict=True)],
            "split": splits,
            "sha256": [f"{seed:032x}{i:032x}" for i in range(len(labels))],
        }
    )
    write_folder(path, images, index)
    return pd.DataFrame({"image_id": ids, "label": labels})


def make_workspace(root: Path, known_share: float = 0.2) -> ImageLayout:
    """Two windows of 60 images, a test set and an untrained encoder."""
    layout = ImageLayout(root)
    generator = np.random.default_rng(0)
    hidden = []
    for number, window in enumerate(("images-1", "images-2")):
        labels = [CLASSES[i % 3] for i in range(60)]
        splits = ["gate" if i >= 54 else "val" if i >= 45 else "train" for i in range(60)]
        known = [bool(s != "gate" and generator.random() < known_share) for s in splits]
        every = array_folder(layout.windows / window, labels, splits, known, number)
        hidden.append(every[[not k and s != "gate" for k, s in zip(known, splits, strict=True)]])
    write_labels(layout.hidden_labels, pd.concat(hidden))
    for number, copy in enumerate(("clean", "noisy")):
        array_folder(layout.test / copy, CLASSES * 10, ["test"] * 30, [True] * 30, 10 + number)
    for number, window in enumerate(("images-1", "images-2")):
        start = datetime(2026, 1, 1 + number, tzinfo=UTC)
        described = Window(window, number, start, start + timedelta(days=1), 60, f"{number:064x}")
        write_json(layout.windows / window / DESCRIPTION, described.as_json())
    write_json(layout.training_windows, {"windows": [{"window_id": "images-1"}, {"window_id": "images-2"}]})
    torch.manual_seed(0)
    config = EncoderConfig(width=4)
    encoder = build_encoder(config)
    with torch.no_grad():
        for _ in range(40):
            encoder(torch.rand(64, 3, 32, 32))
    bundle.save_encoder(layout.encoder, encoder, config, 32, "fp32")
    write_json(layout.metrics / "pretrain.json", {"images": 108})
    return layout


def params(**finetune_values: Any) -> dict[str, Any]:
    return {
        "seed": 0,
        "threads": 1,
        "pretrain": {"epochs": 1, "batch_size": 32},
        "probe": {"knn_neighbours": [1, 5], "l2": [1e-3, 1e-1]},
        "finetune": {
            "recipe": {"steps": 15, "labelled_batch": 8, "unlabelled_batch": 8, "view_size": 16, "average_decay": 0.5},
            "supervised": {"learning_rates": [0.01, 0.05], "search_steps": 5, "batch_size": 16},
            **finetune_values,
        },
    }


def test_probe_uses_all_labels_and_leaves_the_encoder_alone(tmp_path: Path) -> None:
    layout = make_workspace(tmp_path)
    before = sha256_file(layout.encoder / "model.safetensors")
    probe.run(tmp_path, params())
    found = read_json(layout.metrics / "probe.json")
    assert found["linear_accuracy"] > 0.9
    assert found["knn_accuracy"] > 0.9
    assert (found["n_train"], found["n_val"], found["n_test"]) == (90, 18, 30)  # no gate image among them
    assert found["classes"] == CLASSES
    assert found["l2"] in (1e-3, 1e-1)
    assert found["neighbours"] in (1, 5)
    assert sha256_file(layout.encoder / "model.safetensors") == before == found["encoder_sha256"]


def test_probe_notices_an_encoder_that_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workspace(tmp_path)
    frozen = probe.embed_batches

    def thawed(encoder: torch.nn.Module, *args: Any, **more: Any) -> Any:
        next(b for n, b in encoder.named_buffers() if n.endswith("running_mean")).add_(0.001)
        return frozen(encoder, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(probe, "embed_batches", thawed)
    with pytest.raises(AssertionError, match="frozen encoder changed"):
        probe.run(tmp_path, params())


def test_knn_by_sorting() -> None:
    generator = torch.Generator().manual_seed(0)
    train = Split(torch.randn(30, 4, generator=generator), torch.arange(30) % 3)
    queries = torch.randn(9, 4, generator=generator)
    expected = []
    for query in queries:
        votes = [0.0, 0.0, 0.0]
        similar = [float(query @ key / query.norm() / key.norm()) for key in train.features]
        for row in sorted(range(30), key=lambda r: -similar[r])[:7]:
            votes[int(train.labels[row])] += np.exp(similar[row] / 0.1)
        expected.append(int(np.argmax(votes)))
    assert probe.knn(train, queries, 7, 3, 0.1).tolist() == expected


def test_fine_tuning_sees_known_labels_only(tmp_path: Path) -> None:
    layout = make_workspace(tmp_path)
    layout.hidden_labels.unlink()  # reading it would fail
    finetune.run(tmp_path, params())
    (entry,) = read_json(layout.metrics / "finetune.json")
    known = sum(
        pd.read_parquet(layout.windows / w / "index.parquet")["label"].notna().sum() for w in ("images-1", "images-2")
    )
    assert entry["labels"] == known
    assert entry["label_fraction"] == pytest.approx(known / 108)
    assert 0 <= entry["supervised_accuracy"] <= 1
    assert 0 <= entry["linear_accuracy"] <= 1
    assert {"accuracy_noisy", "macro_f1", "per_class", "confusion", "supervised_steps"} <= entry.keys()
    assert np.sum(entry["confusion"]) == 30
    answers = pd.read_parquet(layout.predictions / "test.parquet")
    assert list(answers) == ["image_id", "label", "prediction", "score", "supervised"]
    assert (answers["prediction"] == answers["label"]).mean() == pytest.approx(entry["accuracy"])
    assert bundle.load(layout.classifier).classes == CLASSES


def test_the_study_takes_its_share_from_the_hidden_labels_and_registers_the_known_ones(tmp_path: Path) -> None:
    layout = make_workspace(tmp_path)
    finetune.run(tmp_path, params(study_fractions=[0.5]))
    known, study = read_json(layout.metrics / "finetune.json")
    assert study["labels"] == 54
    assert study["label_fraction"] == 0.5
    assert read_json(layout.classifier / "config.json")["trained_on_labels"] == known["labels"] < 54
    assert read_json(layout.classifier / "config.json")["horizon"] == "2026-01-03T00:00:00+00:00"


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = make_workspace(tmp_path / "a"), make_workspace(tmp_path / "b")
    for layout in (first, second):
        finetune.run(layout.workspace, params())
    for name in ("models/classifier/model.safetensors", "metrics/finetune.json", "predictions/test.parquet"):
        assert (first.root / name).read_bytes() == (second.root / name).read_bytes()


def test_without_known_labels_both_say_why_and_leave_their_files(tmp_path: Path) -> None:
    layout = make_workspace(tmp_path, known_share=0.0)
    write_labels(layout.hidden_labels, pd.DataFrame({"image_id": [], "label": []}))
    probe.run(tmp_path, params())
    finetune.run(tmp_path, params())
    assert "found 0 labelled images" in read_json(layout.metrics / "probe.json")["skipped"]
    assert read_json(layout.metrics / "finetune.json") == []
    assert "0 known labels" in read_json(layout.classifier / "skipped.json")["skipped"]
    assert len(pd.read_parquet(layout.predictions / "test.parquet")) == 0
