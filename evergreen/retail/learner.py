"""The `evergreen` churn model as a learner of the prequential engine.

Every day: the day's answers come from the network, the linear model and the day's corrections, as they were mixed best
until yesterday, and are cut where it was best until yesterday. Every few days (``every``) the network goes on training
on a replay of past labels, the recent ones more often, and the linear model is fitted anew. At a drift the engine asks
for a challenger: fine-tuned on the new regime, or trained from scratch.

At decision time labels come late, a returner's early and a churner's only ``churn_days`` after the last purchase. There
every example is learned from, with its label or what is to be expected of it (:mod:`evergreen.retail.lessons`); the
memory is a horizon; the cut needs no labels, and the mixture is the mean of both, because its judges would be a horizon
old; and there are no corrections: they foretell how the labels of a day are mixed, not what becomes of the customers
who are asked about on it.

What depends on the stream alone, not on the network, is shared by a learner and its challengers: see
:class:`evergreen.retail.diary.Diary`.
"""

from copy import deepcopy

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.retail.bundle import ChurnModel
from evergreen.retail.diary import Diary
from evergreen.retail.features import Encoder
from evergreen.retail.lessons import CensoredLessons, Risk
from evergreen.retail.model import Linear, Network, NetworkConfig
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
        half_life: days after which a day is drawn half as often; at decision time at least the horizon.
        adapt_steps: mini-batches of a fine-tuning at a drift.
        linear_days: days that the linear model is fitted on; at decision time at least two horizons.
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
        lessons = self.diary.lessons
        self.diary.tell(rows)
        if isinstance(lessons, CensoredLessons):
            rows = lessons.recent()
            self._fit_linear(rows, lessons.prior)
        self._train(rows, self.config.first_steps, self.config.rate, self._first_risk)
        self._fit_linear(rows)

    def catch_up(self) -> None:
        """At decision time: answer what was asked on the last day before, so that the first day has a cut."""
        stream, today = self.diary.data.stream, self.diary.last_told
        rows = np.flatnonzero((stream.asked == today) & (stream.told > today))
        if len(rows):
            self.answer(rows)
            self.diary.cut()

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
        config, lessons = self.config, self.diary.lessons
        self.diary.tell(rows)
        self._days += 1
        if self._days % config.every == 0:
            self._train(lessons.recent(), config.steps * config.every, config.rate * config.later)
            self._fit_linear(lessons.recent(int(self.diary.memory(config.linear_days, 2))))
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
        other._train(self.diary.lessons.fair(rows), steps, rate)
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

    def _risk(self, rows: Rows) -> NDArray[np.float64]:
        """(n,) of both experts together."""
        codes = self.encoder(self.diary.data.stream.features[rows])
        odds = self.network.log_odds(codes), self.linear.log_odds(codes[:, : self.encoder.wide])
        log_odds = self.diary.mixer(np.column_stack([*odds, np.zeros((len(rows), 2))]))
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -500, 500))))

    def _first_risk(self, rows: Rows) -> NDArray[np.float64]:
        """(n,) of the linear model, while the network knows nothing."""
        codes = self.encoder(self.diary.data.stream.features[rows])[:, : self.encoder.wide]
        return np.asarray(1 / (1 + np.exp(-np.clip(self.linear.log_odds(codes), -500, 500))))

    def _train(self, rows: Rows, steps: int, rate: float, risk: Risk | None = None) -> None:
        """Mini-batches drawn from rows, oldest first; recent days more often."""
        if not len(rows) or not steps:
            return
        lessons, config = self.diary.lessons, self.config
        members = config.network.members
        torch.manual_seed(int(self._random.integers(2**31)))  # of dropout
        total = np.append(0.0, lessons.weights(rows).cumsum())
        if not total[-1]:
            return
        days, first, sizes = np.unique(lessons.day(rows), return_index=True, return_counts=True)
        begin, end = total[first], total[first + sizes]
        share = (end - begin) * 0.5 ** ((days[-1] - days) / self.diary.memory(config.half_life, 1))
        day = self._random.choice(len(days), steps * members * config.batch, p=share / share.sum())
        at = begin[day] + self._random.random(len(day)) * (end - begin)[day]
        drawn = np.clip(np.searchsorted(total, at, side="right") - 1, first[day], first[day] + sizes[day] - 1)
        picked, place = np.unique(rows[drawn], return_inverse=True)
        codes = torch.from_numpy(self.encoder(self.diary.data.stream.features[picked]))
        labels = torch.from_numpy(lessons.labels(picked, risk or self._risk).astype(np.float32))
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

    def _fit_linear(self, rows: Rows, risk: Risk | None = None) -> None:
        if not len(rows):
            return
        if len(rows) > self.config.linear_rows:
            rows = np.sort(self._random.choice(rows, self.config.linear_rows, replace=False))
        lessons = self.diary.lessons
        codes = self.encoder(self.diary.data.stream.features[rows])[:, : self.encoder.wide]
        self.linear = Linear.fit(codes, lessons.labels(rows, risk or self._risk), lessons.weights(rows))


nn_loss = torch.nn.functional.binary_cross_entropy_with_logits
