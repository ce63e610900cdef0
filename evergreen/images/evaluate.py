"""Step `evaluate`: challenger and champion answer the gate's images, and the promotion policy decides."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config, read_yaml
from evergreen.errors import BadInputError
from evergreen.files import write_atomically, write_json
from evergreen.images.arrays import to_table
from evergreen.images.bundle import CONFIG, Classifier, load
from evergreen.images.imageset import ImageSet, open_windows
from evergreen.images.labels import read_labels
from evergreen.images.layout import ImageLayout
from evergreen.images.scores import classification_scores
from evergreen.progress import Progress, track
from evergreen.stream.promotion import Decision, PromotionPolicy, decide
from evergreen.training.precision import best_device, set_threads

POLICY = Path("mlflow") / "promotion.yaml"
SECTION = "images"

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("challenger", pa.string(), nullable=False),
        pa.field("champion", pa.string()),  # null where there is no champion
        pa.field("score", pa.float32(), nullable=False),  # the challenger's probability of its answer
    ]
)
"""The columns of predictions/gate.parquet."""


class EvaluateConfig(Config):
    """How the gate's images are answered."""

    batch_size: int = Field(default=512, ge=1)


@dataclass(frozen=True)
class Answers:
    """A model's answers: class names (N,) and their probabilities (N,)."""

    names: NDArray[np.str_]
    scores: NDArray[np.float32]


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Write predictions/gate.parquet and metrics/evaluate.json.

    Raises:
        BadInputError: the policy does not fit, a model is damaged, or the champion is not the one that was exported.
    """
    layout = ImageLayout(workspace)
    config = EvaluateConfig.read(params["evaluate"], "params.yaml: images.evaluate")
    policy = read_policy(workspace / POLICY)
    set_threads(params["threads"])
    started = time.perf_counter()
    rows, result = pd.DataFrame(columns=PREDICTIONS_SCHEMA.names), {"skipped": "there is no classifier to judge"}
    if (layout.classifier / CONFIG).is_file():
        device = best_device()
        challenger = load(layout.classifier, device=device)
        expected = params["champion"]
        champion = load(layout.champion, expected_sha256=expected, device=device) if expected else None
        rows, result = evaluate(layout, challenger, champion, policy, params["seed"], config.batch_size)
    write_atomically(layout.predictions / "gate.parquet", lambda part: _write_rows(part, rows))
    write_json(layout.metrics / "evaluate.json", result)
    write_json(layout.metrics / "evaluate.timing.json", {"seconds": time.perf_counter() - started})


def read_policy(path: Path) -> PromotionPolicy:
    """The promotion policy for images.

    Raises:
        BadInputError: the file is missing or does not fit.
    """
    sections = read_yaml(path)
    if not isinstance(sections.get(SECTION), dict):
        raise BadInputError(
            f"{path} has no section {SECTION!r}, expected the names and values of the promotion policy."
        )
    return PromotionPolicy.read(sections[SECTION], f"{path}: {SECTION}")


def evaluate(
    layout: ImageLayout,
    challenger: Classifier,
    champion: Classifier | None,
    policy: PromotionPolicy,
    seed: int,
    batch_size: int = 512,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compare two models on the gate's images, those of them that are in a window.

    Args:
        layout: where the windows and the gate's labels are.
        challenger: the new model.
        champion: the model in service, None if there is none.
        policy: what the challenger must show.
        seed: of the bootstrap.
        batch_size: images in memory at a time.

    Returns:
        The rows of predictions/gate.parquet and the content of metrics/evaluate.json.
    """
    images, gate = gate_images(layout)
    labels = gate["label"].to_numpy(dtype=np.str_)
    models = [model for model in (challenger, champion) if model is not None]
    with track("evaluate", total=len(gate) * len(models), unit="images") as progress:
        answers = [answer(model, images, gate["row"].to_numpy(), batch_size, progress) for model in models]
    decision = judge(labels, challenger, champion, answers, policy, seed)
    rows = gate[["image_id", "label"]].assign(
        challenger=answers[0].names, champion=answers[1].names if champion else None, score=answers[0].scores
    )
    reports = [
        {**report(labels, found.names, model.classes), "weights_sha256": model.weights_sha256}
        for model, found in zip(models, answers, strict=True)
    ]
    result = {
        "n_gate": len(gate),
        "challenger": reports[0],
        "champion": reports[1] if champion else None,
        "decision": decision.to_json(),
    }
    return rows, result


