"""How good a classifier's answers are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


def classification_scores(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: list[str]
) -> dict[str, Any]:
    """Accuracy, macro F1, per-class precision, recall and F1, and the confusion matrix.

    Args:
        labels: (N,) true class numbers.
        predicted: (N,) predicted class numbers.
        classes: their names, in the order of the numbers.

    Returns:
        ``accuracy`` and ``macro_f1`` (mean over all classes; one that never occurs nor is predicted counts 0),
        ``per_class``: list of {class, precision, recall, f1, support}, ``confusion``: rows true, columns predicted.
    """
    numbers = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=0.0
    )
    return {
        "accuracy": float((labels == predicted).mean()),
        "macro_f1": float(f1.mean()),
        "per_class": [
            {
                "class": name,
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(classes)
        ],
        "confusion": confusion_matrix(labels, predicted, labels=numbers).tolist(),
    }
