"""The churn model on a stream: no leak, no look-ahead, one answer a row, the same answers for the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from evergreen.retail.diary import Diary
from evergreen.retail.evergreen_model import EvergreenConfig, run_evergreen
from evergreen.retail.example_frames import NEVER
from evergreen.retail.features import Encoder
from evergreen.retail.learner import ChurnLearner, LearnerConfig
from evergreen.retail.model import NetworkConfig
from evergreen.retail.protocol import RunInput, RunOutput
from evergreen.retail.search import SearchConfig
from evergreen.retail.stream import plan
from tests.retail import churn_streams as streams

SMALL = LearnerConfig(network=NetworkConfig(members=2, width=8), first_steps=60, steps=4, adapt_steps=20, batch=64)
QUICK = EvergreenConfig(learner=SMALL, search=SearchConfig(trials=2, steps=20))


def followed(data: RunInput) -> RunOutput:
    return run_evergreen(data, QUICK)


@pytest.fixture(scope="module", params=["published", "default"])
def data(request: pytest.FixtureRequest) -> RunInput:
    found: RunInput = streams.planned(request.param)
    return found


@pytest.fixture(scope="module")
def output(data: RunInput) -> RunOutput:
    return followed(data)


def test_every_asked_row_has_one_answer(data: RunInput, output: RunOutput) -> None:
    asked = data.scored()
    assert len(np.unique(asked)) == len(asked)
    assert np.isfinite(output.scores[asked]).all()
    assert set(output.predictions[asked]) <= {0, 1}
    assert (output.versions[asked] >= 1).all()
    others = np.setdiff1d(np.arange(len(data.stream)), asked)
    assert (output.predictions[others] == -1).all()
    assert (output.versions[others] == 0).all()


def test_it_learns(data: RunInput, output: RunOutput) -> None:
    asked = data.scored()
    known = asked[data.stream.told[asked] < NEVER]
    scores, labels = output.scores[known], data.stream.labels[known]
    assert (scores[labels][:, None] > scores[~labels][None, :]).mean() > 0.6


def test_the_same_seed_gives_the_same_answers(data: RunInput, output: RunOutput) -> None:
    again = followed(data)
    np.testing.assert_array_equal(again.scores, output.scores)
    np.testing.assert_array_equal(again.predictions, output.predictions)


def test_later_labels_change_no_answer(data: RunInput, output: RunOutput) -> None:
    stream = data.stream
    middle = data.blocks[len(data.blocks) // 2].day
    labels = np.where((stream.told >= middle) & (stream.told < NEVER), ~stream.labels, stream.labels)
    other = followed(replace(data, stream=replace(stream, labels=labels)))
    until = np.concatenate([block.ask for block in data.blocks if block.day <= middle])
    np.testing.assert_array_equal(other.scores[until], output.scores[until])
    np.testing.assert_array_equal(other.predictions[until], output.predictions[until])
    later = np.setdiff1d(data.scored(), until)
    assert not np.array_equal(other.scores[later], output.scores[later])


def test_a_score_needs_the_examples_own_columns_alone(data: RunInput) -> None:
    """A day's frame: shuffled, in single rows, without customer, generation day and label."""
    encoder = Encoder.fit(data.stream.features[data.initial], data.period_days, data.churn_days)
    block = next(block for block in data.blocks if len(block.ask) > 5)

    def trained(run: RunInput) -> ChurnLearner:
        learner = ChurnLearner(Diary(run), encoder, SMALL, seed=0)
        learner.start(run.initial)
        return learner

    whole = trained(data)
    scores = whole.answer(block.ask)
    classes = whole.decide(scores)

    rng = np.random.default_rng(0)
    stream, hidden = data.stream, np.setdiff1d(np.arange(len(data.stream)), data.initial)
    labels, groups, told = stream.labels.copy(), stream.groups.copy(), stream.told.copy()
    labels[hidden], groups[hidden] = rng.random(len(hidden)) < 0.5, 0
    told[hidden] = NEVER
    bare = replace(data, stream=replace(stream, labels=labels, groups=groups, told=told))
    single = trained(bare)
    for place in rng.permutation(len(block.ask)):
        answer = single.answer(block.ask[[place]])
        np.testing.assert_allclose(answer[0], scores[place], atol=1e-6)
        assert single.decide(answer)[0] == classes[place]


def test_a_challenger_leaves_the_learner_as_it_is(data: RunInput) -> None:
    encoder = Encoder.fit(data.stream.features[data.initial], data.period_days, data.churn_days)
    learner = ChurnLearner(Diary(data), encoder, SMALL, seed=0)
    learner.start(data.initial)
    before = learner.answer(data.initial)
    for policy in ("finetune", "retrain"):
        other, flops = learner.adapt(policy, data.initial)
        assert flops > 0
        np.testing.assert_array_equal(learner.answer(data.initial), before)
        assert not np.array_equal(other.answer(data.initial), before)


def test_at_decision_time_the_cut_follows_the_answers_and_no_label() -> None:
    data: RunInput = streams.planned("default")
    encoder = Encoder.fit(data.stream.features[data.initial], data.period_days, data.churn_days)

    def cuts(run: RunInput) -> list[int]:
        learner = ChurnLearner(Diary(run), encoder, SMALL.model_copy(update={"steps": 0, "every": 1000}), seed=0)
        learner.start(run.initial)
        learner.catch_up()
        found = []
        for block in run.blocks[:10]:
            learner.answer(block.ask)
            found.append(learner.diary.threshold.cut)
            learner.learn(block.tell)
        return found

    online = np.setdiff1d(np.arange(len(data.stream)), data.initial)
    labels = data.stream.labels.copy()
    labels[online] = ~labels[online]
    before = cuts(data)
    assert before == cuts(replace(data, stream=replace(data.stream, labels=labels)))
    assert len(set(before)) > 1


def test_a_stream_with_a_single_kind_of_day_is_followed() -> None:
    """Initial days so few that nothing can be rehearsed or searched."""
    stream = streams.stream("published")
    first = int(stream.told[stream.labels].min())
    days = np.unique(stream.told)
    data = plan(stream, "published", None, int(np.searchsorted(days, first)) + 1, 12, 12, 0, 1)
    output = followed(data)
    assert np.isfinite(output.scores[data.scored()]).all()
