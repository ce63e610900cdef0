"""A classifier bundle as MLflow's generic Python model. MLflow imports this module by name; it imports no MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.images.bundle import Classifier, load
from evergreen.logged_model import named_sha256


class ImageModel:
    """Answers with a table, a row for each image."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def predict(self, model_input: NDArray[np.uint8], params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Classify images.

        Args:
            model_input: uint8 (N, H, W, 3).
            params: none are known.

        Returns:
            Columns prediction (class name), score (its probability), probabilities (list, in the order of the classes).
        """
        probabilities = self.classifier.predict_probabilities(np.ascontiguousarray(model_input))
        best = probabilities.argmax(axis=1)
        return pd.DataFrame(
            {
                "prediction": [self.classifier.classes[index] for index in best],
                "score": probabilities[np.arange(len(best)), best],
                "probabilities": probabilities.tolist(),
            }
        )


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> ImageModel:
    """Load a logged bundle; MLflow's hook.

    Raises:
        BadInputError: the model was logged without its weights' hash, or the weights have another one.
    """
    return ImageModel(load(Path(data_path), expected_sha256=named_sha256(model_config)))
