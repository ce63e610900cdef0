"""Images as a domain of the adaptation loop."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from evergreen.code import code_sha256
from evergreen.config import Config, read_yaml
from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_json, write_json
from evergreen.images.arrays import open_images, read_index
from evergreen.images.bundle import CONFIG, Classifier, load, save
from evergreen.images.drift import DriftConfig, Measured, compare, measure, pool_reference
from evergreen.images.harm import HarmModel, fit_harm
from evergreen.images.imageset import TRAINING_SPLITS, ImageSet, open_windows
from evergreen.images.labels import read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.policies import POLICIES, Material, PolicyConfig
from evergreen.images.simclr import SimCLRConfig
from evergreen.images.windows import read_windows
from evergreen.stream.adaptation import (
    Adapted,
    Answers,
    Difference,
    Evidence,
    Scope,
    WindowRef,
    scope_json,
)
from evergreen.stream.change_point import mean_change_point
from evergreen.stream.confidence import prediction_drift
from evergreen.stream.harm import HarmEstimate
from evergreen.stream.loop import LoopConfig
from evergreen.stream.promotion import Decision
from evergreen.stream.regimes import Answered, RegimePolicy, decide_regimes
from evergreen.training.precision import best_device

PROMOTION = Path("mlflow") / "promotion.yaml"
SECTION = "adaptation"


class AdaptConfig(Config):
    """The parameters of adaptation: params.yaml, images.adapt."""

    loop: LoopConfig = LoopConfig()
    training: PolicyConfig = PolicyConfig()
    harm_sample: int = 1500
    """Images of the reference that the harm estimate looks at; all held-out labelled ones are among them."""


@dataclass(frozen=True)
class Setting:
    """What the domain is made of, beside the stream: all of it names what is computed from it."""

    adapt: AdaptConfig
    drift: DriftConfig
    pretraining: SimCLRConfig
    regimes: RegimePolicy
    seed: int

    @classmethod
    def read(cls, workspace: Path, params: dict[str, Any]) -> "Setting":
        """From params.yaml (its section images) and mlflow/promotion.yaml.

        Raises:
            BadInputError: a parameter does not fit.
        """
        return cls(
            AdaptConfig.read(params["adapt"], "params.yaml: images.adapt"),
            DriftConfig.read(params["drift"], "params.yaml: images.drift"),
            SimCLRConfig.read(params["pretrain"], "params.yaml: images.pretrain"),
            read_regime_policy(workspace / PROMOTION),
            int(params["seed"]),
        )

    def identity(self) -> dict[str, Any]:
        """All of it as JSON, to name what was made with it; code and threads too, for results depend on them."""
        configs = {
            name: getattr(self, name).model_dump(mode="json") for name in ("adapt", "drift", "pretraining", "regimes")
        }
        return configs | {"seed": self.seed, "threads": torch.get_num_threads(), "code": code_sha256()}


def read_regime_policy(path: Path) -> RegimePolicy:
    """What a challenger must show to follow a change.

    Raises:
        BadInputError: the file has no such section, or the section does not fit.
    """
    section = read_yaml(path).get(SECTION)
    if not isinstance(section, dict):
        raise BadInputError(f"{path} has no section {SECTION!r}, expected names and values of the gate of adaptations.")
    return RegimePolicy.read(section, f"{path}: {SECTION}")


class ImageDomain:
    """The windows of a workspace and the models made on the way.

    Args:
        layout: where the windows and the gate's labels are.
        setting: the parameters.
        store: folder of models, by the hash of their weights, and of what made them.
    """

    policies = tuple(POLICIES)

    def __init__(self, layout: ImageLayout, setting: Setting, store: Path) -> None:
        self.layout = layout
        self.setting = setting
        self.store = store
        self.windows = [WindowRef(w.window_id, w.start, w.end, w.rows) for w in read_windows(layout.windows)]
        self.content = {w.window_id: w.content_hash for w in read_windows(layout.windows)}
        labels = read_labels(layout.gate_labels)
        self.gate = dict(zip(labels["image_id"], labels["label"], strict=True))
        self.classifier = functools.lru_cache(maxsize=4)(self._load)
        self.measured = functools.lru_cache(maxsize=256)(self._measure)
        self.reference = functools.lru_cache(maxsize=4)(self._pool)
        self.harm_model = functools.lru_cache(maxsize=4)(self._fit_harm)

    def keep(self, model: Classifier, **facts: Any) -> str:
        """Store a model; returns its name, the hash of its weights."""
        part = self.store / "models" / ".new"
        digest = save(part, model, **facts)
        target = self.model_folder(digest)
        if not (target / CONFIG).is_file():
            part.rename(target)
        return digest

    def model_folder(self, model: str) -> Path:
        """Where a model is."""
        return self.store / "models" / model

    def _load(self, model: str) -> Classifier:
        return load(self.model_folder(model), model, best_device())

    def answer(self, model: str, window: str) -> Answers:
        """The model's answers on all images of a window; the labels known are those that came with the images."""
        classifier, folder = self.classifier(model), self.layout.windows / window
        index = read_index(folder)
        probabilities = classifier.predict_probabilities(open_images(folder)).astype(np.float64)
        names = np.array(classifier.classes)
        labels = index["label"].astype(object).where(index["label"].notna(), None).to_numpy(dtype=object)
        column = {name: number for number, name in enumerate(classifier.classes)}
        of_label = np.array(
            [np.nan if label is None else (row[column[label]] if label in column else 0.0)
             for label, row in zip(labels, probabilities, strict=True)]
        )  # fmt: skip
        return Answers(
            index["image_id"].to_numpy(dtype=np.str_),
            _microseconds(index),
            names[probabilities.argmax(axis=1)],
            probabilities.max(axis=1),
            labels,
            of_label,
        )

    def compare(self, model: str, reference: Sequence[str], window: str) -> Difference:
        """The tests of step drift with the champion's own features, and one of the classes it names; its own regime.

        Each of the two may err with ``alpha``.
        """
        config = self.setting.drift
        pooled, found = self.reference(model, tuple(reference)), self.measured(model, window)
        if min(len(found.statistics), len(pooled.statistics), len(pooled.sample)) < config.min_rows:
            return Difference(False, None, None)
        tests = compare(pooled, found, config, self._rng("compare", window))
        moved = sorted((t for t in tests if t.p_adjusted <= config.alpha and t.kind == "ks"), key=_clarity)
        named = np.concatenate([self._sampled_answers(model, name) for name in reference])
        answers = prediction_drift(named, self._sampled_answers(model, window), len(self.classifier(model).classes))
        p_value = min(answers.p_value, *(test.p_adjusted for test in tests))
        names = (*(test.name for test in moved), *(["answers"] if answers.p_value <= config.alpha else []))
        drift = p_value <= config.alpha
        began = self._change_point(model, names, window) if drift else None
        return Difference(drift, tests[-1].statistic, p_value, names, began)

    def _sampled_answers(self, model: str, window: str) -> NDArray[np.int64]:
        """The classes that the model names on the images of a window that were sampled for the tests."""
        encoded, head = self.measured(model, window).encoded, self.classifier(model).head
        with torch.no_grad():
            logits = head(torch.from_numpy(np.asarray(encoded, dtype=np.float32)).to(head.weight.device))
        answers: NDArray[np.int64] = logits.argmax(dim=1).cpu().numpy()
        return answers

    def _change_point(self, model: str, moved: tuple[str, ...], window: str) -> datetime:
        """When the clearest of the moved statistics changed, at the earliest at the beginning of the window before."""
        from evergreen.images.statistics import FEATURES

        position = [ref.window_id for ref in self.windows].index(window)
        start = self.windows[position].start
        name = next((name for name in moved if name in FEATURES), None)
        if name is None or position == 0:
            return start
        names = [self.windows[position - 1].window_id, window]
        values = np.concatenate([self.measured(model, name_).statistics[:, FEATURES.index(name)] for name_ in names])
        times = pd.concat([read_index(self.layout.windows / name_)["arrived_at"] for name_ in names])
        moment: datetime = times.iloc[mean_change_point(values)].to_pydatetime()
        return moment

    def harm(self, model: str, reference: Sequence[str], window: str) -> HarmEstimate:
        """The expected fall of accuracy, from the model's own answers."""
        return self.harm_model(model, tuple(reference)).estimate(np.asarray(open_images(self.layout.windows / window)))

    def _fit_harm(self, model: str, reference: tuple[str, ...]) -> HarmModel:
        """Fit on held-out labelled images of the reference, and others beside them up to the sample's size."""
        classifier = self.classifier(model)
        images = open_windows(self.layout.windows, reference)
        codes = {name: number for number, name in enumerate(classifier.classes)}
        labels = np.array([codes.get(self.gate.get(name, ""), -1) for name in images.index["image_id"]])
        rng = self._rng("harm", *reference)
        held_out, rest = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        size = self.setting.adapt.harm_sample
        held_out = rng.permutation(held_out)[:size]
        rest = rng.permutation(rest)[: max(0, size - len(held_out))]
        rows = np.sort(np.concatenate([held_out, rest]))
        return fit_harm(
            classifier, images.take(rows).numpy(), labels[rows], self.setting.adapt.loop.harm, self.setting.seed
        )

    def evidence(self, scope: Scope) -> Evidence:
        """Images and known labels from the change point on, without the gate's."""
        images, new = self._regimes(scope)
        known = images.index["label"][new].dropna()
        return Evidence(int(new.sum()), len(known), int(known.nunique()))

    def adapt(self, policy: str, model: str, scope: Scope) -> Adapted:
        """Train a challenger, or find the one that the same inputs made."""
        pretrains = policy in ("retrain", "replay")
        identity = {
            "policy": policy,
            "model": model,
            "scope": scope_json(scope),
            "training": self.setting.adapt.training.model_dump(mode="json"),
            "pretraining": self.setting.pretraining.model_dump(mode="json") if pretrains else None,
            "seed": self.setting.seed,
            "threads": torch.get_num_threads(),
            "code": code_sha256("images"),
        }
        record = self.store / "challengers" / f"{sha256_json(identity)[:32]}.json"
        if not record.is_file():
            champion, setting = self.classifier(model), self.setting
            images, new = self._regimes(scope)
            material = Material(champion, images, new, setting.adapt.training, setting.pretraining, setting.seed)
            used = time.process_time()
            challenger, flops = POLICIES[policy](material)
            digest = model
            if challenger is not champion:
                digest = self.keep(challenger, policy=policy, horizon=self._horizon(scope))
                write_json(self.store / "timing" / f"{digest}.json", {"cpu_seconds": time.process_time() - used})
            write_json(record, {"challenger": digest, "flops": flops, "made_from": identity})
        found = read_json(record)
        return Adapted(found["challenger"], float(found["flops"]))

    def training_seconds(self, model: str) -> float:
        """CPU seconds that making a challenger took."""
        return float(read_json(self.store / "timing" / f"{model}.json")["cpu_seconds"])

    def _regimes(self, scope: Scope) -> tuple[ImageSet, NDArray[np.bool_]]:
        """The images in scope that a model may learn from, and which of them are of the new regime."""
        images = open_windows(self.layout.windows, scope.windows, TRAINING_SPLITS)
        return images, (images.index["arrived_at"] >= scope.change_point).to_numpy()

    def _horizon(self, scope: Scope) -> str:
        return next(ref.end for ref in self.windows if ref.window_id == scope.windows[-1]).isoformat()

    def prove(self, challenger: str, champion: str, scope: Scope) -> Decision:
        """Both models answer the gate's images of the new and of the old regime."""
        images = open_windows(self.layout.windows, scope.windows, ("gate",))
        index = images.index[images.index["image_id"].isin(self.gate)]
        labels = index["image_id"].map(self.gate).to_numpy(dtype=np.str_)
        pixels = images.take(index.index.to_numpy()).numpy()
        said = [self._names(model, pixels) for model in (challenger, champion)]
        new = (index["arrived_at"] >= scope.change_point).to_numpy()
        sides = [Answered(labels[side], said[0][side], said[1][side]) for side in (new, ~new)]
        return decide_regimes(sides[0], sides[1], self.setting.regimes, self.setting.seed)

    def _names(self, model: str, pixels: NDArray[np.uint8]) -> NDArray[np.str_]:
        classifier = self.classifier(model)
        names: NDArray[np.str_] = np.array(classifier.classes, dtype=np.str_)
        said: NDArray[np.str_] = names[classifier.predict_probabilities(pixels).argmax(axis=1)]
        return said

    def _measure(self, model: str, window: str) -> Measured:
        embed = self.classifier(model).embed
        images = open_images(self.layout.windows / window)
        return measure(images, self.setting.drift, self._rng("measure", window), embed)

    def _pool(self, model: str, reference: tuple[str, ...]) -> Any:
        return pool_reference(
            [self.measured(model, window) for window in reference], self.setting.drift, self._rng("reference")
        )

    def _rng(self, purpose: str, *windows: str) -> np.random.Generator:
        """Randomness that belongs to a purpose and to the content of windows, not to when it is asked for."""
        key = sha256_json([purpose, self.setting.seed, [self.content[window] for window in windows]])
        return np.random.default_rng(int(key[:16], 16))


def _clarity(test: Any) -> tuple[float, float]:
    return test.p_adjusted, -test.statistic


def _microseconds(index: pd.DataFrame) -> NDArray[np.int64]:
    times: NDArray[np.int64] = index["arrived_at"].dt.as_unit("us").to_numpy(dtype="datetime64[us]").view(np.int64)
    return times
