"""The rivals of `evergreen` by name: each goes through the same stream by the same rules.

`logistic-window` and `xgboost-window` belong to :mod:`evergreen.retail.window_baselines`.
"""

from collections.abc import Callable

from evergreen.retail.protocol import RunInput, RunOutput


def tsunami(data: RunInput) -> RunOutput:
    """The published system."""
    from evergreen.retail.tsunami import run_tsunami

    return run_tsunami(data)


def logistic_regression(data: RunInput) -> RunOutput:
    """Logistic regression in the published loop."""
    from evergreen.retail.batch_baselines import logistic_regression as run

    return run(data)


def random_forest(data: RunInput) -> RunOutput:
    """A random forest in the published loop."""
    from evergreen.retail.batch_baselines import random_forest as run

    return run(data)


def xgboost(data: RunInput) -> RunOutput:
    """XGBoost in the published loop."""
    from evergreen.retail.batch_baselines import xgboost as run

    return run(data)


def adaptive_tree(data: RunInput) -> RunOutput:
    """River's Hoeffding adaptive tree."""
    from evergreen.retail.trees import adaptive_tree as run

    return run(data)


def adaptive_forest(data: RunInput) -> RunOutput:
    """River's adaptive random forest."""
    from evergreen.retail.trees import adaptive_forest as run

    return run(data)


BASELINES: dict[str, Callable[[RunInput], RunOutput]] = {
    "tsunami": tsunami,
    "logistic-regression": logistic_regression,
    "random-forest": random_forest,
    "xgboost": xgboost,
    "adaptive-tree": adaptive_tree,
    "adaptive-forest": adaptive_forest,
}
