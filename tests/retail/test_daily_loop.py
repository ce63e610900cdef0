"""The published loop around a churn model."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from river.drift import ADWIN
from sklearn.metrics import f1_score

from evergreen.retail.daily_loop import DailySettings, Scaler, macro_f, run_daily
from evergreen.retail.protocol import DayBlock, RunInput, Stream

NAMES = ("recency_1", "frequency_1", "monetary_1")


def made_up(days: int = 80, rows: int = 12, initial: int = 20, turn: int | None = 45, latency: int = 0) -> RunInput:
    """Recency decides the label; from day ``turn`` on the other way round."""
    rng = np.random.default_rng(3)
    told = np.repeat(np.arange(days), rows)
    features = np.column_stack([rng.integers(0, 120, len(told)), rng.integers(1, 9, len(told)), rng.random(len(told))])
    labels = (features[:, 0] > 60) ^ (told >= (days if turn is None else turn))
    asked = told - latency
    stream = Stream(features, NAMES, labels, asked, told, np.arange(len(told)))
    first = np.flatnonzero(told < initial)
    blocks = [DayBlock(d, np.flatnonzero(asked == d), np.flatnonzero(told == d)) for d in range(initial, days)]
    return RunInput(stream, first, initial, tuple(blocks), "default" if latency else "published", 120, 120, 0, 1)


class Threshold:
    """Knows how many customers above recency's middle churn; remembers what it was taught."""

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        self.taught: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        self.adapt(features, labels)

    def answer(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.where(features[:, 0] > 0.5, self.upper, 1 - self.upper)

    def adapt(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
        self.taught.append((features, labels))
        self.upper = float(labels[features[:, 0] > 0.5].mean())
        return 1.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_macro_f_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    labels, predictions = np.array(pairs).T
    assert macro_f(labels, predictions) == pytest.approx(f1_score(labels, predictions, average="macro"))


def test_the_scaler_is_fitted_on_the_initial_rows_alone() -> None:
    rows = np.array([[0.0, 5.0], [10.0, 5.0]])
    scaler = Scaler.of(rows)
    np.testing.assert_allclose(scaler(np.array([[5.0, 5.0], [20.0, 7.0]])), [[0.5, 0.0], [2.0, 2.0]])


@pytest.mark.parametrize("clock", [1, 32])
def test_adapts_where_a_plain_loop_over_days_does(clock: int) -> None:
    data = made_up()
    output = run_daily(data, Threshold, DailySettings(clock=clock))
    stream, scaler = data.stream, Scaler.of(data.stream.features[data.initial])
    model = Threshold(scaler(stream.features[data.initial]), stream.labels[data.initial])
    threshold = f1_score(
        stream.labels[data.initial], model.answer(scaler(stream.features[data.initial])) >= 0.5, average="macro"
    )
    detector, frames, expected = ADWIN(delta=0.2, clock=clock), [], []
    for day in range(80):
        rows = np.flatnonzero(stream.told == day)
        frames.append(rows)
        answers = model.answer(scaler(stream.features[rows])) >= 0.5
        detector._drift_detected = False  # not to start anew after an alarm
        detector.update(int(f1_score(stream.labels[rows], answers, average="macro") >= threshold))
        if detector.drift_detected and day >= 20:
            kept = np.concatenate(frames[-int(detector.width) :])
            model.adapt(scaler(stream.features[kept]), stream.labels[kept])
            expected.append((f"1970-{1 + (day > 30) + (day > 58):02d}", len(kept)))
    assert [(drift["day"][:7], drift["rows"]) for drift in output.drifts] == expected
    assert len(expected) >= 1
    assert output.bundle[0].upper == model.upper
    for ours, theirs in zip(output.bundle[0].taught, model.taught, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])


def test_answers_everything_that_is_asked_once_with_the_model_in_service() -> None:
    data = made_up()
    output = run_daily(data, Threshold, DailySettings(clock=1))
    online = np.isin(np.arange(len(data.stream)), data.scored())
    assert (np.isfinite(output.scores) == online).all()
    assert (output.versions[~online] == 0).all()
    assert (output.predictions[online] == (output.scores[online] >= 0.5)).all()
    changed = [np.datetime64(drift["day"]).astype("datetime64[D]").astype(int) for drift in output.drifts]
    versions = 1 + np.searchsorted(changed, data.stream.asked[online], side="left")
    assert (output.versions[online] == versions).all()


@pytest.mark.parametrize("latency", [0, 7])
def test_a_day_is_answered_from_labels_of_earlier_days(latency: int) -> None:
    data = made_up(latency=latency, turn=None)
    day = 45
    other = replace(data.stream, labels=data.stream.labels ^ (data.stream.told >= day))
    one = run_daily(data, Threshold, DailySettings(clock=1))
    two = run_daily(replace(data, stream=other), Threshold, DailySettings(clock=1))
    before = data.stream.asked <= day
    np.testing.assert_array_equal(one.scores[before], two.scores[before])
    assert not np.array_equal(one.scores, two.scores, equal_nan=True)


def test_a_window_of_one_class_changes_no_model() -> None:
    data = made_up(days=100, turn=None)
    labels = np.where(data.stream.told >= 20, False, data.stream.labels)
    output = run_daily(replace(data, stream=replace(data.stream, labels=labels)), Threshold, DailySettings(clock=1))
    kept = [drift for drift in output.drifts if drift["adaptation"] is None]
    assert all("one class" in drift["decision"] for drift in kept)
    assert output.versions.max() == 1 + len(output.drifts) - len(kept)
