"""A workspace as the image pipeline leaves it, made up: real files and shapes, invented numbers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from evergreen.files import sha256_json, write_json
from evergreen.images import bundle
from evergreen.images.arrays import content_sha256, pixel_sha256, write_folder
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.labels import write_labels
from evergreen.images.layout import ImageLayout

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["images"]
FIRST = datetime(2026, 1, 1)
TESTS = ("mean_red", "mean_green", "mean_blue", "saturation", "sharpness", "noise", "mmd")


class MadeUp:
    """Builds the workspace; each attribute is one way in which runs differ."""

    def __init__(self, workspace: Path) -> None:
        self.layout = ImageLayout(workspace)
        self.classes = ["bird", "cat", "ship"]
        self.days = 8
        self.per_day = 30
        self.training = 5
        self.noise_from: int | None = 6
        self.labelled = True
        self.champion = True
        self.size = 32
        self.tests = 60
        self.refused = {"truncated: the file ends early": 2, "animated: 12 frames": 1}
        self.params: dict[str, Any] = {**PARAMS, "threads": 1, "report": {"map_points": 60}}

    def build(self) -> dict[str, Any]:
        """Write everything; returns the parameters."""
        self.rng = np.random.default_rng(0)
        ingest = {**self.params["ingest"], "noise_from_day": self.noise_from, "days": self.days}
        self.params = {**self.params, "ingest": ingest, "champion": "c" * 64 if self.champion else None}
        self._windows()
        self._test_set()
        self._validation()
        self._drift()
        self._pretraining()
        self._models()
        return self.params

    def paint(self, numbers: np.ndarray) -> np.ndarray:
        """Images whose colour tells the class, (N, size, size, 3)."""
        hues = np.random.default_rng(7).integers(40, 215, (max(len(self.classes), 1), 3))
        noise = self.rng.normal(0, 18, (len(numbers), self.size, self.size, 3))
        ramp = np.linspace(-25, 25, self.size)[None, :, None, None]
        return np.clip(hues[numbers][:, None, None] + noise + ramp, 0, 255).astype(np.uint8)

    def _index(self, images: np.ndarray, name: str, start: datetime, labels: list[str | None], split: Any) -> Any:
        return pd.DataFrame(
            {
                "image_id": [f"{name}-{i:05d}" for i in range(len(images))],
                "arrived_at": pd.to_datetime([start + timedelta(minutes=i) for i in range(len(images))], utc=True),
                "label": pd.Series(labels, dtype=object),
                "split": split,
                "sha256": [pixel_sha256(image) for image in images],
            }
        )

    def _windows(self) -> None:
        self.windows, hidden, gate = [], [], []
        for day in range(self.days):
            start = FIRST + timedelta(days=day)
            numbers = self.rng.integers(0, len(self.classes), self.per_day)
            names = np.array(self.classes, dtype=object)[numbers]
            split = np.where(np.arange(self.per_day) % 10 == 9, "gate", "train")
            known = np.arange(self.per_day) < 3 if self.labelled else np.zeros(self.per_day, bool)
            index = self._index(self.paint(numbers), f"day{day}", start, np.where(known, names, None).tolist(), split)
            end = start + timedelta(days=1)
            content = content_sha256(index)
            window_id = f"images-{start:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}-{content[:12]}"
            window = {"window_id": window_id, "number": day, "start": f"{start.isoformat()}+00:00"}
            window |= {"end": f"{end.isoformat()}+00:00", "rows": self.per_day, "content_hash": content}
            write_folder(self.layout.windows / window_id, self.paint(numbers), index)
            write_json(self.layout.windows / window_id / "window.json", window)
            self.windows.append(window)
            frame = index[["image_id"]].assign(label=names)
            hidden.append(frame[(split != "gate") & ~known])
            gate.append(frame[split == "gate"])
        keys = ("window_id", "rows", "content_hash")
        training = [{key: window[key] for key in keys} for window in self.windows[: self.training]]
        write_json(self.layout.training_windows, {"windows": training})
        self.gate = pd.concat(gate) if self.labelled else pd.concat(gate).head(0)
        write_labels(self.layout.hidden_labels, pd.concat(hidden) if self.labelled else self.gate.head(0))
        write_labels(self.layout.gate_labels, self.gate)

    def _test_set(self) -> None:
        numbers = self.rng.integers(0, len(self.classes), self.tests)
        self.test_labels = np.array(self.classes, dtype=object)[numbers]
        clean = self.paint(numbers)
        noisy = np.clip(clean + self.rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
        for name, images in (("clean", clean), ("noisy", noisy if self.noise_from is not None else noisy[:0])):
            index = self._index(images, f"test-{name}", FIRST, self.test_labels[: len(images)].tolist(), "test")
            write_folder(self.layout.test / name, images, index)

    def _validation(self) -> None:
        rows = self.days * self.per_day
        expectations = [
            {"suite": "index", "check": "duplicate image", "level": "row", "column": "duplicate_of", "success": True,
             "expectation": "expect_column_values_to_be_null", "observed": [], "unexpected_count": 1, "limit": 0.01},
            {"suite": "index", "check": "columns", "level": "dataset", "column": None, "success": True,
             "expectation": "expect_table_columns_to_match_ordered_list", "observed": ["a"], "unexpected_count": None,
             "limit": None},
        ]  # fmt: skip
        result = {"passed": True, "rows_read": rows + 3, "rows_accepted": rows, "rows_quarantined": 3}
        result |= {"reasons": {"near-constant": 2, "duplicate": 1}, "expectations": expectations, "failed": []}
        write_json(self.layout.validation / "result.json", {**result, "hash": sha256_json(result)})
        reasons = pd.DataFrame({"reason": [r for r, number in self.refused.items() for _ in range(number)]})
        (self.layout.quarantine / "ingest").mkdir(parents=True)
        reasons.astype({"reason": "str"}).to_parquet(self.layout.quarantine / "ingest" / "reasons.parquet")

    def _drift(self) -> None:
        records = []
        for day, window in enumerate(self.windows):
            noisy = self.noise_from is not None and day >= self.noise_from
            values = self.rng.uniform(0.02, 1, len(TESTS)) * (1e-9 if noisy else 1)
            tests = [
                {"name": name, "kind": "mmd" if name == "mmd" else "ks", "statistic": float(self.rng.uniform(0, 0.1)),
                 "p_value": float(p) if name in ("noise", "sharpness", "mmd") else float(self.rng.uniform(0.05, 1)),
                 "p_adjusted": min(1.0, float(p) * 7) if name in ("noise", "sharpness", "mmd") else 1.0}
                for name, p in zip(TESTS, values, strict=True)
            ]  # fmt: skip
            reference = day < 2
            shared = {key: window[key] for key in ("window_id", "start", "end", "rows")}
            found = {"statistic": None, "p_value": None, "drift": False, "tests": []}
            if not reference:
                found = {"statistic": 0.2 if noisy else float(self.rng.uniform(0.001, 0.01)), "tests": tests,
                         "p_value": min(t["p_adjusted"] for t in tests), "drift": noisy}  # fmt: skip
            records.append({**shared, **found, "reference": reference, "note": None})
        write_json(self.layout.metrics / "drift.json", records)

    def _pretraining(self) -> None:
        torch.manual_seed(0)
        config = EncoderConfig(width=4)
        self.encoder = build_encoder(config)
        digest = bundle.save_encoder(self.layout.encoder, self.encoder, config, self.size, "fp32")
        epochs = [
            {
                "epoch": e,
                "loss": 5 - e * 0.1,
                "learning_rate": 0.3,
                "alignment": 1.2 - e * 0.1,
                "uniformity": -2 - e * 0.2,
            }
            for e in range(1, 6)
        ]
        last = {key: value for key, value in epochs[-1].items() if key not in ("epoch", "learning_rate")}
        facts = {"profile": "smoke", "encoder": "resnet9", "epochs": 5, **last, "images": 150, "precision": "fp32"}
        write_json(self.layout.metrics / "pretrain.json", {**facts, "device": "cpu", "weights_sha256": digest})
        write_json(self.layout.plots / "pretrain.json", epochs)

    def _models(self) -> None:
        metrics = self.layout.metrics
        if not self.labelled:
            write_json(metrics / "probe.json", {"skipped": "0 labelled images."})
            write_json(metrics / "finetune.json", [])
            write_json(metrics / "evaluate.json", {"skipped": "there is no classifier."})
            return
        write_json(
            metrics / "probe.json",
            {"linear_accuracy": 0.61, "knn_accuracy": 0.55, "n_test": self.tests, "linear_accuracy_noisy": 0.47,
             "knn_accuracy_noisy": 0.41, "n_train": 200, "neighbours": 50},
        )  # fmt: skip
        config = EncoderConfig(width=4)
        head = torch.nn.Linear(self.encoder.features, len(self.classes))
        bundle.save(
            self.layout.classifier, bundle.Classifier(self.encoder, head, config, self.classes, self.size, "fp32")
        )
        write_json(metrics / "finetune.json", [self._finetuned()])
        self._gate(metrics)

    def _answers(self, share: float) -> np.ndarray:
        right = self.rng.random(self.tests) < share
        return np.where(right, self.test_labels, self.rng.choice(np.array(self.classes, dtype=object), self.tests))

    def _finetuned(self) -> dict[str, Any]:
        predicted, supervised = self._answers(0.6), self._answers(0.4)
        ids = [f"test-clean-{i:05d}" for i in range(self.tests)]
        self.layout.predictions.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(
            {"image_id": ids, "label": self.test_labels, "prediction": predicted,
             "score": self.rng.uniform(0.3, 1, self.tests), "supervised": supervised}
        ).to_parquet(self.layout.predictions / "test.parquet")  # fmt: skip
        common = {"label_fraction": 0.1, "labels": 24, "classes": self.classes}
        if not self.tests:
            return common
        table = pd.crosstab(self.test_labels, predicted).reindex(self.classes, axis=0, fill_value=0)
        table = table.reindex(self.classes, axis=1, fill_value=0)
        per_class = [
            {"class": name, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": int(table.loc[name].sum())}
            for name in self.classes
        ]
        return {
            **common, "accuracy": float((predicted == self.test_labels).mean()),
            "macro_f1": 0.55, "supervised_accuracy": float((supervised == self.test_labels).mean()),
            "linear_accuracy": 0.4, "linear_macro_f1": 0.4, "linear_accuracy_noisy": 0.2, "supervised_macro_f1": 0.4,
            "accuracy_noisy": 0.5, "supervised_accuracy_noisy": None,
            "per_class": per_class, "confusion": table.to_numpy().tolist(),
        }  # fmt: skip

    def _gate(self, metrics: Path) -> None:
        checks = [
            {"name": "floor", "passed": True, "found": 0.61, "needed": 0.4},
            {"name": "class_drop", "passed": True, "found": "cat loses 0.012", "needed": "no class loses more"},
        ]
        decision = {
            "promote": True,
            "reason": "accuracy gains +1.2 points",
            "checks": checks,
            "interval": [0.001, 0.02],
        }
        per_class = [{"class": c, "precision": 0.6, "recall": 0.6, "f1": 0.6, "support": 8} for c in self.classes]
        champion = {"accuracy": 0.6, "macro_f1": 0.59, "weights_sha256": "c" * 64, "per_class": per_class,
                    "per_class_recall": dict.fromkeys(self.classes, 0.55)}  # fmt: skip
        write_json(
            metrics / "evaluate.json",
            {"n_gate": len(self.gate), "challenger": {**champion, "accuracy": 0.612, "weights_sha256": "d" * 64},
             "champion": champion if self.champion else None, "decision": {**decision, "gain": 0.012}},
        )  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[], MadeUp]:
    """Workspaces to be changed and then built, each in a folder of its own."""
    number = iter(range(100))
    return lambda: MadeUp(tmp_path / f"workspace{next(number)}")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """A workspace as it is by default, with its report. Read only."""
    from evergreen.report import images

    run = MadeUp(tmp_path_factory.mktemp("finished"))
    images.run(run.layout.workspace, run.build())
    return run
