import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.loop import Loop, LoopConfig, LoopState
from tests.stream.toy_domain import BEGIN, DAY, QUIET, REFIT, ROWS, SHIFTED, Day, ToyDomain


def follow(domain, config, start=4):
    loop = Loop(domain, config)
    return list(loop.run(loop.start("0.0", start)))


def actions(steps):
    return [outcome.record["action"] for _, outcome in steps]


def test_harmful_shift_is_followed_in_its_first_window():
    steps = follow(ToyDomain(QUIET + SHIFTED), REFIT)
    assert actions(steps) == ["none", "none", "promoted", "none", "none", "none", "none", "none"]
    state, outcome = steps[2]
    assert outcome.record["harm"]["expected_fall"] > 0.2
    assert abs(float(state.incoming[0]) - 2.0) < 0.3
    after = steps[4][1]
    assert np.mean(after.answers.predictions == SHIFTED[2].labels) > 0.9


def test_harmless_shift_is_watched_and_not_followed():
    domain = ToyDomain(QUIET + SHIFTED, harmless=True)
    assert set(actions(follow(domain, REFIT))[2:]) == {"watched"}
    assert domain.calls == []
    assert "promoted" in actions(follow(domain, REFIT.model_copy(update={"trigger": "drift"})))


def test_small_harm_needs_a_second_window_and_a_large_one_does_not():
    """A fall of 4 points: over the threshold of 3, below the 6 that need no second window."""

    class Mild(ToyDomain):
        def harm(self, model, reference, window):
            return replace(super().harm(model, reference, window), expected_fall=0.04)

    mild = follow(Mild(QUIET + SHIFTED), REFIT)
    assert actions(mild)[2:4] == ["watched", "promoted"]
    assert "wait for a second window" in mild[2][1].record["harm"]["verdict"]
    assert mild[3][1].record["harm"]["harmful"]


def test_never_and_none_never_act_and_always_acts_after_every_window():
    domain = ToyDomain(QUIET + SHIFTED)
    for config in (REFIT.model_copy(update={"trigger": "never"}), LoopConfig(policy="none")):
        assert set(actions(follow(domain, config))) == {"none", "watched"}
    assert domain.calls == []
    follow(domain, REFIT.model_copy(update={"trigger": "always", "patience": 0}))
    assert len(domain.calls) >= 6


