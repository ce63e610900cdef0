"""What was answered and told on a stream of customers, day by day, whatever model answered.

It holds what a learner and its challengers share: what there is to learn from, the mixture, and the cut.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evergreen.retail.bundle import ChurnModel
from evergreen.retail.lessons import CensoredLessons, Lessons
from evergreen.retail.mixer import Mixer
from evergreen.retail.protocol import RunInput
from evergreen.retail.silent import Silent
from evergreen.retail.threshold import ExpectedThreshold, Threshold
from evergreen.stream.learner import Rows

if TYPE_CHECKING:
    from evergreen.retail.learner import ChurnLearner


class Diary:
    """See the module's text.

    Attributes:
        parts: (N, 4) of every row at its first answer, see :func:`evergreen.retail.mixer.combine`; NaN before.
        log_odds: (N,) as answered.
        versions: (N,) of the weights that answered first, from 1; 0 before.
        late: whether labels come later than answers.
        lessons: what is learned from.
        serving: the model that gave the latest first answers.
        archive: the models that answered, by version.
    """

    def __init__(self, data: RunInput) -> None:
        stream = data.stream
        self.data, rows = data, len(stream)
        self.parts = np.full((rows, 4), np.nan)
        self.log_odds = np.full(rows, np.nan)
        self.versions = np.zeros(rows, np.int32)
        first, last = int(stream.told[data.initial].min()), int(stream.asked.max())
        self.silent = Silent(data.churn_days, first, last + data.churn_days)
        self.late = bool((stream.told > stream.asked)[data.initial].any())
        self.mixer = Mixer(0.5) if self.late else Mixer()
        self.threshold: Threshold | ExpectedThreshold = ExpectedThreshold() if self.late else Threshold()
        self.lessons = CensoredLessons(stream, first, data.churn_days) if self.late else Lessons(stream)
        self.last_told = first - 1
        self._answered: list[Rows] = []
        self.editions = 0
        self.serving: ChurnLearner | None = None
        self.archive: dict[int, ChurnModel] = {}

    def day_of(self, rows: Rows) -> NDArray[np.float64]:
        """(n, 2) corrections of the days on which the rows are asked, from what is known now; 0 at decision time."""
        if self.late:
            return np.zeros((len(rows), 2))
        days, place = np.unique(self.data.stream.asked[rows], return_inverse=True)
        return np.array([self.silent.corrections(int(day)) for day in days]).reshape(-1, 2)[place]

    def note(
        self, rows: Rows, parts: NDArray[np.float64], log_odds: NDArray[np.float64], model: "ChurnLearner"
    ) -> None:
        """Keep the first answer to each row; later ones are rehearsals of a gate."""
        new = self.versions[rows] == 0
        if not new.any():
            return
        self.serving = model
        if model.edition not in self.archive:
            self.archive[model.edition] = model.frozen()
        self.parts[rows[new]], self.log_odds[rows[new]] = parts[new], log_odds[new]
        self.versions[rows[new]] = model.edition
        self._answered.append(rows[new])

    def tell(self, rows: Rows) -> None:
        """Learn the labels of whole days, once."""
        stream = self.data.stream
        self.cut()
        rows = rows[stream.told[rows] > self.last_told]
        for day in np.unique(stream.told[rows]).tolist():
            here = rows[stream.told[rows] == day]
            self.last_told = day
            self.lessons.tell(day, here)
            if isinstance(self.threshold, Threshold):
                self.silent.learn(day, stream.features[here, -3].astype(np.int64), stream.labels[here])
                answered = here[self.versions[here] > 0]
                self.mixer.learn(self.parts[answered], stream.labels[answered])
                self.threshold.learn(self.log_odds[answered], stream.labels[answered])

    def cut(self) -> None:
        """The day's answers are complete."""
        if isinstance(self.threshold, ExpectedThreshold):
            self.threshold.answered(self.log_odds[np.concatenate([np.empty(0, np.int64), *self._answered])])
        self._answered.clear()

    def memory(self, days: float, horizons: int) -> float:
        """Days of memory; where labels come late, at least so many horizons."""
        return max(days, horizons * self.data.churn_days) if self.late else days

    def begin(self) -> None:
        """Forget who answered so far: what comes now is no rehearsal any more."""
        self.versions[:] = 0
        self.editions = 0
        self.archive.clear()
        if self.late:
            self.threshold = ExpectedThreshold()

    def edition(self) -> int:
        """The number of the next weights."""
        self.editions += 1
        return self.editions
