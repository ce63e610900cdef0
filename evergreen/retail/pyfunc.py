"""A churn model as MLflow's generic Python model. MLflow imports this module by name; it imports no MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evergreen.logged_model import named_sha256
from evergreen.retail.bundle import ChurnModel, load
from evergreen.retail.example_frames import feature_names

OUTPUTS = {"risk": "double", "churn": "boolean"}
OPTIONAL: frozenset[str] = frozenset()
"""Input columns that may be missing."""


def inputs(model: ChurnModel) -> dict[str, str]:
    """The columns that the model takes, with MLflow's names of their types."""
    return dict.fromkeys(feature_names(model.periods), "double")


class RetailModel:
    """Answers with a table, a row for each example."""

    def __init__(self, model: ChurnModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Risk of customers.

        Args:
            model_input: recency_1, frequency_1, monetary_1, …, the oldest period first; recency −1 where the period has
                no purchase.
            params: none are known.

        Returns:
            Columns risk (probability of churn) and churn (whether it reaches the model's threshold).
        """
        names = feature_names(self.model.periods)
        risk = self.model.probabilities(model_input[names].to_numpy(dtype=float))
        return pd.DataFrame({"risk": risk, "churn": risk >= self.model.threshold})


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> RetailModel:
    """Load a logged bundle; MLflow's hook.

    Raises:
        BadInputError: the model was logged without its weights' hash, or the weights have another one.
    """
    return RetailModel(load(Path(data_path), expected_sha256=named_sha256(model_config)))
