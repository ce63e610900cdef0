"""How good the models are, as rows of tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.report.inputs import Record


@dataclass(frozen=True)
class Row:
    """One model of the table of results. Fractions of 1; None where something was not measured."""

    name: str
    note: str
    labels: int | None
    accuracy: float | None
    macro_f1: float | None = None
    noisy: float | None = None
    gain: float | None = None
    interval: tuple[float, float] | None = None
    registered: bool = False


@dataclass(frozen=True)
class Recall:
    """How a class fared at the gate. Fractions of 1; ``change`` is the challenger's recall minus the champion's."""

    name: str
    challenger: float
    champion: float | None
    change: float | None
    support: int


@dataclass(frozen=True)
class Confusion:
    """Counts by true class (rows) and predicted class (columns), and the mix-ups that occur most often."""

    classes: list[str]
    counts: list[list[int]]
    shares: list[list[float]]
    pairs: list[tuple[str, str, int]]


def result_rows(probe: Record, finetune: Sequence[Record], predictions: pd.DataFrame) -> list[Row]:
    """Probes, fine-tuned models and their supervised counterparts, in the order of the page."""
    rows = []
    if "linear_accuracy" in probe:
        labels = probe.get("n_train")
        rows.append(
            Row(
                "Linear probe",
                "frozen features, all labels",
                labels,
                probe["linear_accuracy"],
                noisy=probe.get("linear_accuracy_noisy"),
            )
        )
        neighbours = f"{probe['neighbours']} nearest neighbours" if "neighbours" in probe else "nearest neighbours"
        rows.append(
            Row(
                "kNN probe",
                f"{neighbours}, all labels",
                labels,
                probe["knn_accuracy"],
                noisy=probe.get("knn_accuracy_noisy"),
            )
        )
    for number, entry in enumerate(finetune):
        rows += _contenders(entry, predictions if number == 0 else None)
    return rows


def _contenders(entry: Record, predictions: pd.DataFrame | None) -> list[Row]:
    share = f"{100 * entry['label_fraction']:.2g}\u202f% of the labels"
    labels = entry["labels"]
    measured = entry.get("accuracy") is not None
    gain = entry["accuracy"] - entry["supervised_accuracy"] if measured else None
    tuned = Row(
        "Fine-tuned",
        share,
        labels,
        entry.get("accuracy"),
        entry.get("macro_f1"),
        entry.get("accuracy_noisy"),
        gain,
        None if predictions is None else paired_interval(predictions),
        registered=predictions is not None,
    )
    supervised = Row(
        "Supervised from scratch",
        f"{share}, same compute",
        labels,
        entry.get("supervised_accuracy"),
        entry.get("supervised_macro_f1"),
        entry.get("supervised_accuracy_noisy"),
    )
    linear = Row(
        "Linear head",
        f"{share}, frozen features",
        labels,
        entry.get("linear_accuracy"),
        entry.get("linear_macro_f1"),
        entry.get("linear_accuracy_noisy"),
    )
    return [tuned, linear, supervised]


def paired_interval(predictions: pd.DataFrame) -> tuple[float, float] | None:
    """95 % interval of the accuracy gained on the supervised model, over the choice of test images.

    Both models answer the same images, so the interval is that of the mean paired difference (right minus right),
    by the normal approximation.

    Args:
        predictions: columns label, prediction, supervised.
    """
    if len(predictions) < 2 or "supervised" not in predictions or predictions["supervised"].isna().any():
        return None
    right = (predictions["prediction"] == predictions["label"]).to_numpy(float)
    difference: NDArray[np.float64] = right - (predictions["supervised"] == predictions["label"]).to_numpy(float)
    half = 1.96 * float(difference.std(ddof=1)) / float(np.sqrt(len(difference)))
    centre = float(difference.mean())
    return centre - half, centre + half


def confusion(entry: Record, most: int = 10) -> Confusion:
    """The confusion matrix of one fine-tuned model, with each row's shares.

    Args:
        entry: of finetune.json.
        most: how many of the most frequent mix-ups to name.
    """
    classes = [str(name) for name in entry["classes"]]
    counts = np.asarray(entry["confusion"], np.int64).reshape(len(classes), len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = counts * (1 - np.eye(len(classes), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [(int(cell) // len(classes), int(cell) % len(classes)) for cell in order]
    pairs = [(classes[i], classes[j], int(wrong[i, j])) for i, j in cells if wrong[i, j]]
    return Confusion(classes, counts.tolist(), shares.tolist(), pairs)


def gate_recalls(evaluate: Record) -> list[Recall]:
    """Recall of each class at the gate, the largest losses first, then in the order of names."""
    if not evaluate.get("challenger"):
        return []
    before = (evaluate.get("champion") or {}).get("per_class_recall", {})
    rows = []
    for entry in evaluate["challenger"]["per_class"]:
        name, found, champion = str(entry["class"]), float(entry["recall"]), before.get(entry["class"])
        change = None if champion is None else found - champion
        rows.append(Recall(name, found, champion, change, int(entry["support"])))
    return sorted(rows, key=lambda row: (0.0 if row.change is None else row.change, row.name))


def confident_mistakes(predictions: pd.DataFrame, most: int) -> pd.DataFrame:
    """The wrong answers with the highest score, the worst first; ties in the order of image_id."""
    wrong = predictions[predictions["prediction"] != predictions["label"]]
    return wrong.sort_values(["score", "image_id"], ascending=[False, True], kind="stable").head(most)
