"""The `evergreen` churn model as a learner of the prequential engine.

Every day: the day's answers come from the network, the linear model and the day's corrections, as they were mixed best
until yesterday, and are cut where it was best until yesterday. Every few days (``every``) the network goes on training
on a replay of past labels, the recent ones more often, and the linear model is fitted anew. At a drift the engine asks
for a challenger: fine-tuned on the new regime, or trained from scratch.

At decision time labels are censored: a returner is known early, a churner only ``churn_days`` after the last purchase.
Learning from all labels of the last days would teach that everybody comes back. So a label counts from the day on which
the example's outcome would be known either way; until then a return that is known already waits. In the published view
examples are met on the day of their label, early returners and late churners alike, and nothing waits.

What depends on the stream alone, not on the network, is shared by a learner and its challengers: :class:`Diary`.
"""

from copy import deepcopy

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.retail.bundle import ChurnModel
from evergreen.retail.features import Encoder
from evergreen.retail.mixer import Mixer
from evergreen.retail.model import Linear, Network, NetworkConfig
from evergreen.retail.protocol import RunInput
from evergreen.retail.silent import Silent
from evergreen.retail.threshold import Threshold
from evergreen.stream.learner import Probabilities, Rows

BACKWARD = 3.0
"""A training step costs three passes."""


class LearnerConfig(Config):
    """How the model learns.

    Attributes:
        network: its shape.
        rate: of AdamW, for the first training.
        later: share of the rate at which the network goes on.
        decay: weight decay.
        batch: rows of a mini-batch of one member.
        first_steps: mini-batches of the first training.
        steps: mini-batches for each day, afterwards.
        every: days between two trainings.
        half_life: days after which a day is drawn half as often.
        adapt_steps: mini-batches of a fine-tuning at a drift.
        linear_days: days of labels that the linear model is fitted on.
        linear_rows: at most, drawn at random.
    """

    network: NetworkConfig = NetworkConfig()
    rate: float = pydantic.Field(5e-4, gt=0)
    later: float = pydantic.Field(0.5, gt=0)
    decay: float = pydantic.Field(1e-2, ge=0)
    batch: int = pydantic.Field(256, ge=1)
    first_steps: int = pydantic.Field(600, ge=1)
    steps: int = pydantic.Field(10, ge=0)
    every: int = pydantic.Field(5, ge=1)
    half_life: float = pydantic.Field(60.0, gt=0)
    adapt_steps: int = pydantic.Field(100, ge=1)
    linear_days: int = pydantic.Field(120, ge=1)
    linear_rows: int = pydantic.Field(60_000, ge=100)


