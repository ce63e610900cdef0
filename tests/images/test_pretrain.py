"""The step `pretrain`: what it writes, alone and under torchrun."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from evergreen.files import read_json, write_json
from evergreen.images import pretrain
from evergreen.images.arrays import write_folder
from evergreen.images.bundle import load_encoder
from evergreen.images.heads import load_head, with_head
from evergreen.images.layout import ImageLayout

ROOT = Path(__file__).resolve().parents[2]
PARAMS: dict[str, Any] = {
    "profile": "test",
    "seed": 0,
    "threads": 1,
    "pretrain": {
        "encoder": {"width": 4},
        "epochs": 2,
        "batch_size": 16,
        "view_sizes": [8],
        "learning_rate": 0.05,
        "head": "three",
        "head_hidden": 8,
        "head_output": 6,
        "precision": "fp32",
    },
}


def make_workspace(root: Path) -> ImageLayout:
    """A window of 40 images: 8 labelled of split train, 8 labelled of split val, 4 of the gate."""
    layout, rng = ImageLayout(root), np.random.default_rng(0)
    index = pd.DataFrame(
        {
            "image_id": [f"{i}" for i in range(40)],
            "arrived_at": pd.date_range("2026-01-01", periods=40, freq="s", tz="UTC"),
            "label": [["cat", "ship"][i % 2] if i < 8 or 26 <= i < 34 else None for i in range(40)],
            "split": ["train"] * 26 + ["val"] * 10 + ["gate"] * 4,
            "sha256": [f"{i:064x}" for i in range(40)],
        }
    )
    write_folder(layout.windows / "w", rng.integers(0, 255, (40, 16, 16, 3)).astype(np.uint8), index)
    write_json(layout.training_windows, {"windows": [{"window_id": "w"}]})
    (root / "params.yaml").write_text(yaml.safe_dump({"images": PARAMS}))
    return layout


def test_writes_encoder_head_monitors_and_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    layout = make_workspace(tmp_path)
    pretrain.run(tmp_path, PARAMS)
    metrics, curve = read_json(layout.metrics / "pretrain.json"), read_json(layout.plots / "pretrain.json")
    assert (metrics["images"], metrics["processes"], len(curve)) == (36, 1, 2)
    for name in ("loss", "alignment", "uniformity", "feature_std", "rankme", "knn_accuracy"):
        assert metrics[name] == curve[-1][name]
    encoder, description = load_encoder(layout.encoder)
    head = load_head(layout.encoder, "three", encoder.features, 8, 6)
    assert with_head(encoder, head, 1)(torch.rand(2, 3, 16, 16)).shape == (2, 8)
    assert description["weights_sha256"] == metrics["weights_sha256"]
    assert not list((tmp_path / "home" / "checkpoints").iterdir())


def test_labels_that_choose_later_are_not_trained_on(tmp_path: Path) -> None:
    layout = make_workspace(tmp_path)
    labels = pretrain.training_labels(pd.read_parquet(layout.windows / "w" / "index.parquet"))
    assert labels.tolist() == [0, 1] * 4 + [-1] * 32


@pytest.mark.slow
def test_under_torchrun_the_step_gives_the_same_encoder(tmp_path: Path) -> None:
    alone, together = make_workspace(tmp_path / "alone"), make_workspace(tmp_path / "together")
    step = ["-m", "flows.cli", "step", "images", "pretrain", "--workdir"]
    for starter, layout in (
        ([], alone),
        (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], together),
    ):
        environment = os.environ | {"EVERGREEN_HOME": str(tmp_path / "home"), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, *starter, *step, str(layout.workspace)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert read_json(together.metrics / "pretrain.json")["processes"] == 2
    expected = load_file(alone.encoder / "model.safetensors")
    for name, found in load_file(together.encoder / "model.safetensors").items():
        torch.testing.assert_close(found, expected[name], atol=1e-3, rtol=1e-3)