def test_a_model_in_training_cannot_answer():
    """Training that takes a day and a half: the whole next window and half of the one after have the old answers."""
    config = REFIT.model_copy(update={"flops_per_second": 1.0})
    steps = follow(ToyDomain(QUIET + SHIFTED, flops=1.5 * 86_400), config)
    models = [outcome.models for _, outcome in steps]
    promoted = steps[2][0].incoming[0]
    assert steps[2][0].incoming[1] == (BEGIN + 7 * DAY + timedelta(days=1.5)).isoformat()
    assert set(models[3]) == {"0.0"}
    assert models[4].tolist() == ["0.0"] * (ROWS // 2) + [promoted] * (ROWS // 2)
    assert set(models[5]) == {promoted}
    expected = np.where(SHIFTED[2].values > np.where(np.arange(ROWS) < ROWS // 2, 0.0, float(promoted)), "high", "low")
    assert steps[4][1].answers.predictions.tolist() == expected.tolist()


def test_without_proof_the_champion_stays_and_the_challenger_waits():
    """One window has 20 held-out labels; proof needs 50: it comes with the third window, and nothing is retrained."""
    domain = ToyDomain(QUIET + SHIFTED, min_proof=50)
    steps = follow(domain, REFIT)
    assert actions(steps)[2:6] == ["adapted, not proven", "waiting for proof", "promoted", "none"]
    assert len(domain.calls) == 1


def test_patience_ends_with_a_new_challenger_from_more_data():
    domain = ToyDomain(QUIET + SHIFTED, min_proof=90)
    steps = follow(domain, REFIT.model_copy(update={"patience": 1}))
    assert actions(steps)[2:7] == [
        "adapted, not proven",
        "waiting for proof",
        "adapted, not proven",
        "waiting for proof",
        "promoted",
    ]
    assert len(domain.calls) == 2


def test_worse_challenger_is_never_promoted():
    steps = follow(ToyDomain(QUIET + SHIFTED), REFIT.model_copy(update={"policy": "spoil"}))
    assert "promoted" not in actions(steps)
    assert {state.model for state, _ in steps} == {"0.0"}


def test_too_little_to_learn_from_is_said():
    steps = follow(ToyDomain(QUIET + SHIFTED[:1]), REFIT.model_copy(update={"min_labels": 21}))
    assert actions(steps)[2] == "too few labels: 20 of 21"


def test_recurring_regime_forgets_a_challenger_that_is_not_needed_any_more():
    domain = ToyDomain(QUIET + SHIFTED[:1] + QUIET, min_proof=1000)
    steps = follow(domain, REFIT)
    assert actions(steps)[2:4] == ["adapted, not proven", "none"]
    assert steps[3][0].challenger is None
    assert steps[3][0].change_point is None


def test_unknown_policy_and_impossible_start_are_named():
    domain = ToyDomain(QUIET)
    with pytest.raises(BadInputError, match=r"No adaptation policy 'magic'\. There are: none, refit, spoil"):
        Loop(domain, LoopConfig(policy="magic"))
    with pytest.raises(BadInputError, match="9 windows, but the stream has 6"):
        Loop(domain, REFIT).start("0.0", 9)


def test_errors_on_known_labels_are_harm_that_nobody_has_to_estimate():
    """The points stay where they are and their classes swap sides: only the labels can tell."""

    class Swapped(ToyDomain):
        def answer(self, model, window):
            answers = super().answer(model, window)
            wrong = int(window[:3]) >= 6
            given = np.where(np.isnan(answers.label_probabilities), np.nan, 0.01 if wrong else 0.9)
            return replace(answers, label_probabilities=given)

    domain = Swapped(QUIET + QUIET)
    config = REFIT.model_copy(update={"reference_windows": 2})
    alarms = [outcome.record["label_alarm"] for _, outcome in follow(domain, config)]
    assert not any(alarms[:2])
    assert any(alarms[2:5])
    assert domain.calls, "an alarm on labels calls for adaptation"
    blind = Swapped(QUIET + QUIET)
    follow(blind, config.model_copy(update={"label_detector": None}))
    assert blind.calls == []


borders = st.lists(st.sampled_from([0.0, 0.05, 1.0, 2.0]), min_size=1, max_size=6)
configs = st.builds(
    LoopConfig,
    policy=st.sampled_from(["refit", "spoil", "none"]),
    trigger=st.sampled_from(["harm", "drift", "always", "never"]),
    min_rows=st.just(100),
    min_labels=st.just(5),
    patience=st.integers(0, 2),
    reference_windows=st.integers(1, 4),
    flops_per_second=st.just(1.0),
)


def stream(borders, seed=100):
    return QUIET[:4] + [Day.draw(border, seed + number) for number, border in enumerate(borders)]


@settings(max_examples=30, deadline=None)
@given(borders=borders, other=borders, config=configs, flops=st.sampled_from([0.0, 40_000.0, 200_000.0]))
def test_the_future_changes_nothing(borders, other, config, flops):
    """No look-ahead: whatever comes later, the records and answers of the windows before are the same."""
    one = follow(ToyDomain(stream(borders), flops=flops), config)
    two = follow(ToyDomain(stream(borders) + stream(other, 500)[4:], flops=flops), config)
    for (state, outcome), (same_state, same) in zip(one, two, strict=False):
        assert outcome.record == same.record
        assert state == same_state
        assert outcome.answers.predictions.tolist() == same.answers.predictions.tolist()


@settings(max_examples=30, deadline=None)
@given(borders=borders, config=configs, flops=st.sampled_from([0.0, 40_000.0, 200_000.0]))
def test_every_state_survives_json_and_goes_on_the_same(borders, config, flops):
    domain = ToyDomain(stream(borders), flops=flops)
    steps = follow(domain, config)
    for number, (state, _) in enumerate(steps[:-1]):
        restored = LoopState.from_json(json.loads(json.dumps(state.to_json())))
        assert restored == state
        again, outcome = Loop(domain, config).process(restored)
        assert outcome.record == steps[number + 1][1].record
        assert again == steps[number + 1][0]


@settings(max_examples=30, deadline=None)
@given(borders=borders, config=configs, flops=st.sampled_from([0.0, 40_000.0, 200_000.0]))
def test_every_example_is_answered_once_in_its_own_window(borders, config, flops):
    domain = ToyDomain(stream(borders), flops=flops)
    steps = follow(domain, config)
    asked = [name for _, outcome in steps for name in outcome.answers.example_ids.tolist()]
    assert asked == [f"{number}-{row}" for number in range(4, len(domain.days)) for row in range(ROWS)]
    assert [state.processed for state, _ in steps] == list(range(5, len(domain.days) + 1))


def test_state_with_every_field_set_survives_json():
    state = LoopState("a", ("w1", "w2"), 7, ("b", BEGIN.isoformat()), "c", 2, BEGIN.isoformat(), {"mean": 0.1}, 0.04)
    assert LoopState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert replace(state, incoming=None).to_json()["incoming"] is None