class Diary:
    """What was answered and told, day by day, whatever model answered.

    Attributes:
        parts: (N, 4) of every row at its first answer, see :func:`evergreen.retail.mixer.combine`; NaN before.
        log_odds: (N,) as answered.
        versions: (N,) of the weights that answered first, from 1; 0 before.
        ready: (N,) day from which a row's label counts, see the module's text.
        told: rows whose label counts, by that day.
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
        self.mixer, self.threshold = Mixer(), Threshold()
        self.told: list[Rows] = []
        self.ready = stream.told
        if data.view == "default":
            either_way = stream.asked + data.churn_days - stream.features[:, -3].astype(np.int64)
            self.ready = np.maximum(stream.told, either_way)
        self._waiting: dict[int, list[Rows]] = {}
        self._last_told = first - 1
        self.editions = 0
        self.serving: ChurnLearner | None = None
        self.archive: dict[int, ChurnModel] = {}

    def day_of(self, rows: Rows) -> NDArray[np.float64]:
        """(n, 2) corrections of the days on which the rows are asked, from what is known now."""
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

    def tell(self, rows: Rows) -> bool:
        """Learn the labels of whole days, once; whether they were new."""
        stream = self.data.stream
        days = stream.told[rows]
        rows = rows[days > self._last_told]
        if not len(rows):
            return False
        for day in np.unique(stream.told[rows]).tolist():
            here = rows[stream.told[rows] == day]
            self.silent.learn(day, stream.features[here, -3].astype(np.int64), stream.labels[here])
            for ready in np.unique(self.ready[here]).tolist():
                self._waiting.setdefault(ready, []).append(here[self.ready[here] == ready])
            for ready in sorted(ready for ready in self._waiting if ready <= day):
                self._count(np.concatenate(self._waiting.pop(ready)))
            self._last_told = day
        return True

    def _count(self, rows: Rows) -> None:
        """Labels that count from now on, all of one day."""
        labels = self.data.stream.labels
        answered = rows[self.versions[rows] > 0]
        self.mixer.learn(self.parts[answered], labels[answered])
        self.threshold.learn(self.log_odds[answered], labels[answered])
        self.told.append(rows)

    def counting(self, rows: Rows) -> Rows:
        """The told rows whose label counts, by the day from which it does; all of them where a class is missing."""
        known = rows[self.ready[rows] <= self._last_told]
        if len(np.unique(self.data.stream.labels[known])) < 2:
            known = rows
        return known[np.argsort(self.ready[known], kind="stable")]

    def recent(self, days: int) -> Rows:
        """The rows told in the last days that had any."""
        return np.concatenate([np.empty(0, np.int64), *self.told[-days:]])

    def begin(self) -> None:
        """Forget who answered so far: what comes now is no rehearsal any more."""
        self.versions[:] = 0
        self.editions = 0
        self.archive.clear()

    def edition(self) -> int:
        """The number of the next weights."""
        self.editions += 1
        return self.editions


class ChurnLearner:
    """The model; see the module's text.

    Attributes:
        encoder: of examples, fitted on the first ones.
        network, linear: the two experts.
        edition: number of their weights.
        flops: spent on training so far.
    """

    def __init__(self, diary: Diary, encoder: Encoder, config: LearnerConfig, seed: int) -> None:
        self.diary, self.encoder, self.config, self.seed = diary, encoder, config, seed
        self.network = Network(encoder.width, config.network, seed)
        self.linear = Linear(np.zeros(encoder.wide + 1))
        self.edition = diary.edition()
        self.flops = 0.0
        self._random = np.random.default_rng((seed, 1))
        self._optimiser = self._new_optimiser()
        self._days = 0

    def start(self, rows: Rows) -> None:
        """The first training, on rows whose labels are known."""
        self.diary.tell(rows)
        counting = self.diary.counting(rows)
        self._train(counting, self.config.first_steps, self.config.rate)
        self._fit_linear(counting)

    def answer(self, rows: Rows) -> Probabilities:
        """(n, 2) probabilities of staying and of churning."""
        codes = self.encoder(self.diary.data.stream.features[rows])
        known = self.diary.versions[rows] > 0
        corrections = np.where(known[:, None], self.diary.parts[rows, 2:], 0.0)
        corrections[~known] = self.diary.day_of(rows[~known])
        odds = self.network.log_odds(codes), self.linear.log_odds(codes[:, : self.encoder.wide])
        parts = np.column_stack([*odds, corrections])
        log_odds = self.diary.mixer(parts)
        self.diary.note(rows, parts, log_odds, self)
        churn = 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))
        return np.column_stack([1 - churn, churn])

    def decide(self, probabilities: Probabilities) -> Rows:
        """(n,) 1 churn, 0 not: cut where macro-F was best."""
        with np.errstate(divide="ignore"):
            log_odds = np.log(probabilities[:, 1]) - np.log(probabilities[:, 0])
        return self.diary.threshold.churns(log_odds).astype(np.int64)

    def learn(self, rows: Rows) -> None:
        """A day's labels; every few days the weights move."""
        self.diary.tell(rows)
        self._days += 1
        if self._days % self.config.every == 0:
            told = self.diary.recent(len(self.diary.told))
            self._train(told, self.config.steps * self.config.every, self.config.rate * self.config.later)
            self._fit_linear(self.diary.recent(self.config.linear_days))
            self.edition = self.diary.edition()

    def frozen(self) -> ChurnModel:
        """The model as it is now, without the day's corrections."""
        network = deepcopy(self.network)
        share = float(self.diary.mixer.candidate[0])
        return ChurnModel(self.encoder, network, self.linear, share, self.diary.threshold.probability)

    def adapt(self, policy: str, rows: Rows) -> "tuple[ChurnLearner, float]":
        """A challenger: ``finetune`` goes on from these weights, ``retrain`` begins anew."""
        config = self.config
        if policy == "finetune":
            other = self._copy()
            steps, rate = config.adapt_steps, config.rate
        else:
            other = ChurnLearner(self.diary, self.encoder, config, self.seed + self.diary.editions)
            other.linear = self.linear
            steps, rate = config.first_steps, config.rate
        other.edition = self.diary.edition()
        spent = other.flops
        other._train(self.diary.counting(rows), steps, rate)
        return other, other.flops - spent

    def _copy(self) -> "ChurnLearner":
        other = ChurnLearner.__new__(ChurnLearner)
        other.diary, other.encoder, other.config, other.seed = self.diary, self.encoder, self.config, self.seed
        other.network, other.linear = deepcopy(self.network), self.linear
        other.flops, other._days = self.flops, self._days
        other._random = np.random.default_rng((self.seed, 2, self.diary.editions))
        other._optimiser = other._new_optimiser()
        return other

    def _new_optimiser(self) -> torch.optim.Optimizer:
        decay = self.config.decay
        return torch.optim.AdamW(self.network.parameters(), lr=self.config.rate, betas=(0.9, 0.99), weight_decay=decay)

    def _train(self, rows: Rows, steps: int, rate: float) -> None:
        """Mini-batches drawn from labelled rows, ordered by the day from which they count; recent days more often."""
        if not len(rows) or not steps:
            return
        stream, config = self.diary.data.stream, self.config
        members = config.network.members
        torch.manual_seed(int(self._random.integers(2**31)))  # of dropout
        days, first, sizes = np.unique(self.diary.ready[rows], return_index=True, return_counts=True)
        weights = sizes * 0.5 ** ((days[-1] - days) / config.half_life)
        drawn = self._random.choice(len(days), steps * members * config.batch, p=weights / weights.sum())
        drawn = first[drawn] + (self._random.random(len(drawn)) * sizes[drawn]).astype(np.int64)
        picked, place = np.unique(rows[drawn], return_inverse=True)
        codes = torch.from_numpy(self.encoder(stream.features[picked]))
        labels = torch.from_numpy(stream.labels[picked].astype(np.float32))
        batches = torch.from_numpy(place.reshape(steps, members, config.batch))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        for batch in batches:
            odds = self.network(codes[batch])  # (K, B)
            loss = nn_loss(odds, labels[batch]) * members  # each member as if it were alone
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._optimiser.step()
        self.flops += BACKWARD * self.network.flops(drawn.size)

    def _fit_linear(self, rows: Rows) -> None:
        if not len(rows):
            return
        if len(rows) > self.config.linear_rows:
            rows = np.sort(self._random.choice(rows, self.config.linear_rows, replace=False))
        stream = self.diary.data.stream
        codes = self.encoder(stream.features[rows])[:, : self.encoder.wide]
        self.linear = Linear.fit(codes, stream.labels[rows])


nn_loss = torch.nn.functional.binary_cross_entropy_with_logits
