"""The figures of a churn run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.retail.example_frames import NEVER
from evergreen.retail.protocol import RunInput, RunOutput

Figures = dict[str, Any]
FIGURES = ("macro_f1", "f1_churn", "f1_non_churn", "auc", "log_loss")


def figures(data: RunInput, output: RunOutput) -> Figures:
    """Pooled over all answers whose label is known at the end of the stream.

    In the default view ``matured`` has the same over the answers whose outcome is known *either way*: ``churn_days``
    have passed since the customer's last purchase. Of the younger ones only those who came back are known, so they
    are no fair sample.
    """
    stream, asked = data.stream, data.scored()
    known = asked[stream.told[asked] < NEVER]
    found = _pooled(stream.labels[known], output.predictions[known], output.scores[known])
    if data.view == "default":
        last = stream.told[stream.told < NEVER].max()
        matured = known[stream.asked[known] + data.churn_days - stream.features[known, -3] <= last]
        found["matured"] = _pooled(stream.labels[matured], output.predictions[matured], output.scores[matured])
    return found


def over_seeds(runs: Sequence[Figures]) -> Figures:
    """The mean of each figure over runs with different seeds; ``spread`` is largest minus smallest macro-F."""
    macro = [run["macro_f1"] for run in runs]
    found: Figures = {name: _mean([run[name] for run in runs]) for name in FIGURES}
    found |= {"n_scored": runs[0]["n_scored"], "seeds": len(runs), "spread": None, "by_seed": macro}
    if all(value is not None for value in macro):
        found["spread"] = max(macro) - min(macro)
    if "matured" in runs[0]:
        found["matured"] = over_seeds([run["matured"] for run in runs])
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _pooled(labels: NDArray[np.bool_], predictions: NDArray[np.int8], scores: NDArray[np.float64]) -> Figures:
    """None where there is nothing to measure."""
    f_churn, f_stay = (f_score(labels == value, predictions == value) for value in (True, False))
    both = [value for value in (f_churn, f_stay) if value is not None]
    finite = bool(len(labels)) and bool(np.isfinite(scores).all())
    return {
        "macro_f1": float(np.mean(both)) if both else None,
        "f1_churn": f_churn,
        "f1_non_churn": f_stay,
        "auc": area(labels, scores) if finite else None,
        "log_loss": _log_loss(labels, scores) if finite else None,
        "n_scored": len(labels),
    }


def f_score(actual: NDArray[np.bool_], answered: NDArray[np.bool_]) -> float | None:
    """F of one class; None if it neither occurs nor is answered."""
    either = int(actual.sum()) + int(answered.sum())
    return 2 * int((actual & answered).sum()) / either if either else None


def area(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve: the chance that a churner's score is the higher one, ties half; None with one class."""
    from scipy.stats import rankdata

    churn = int(labels.sum())
    stay = len(labels) - churn
    if not churn or not stay:
        return None
    return float((rankdata(scores)[labels].sum() - churn * (churn + 1) / 2) / (churn * stay))


def _log_loss(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    of_label = np.where(labels, scores, 1 - scores)
    return float(-np.log(np.maximum(of_label, 1e-6)).mean())
