"""All parts of the ``evergreen`` model that answer: counts, network, mixture and decision."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from evergreen.process.contexts import Family, Ints, Keys, views
from evergreen.process.counts import STEP as WIDTH
from evergreen.process.counts import CountTable
from evergreen.process.decision import MacroF
from evergreen.process.mixture import Mixture, Opinions, Probabilities, from_counts, from_probabilities
from evergreen.process.network import Network
from evergreen.process.prefixes import Window

Numbers = NDArray[np.float64]

MOST_DAYS = 3_650.0
AT_ONCE = 512
"""Cases answered in one go: what experts say of each takes several kilobytes."""


@dataclass(frozen=True)
class Said:
    """Answers to n cases.

    Attributes:
        probabilities: (n, C) of the next activity.
        classes: (n,) the decision.
        remaining_days: (n,) until the case's last event.
        outcome: (n, C) probability of each activity as the outcome.
    """

    probabilities: Probabilities
    classes: Ints
    remaining_days: Numbers
    outcome: Numbers


@dataclass(frozen=True)
class Heard:
    """What the experts say of n cases, before it is mixed; the keys of their contexts are kept to learn them.

    Attributes:
        views: of the cases.
        keys: (n, F).
        opinions: of F + 1 experts.
        remaining_days: (n,).
        outcome: (n, C).
    """

    views: dict[str, Keys]
    keys: Keys
    opinions: Opinions
    remaining_days: Numbers
    outcome: Numbers

    def part(self, count: int) -> "Heard":
        """The first ones."""
        return Heard(
            {name: key[:count] for name, key in self.views.items()},
            self.keys[:count],
            self.opinions.part(0, count),
            self.remaining_days[:count],
            self.outcome[:count],
        )


class Ensemble:
    """See the module.

    Attributes:
        known: activities that there have been, the first ones of the table's columns.
    """

    def __init__(self, families: tuple[Family, ...], network: Network, max_bytes: int) -> None:
        self.table = CountTable(families, max_bytes)
        self.mixture = Mixture(len(families) + 1)
        self.decision = MacroF()
        self.network = network
        self.known = 0
        self.table.grow(WIDTH)

    def hear(self, window: Window, known: Ints, labels: Ints | None) -> Heard:
        """Let all experts speak.

        Args:
            window: of n cases.
            known: (n,) activities that there were before each is asked.
            labels: (n,) what follows each, learned before the next one is asked; None: all are asked at once.
        """
        found = views(window)
        keys = self.table.keys(found, labels)
        classes = self.table.classes
        opinions = from_counts(self.table.before(keys, labels), np.arange(classes) < known[:, None])
        self.network.eval()
        with torch.inference_mode():
            heads = self.network(self.network.inputs(window))
            following = _wide(torch.softmax(heads.following, 1), classes)
            outcome = _wide(torch.softmax(heads.outcome, 1), classes)
            days = torch.expm1(heads.remaining.clamp(0.0, float(np.log1p(MOST_DAYS)))).numpy()
        joined = opinions.joined(*from_probabilities(following))
        return Heard(found, keys, joined, days.astype(np.float64), outcome.astype(np.float64))

    def say(self, window: Window) -> Said:
        """All answers for n cases as they are at the end of their windows, with everything as it is now."""
        parts = [self._say(_slice(window, start)) for start in range(0, max(len(window.activity), 1), AT_ONCE)]
        columns = ([getattr(part, field.name) for part in parts] for field in fields(Said))
        return Said(*(np.concatenate(column) for column in columns))

    def _say(self, window: Window) -> Said:
        heard = self.hear(window, np.full(len(window.activity), self.known), None)
        probabilities = self.mixture.answer(heard.opinions)
        return Said(probabilities, self.decision.decide(probabilities), heard.remaining_days, heard.outcome)


def _slice(window: Window, start: int) -> Window:
    part = slice(start, start + AT_ONCE)
    return Window(window.activity[part], window.resource[part], window.numbers[part])


def _wide(values: torch.Tensor, classes: int) -> NDArray[np.float32]:
    """(n, classes) the columns that there are, zeros for the others."""
    found: NDArray[np.float32] = values.numpy()
    return np.pad(found, ((0, 0), (0, max(0, classes - found.shape[1]))))[:, :classes]
