"""The published system (Pasquadibisceglie et al. 2023), as its code behaves: the reference to beat.

The network is linear (no activations), its search, detector, window and fine-tuning are the published ones. What is
otherwise than in the published code, as harmless or as a mere accident, is said where it happens: the class weights
(:func:`~evergreen.retail.tsunami_network.class_weights`), the moment of the answer
(:mod:`evergreen.retail.daily_loop`), and river's ADWIN, which since its version 0.11 begins anew after an alarm.
"""

import numpy as np
import pydantic
from numpy.typing import NDArray

from evergreen.retail.daily_loop import DailySettings, Features, Labels, run_daily
from evergreen.retail.protocol import RunInput, RunOutput
from evergreen.retail.tsunami_network import Trainer
from evergreen.retail.tsunami_search import SearchSettings, search


class TsunamiSettings(DailySettings):
    """The loop's settings and the search's."""

    search: SearchSettings = pydantic.Field(default_factory=SearchSettings)


class Tsunami:
    """The network in the loop: all layers are fine-tuned by the recipe that was found, the optimiser goes on."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def answer(self, features: Features) -> NDArray[np.float64]:
        return self.trainer.answer(features)

    def adapt(self, features: Features, labels: Labels) -> float:
        before = self.trainer.flops
        self.trainer.fit(features, labels)
        return self.trainer.flops - before


def run_tsunami(data: RunInput, settings: TsunamiSettings | None = None) -> RunOutput:
    """Search, train, and go through the online days."""
    import torch

    settings = settings or TsunamiSettings()
    torch.set_num_threads(data.threads)
    found: list[tuple[Trainer, float]] = []

    def fit(features: Features, labels: Labels) -> Tsunami:
        found.append(search(features, labels, settings.search, data.seed))
        return Tsunami(found[0][0])

    output = run_daily(data, fit, settings)
    recipe, loss = found[0][0].recipe, found[0][1]
    output.notes["recipe"] = {
        "widths": list(recipe.widths), "dropout": recipe.dropout, "batch": recipe.batch, "rate": recipe.rate,
        "validation_loss": loss,
    }  # fmt: skip
    return output