def gate_images(layout: ImageLayout) -> tuple[ImageSet | None, pd.DataFrame]:
    """The labelled gate images: the set they are in, and image_id, label and row in it, sorted by image_id.

    Those that validation refused are in no window and do not count. None and no rows if there are none.
    """
    labels = read_labels(layout.gate_labels)
    windows = sorted(folder.name for folder in layout.windows.glob(f"{SECTION}-*"))
    if labels.empty or not windows:
        return None, labels.assign(row=np.int64(0)).iloc[:0]
    images = open_windows(layout.windows, windows)
    held_out = images.index.loc[images.index["split"] == "gate", ["image_id"]]
    gate = held_out.assign(row=held_out.index).merge(labels, on="image_id", validate="one_to_one")
    return images, gate.sort_values("image_id", ignore_index=True)


def answer(
    model: Classifier, images: ImageSet | None, rows: NDArray[np.int64], batch_size: int, progress: Progress
) -> Answers:
    """A model's answers for some rows of an image set, batch by batch."""
    names, scores = [np.empty(0, dtype=np.str_)], [np.empty(0, dtype=np.float32)]
    for start in range(0, len(rows) if images is not None else 0, batch_size):
        assert images is not None
        batch = images.take(rows[start : start + batch_size]).numpy()
        probabilities = model.predict_probabilities(batch)
        names.append(np.array(model.classes, dtype=np.str_)[probabilities.argmax(axis=1)])
        scores.append(probabilities.max(axis=1))
        progress.advance(len(batch))
    return Answers(np.concatenate(names), np.concatenate(scores))


def judge(
    labels: NDArray[np.str_],
    challenger: Classifier,
    champion: Classifier | None,
    answers: list[Answers],
    policy: PromotionPolicy,
    seed: int,
) -> Decision:
    """The policy's decision, or why the two models cannot be compared."""
    if champion is not None and champion.weights_sha256 == challenger.weights_sha256:
        return Decision(False, "the challenger has the same weights as the champion")
    if champion is not None and set(champion.classes) != set(challenger.classes):
        return Decision(
            False,
            f"not comparable: the champion knows {_names(champion.classes)}, the challenger "
            f"{_names(challenger.classes)}; to change the classes, promote by hand with `evergreen models promote`",
        )
    # a label that no model knows counts as an error of both
    classes = sorted({*challenger.classes, *labels.tolist()})
    codes = [np.searchsorted(classes, names) for names in (labels, *(found.names for found in answers))]
    return decide(codes[0], codes[1], codes[2] if champion else None, classes, policy, seed)


def report(labels: NDArray[np.str_], predictions: NDArray[np.str_], classes: list[str]) -> dict[str, Any]:
    """Scores of a model that knows ``classes``, over all and for each class; without labels there are none."""
    if not len(labels):
        return {"accuracy": None, "macro_f1": None, "per_class_recall": {}, "per_class": [], "confusion": []}
    names = sorted({*classes, *labels.tolist()})
    scores = classification_scores(np.searchsorted(names, labels), np.searchsorted(names, predictions), names)
    return {**scores, "per_class_recall": {row["class"]: row["recall"] for row in scores["per_class"]}}


def _names(classes: list[str]) -> str:
    shown = ", ".join(classes[:5])
    return f"{len(classes)} classes ({shown}{', …' if len(classes) > 5 else ''})"


def _write_rows(path: Path, rows: pd.DataFrame) -> None:
    pq.write_table(to_table(rows, PREDICTIONS_SCHEMA), path)
