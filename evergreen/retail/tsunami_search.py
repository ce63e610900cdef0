"""The published search for the network's shape and recipe: TPE over the listed space."""

from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.progress import track
from evergreen.retail.tsunami_network import Recipe, Trainer


class SearchSettings(Config):
    """How long the search may be.

    Attributes:
        trials: recipes that are tried.
        epochs: at most, of a training; it usually stops by itself before.
    """

    trials: int = pydantic.Field(20, ge=1)
    epochs: int = pydantic.Field(200, ge=1)


def search(
    features: NDArray[np.float32], labels: NDArray[np.bool_], settings: SearchSettings, seed: int
) -> tuple[Trainer, float]:
    """Train a network by each of ``trials`` recipes; the one with the smallest validation loss.

    Every trial is stopped by the same validation rows, so their losses can be compared.

    Args:
        features: (n, d), scaled.
        labels: (n,).
        settings: how long.
        seed: of the search and of the trainings.

    Returns:
        The trained network, and its validation loss.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    best: Trainer | None = None
    with track("search", total=settings.trials, unit="recipes") as progress:
        for _ in range(settings.trials):
            trial = study.ask()
            trainer = Trainer(features.shape[1], suggest(trial), settings.epochs, seed)
            loss = trainer.fit(features, labels)
            if best is None or loss < study.best_value:
                best = trainer
            study.tell(trial, loss)
            progress.advance(loss=f"{study.best_value:.4f}")
    assert best is not None
    return best, float(study.best_value)


def suggest(trial: Any) -> Recipe:
    """A point of the published space."""
    widths = [int(trial.suggest_categorical("width_1", [16, 32, 64, 128]))]
    for layer in range(2, int(trial.suggest_int("layers", 1, 3)) + 1):
        widths.append(int(trial.suggest_int(f"width_{layer}", 10, 150, log=True)))
    return Recipe(
        tuple(widths),
        float(trial.suggest_float("dropout", 0.0, 0.5)),
        2 ** int(trial.suggest_int("batch_log2", 8, 10)),
        float(trial.suggest_float("rate", 1e-5, 1e-2, log=True)),
    )
