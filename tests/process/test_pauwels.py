"""The single-layer network against a matrix of one-hot rows."""

import numpy as np
import pytest
import torch

from evergreen.process.pauwels import SingleLayer, pauwels_retrain, pauwels_update
from evergreen.process.protocol import RunInput
from evergreen.process.stream import EventStream, published_stream

QUICK = {"length": 3, "every": 40, "keep": 80, "epochs": 30}


@pytest.fixture
def stream(make_events) -> EventStream:
    """A process in which B is followed by C, later by D, a name that does not occur before."""
    events = []
    for case in range(80):
        trace = "ABC" if case < 40 else "ABD"
        events += [(f"case {case}", name, 50.0 * case + 30 * k, None) for k, name in enumerate(trace)]
    return published_stream(make_events(events))


def trained(known: int = 3, classes: int = 5) -> SingleLayer:
    network = SingleLayer(3, classes, torch.Generator().manual_seed(0))
    network.known = known
    windows = torch.randint(-1, known, (64, 3), generator=torch.Generator().manual_seed(1))
    for _ in range(5):
        network.epoch(windows, windows[:, 2].clamp(min=0))
    return network


def test_logits_are_a_dense_layer_on_one_hot_activities():
    network = trained()
    windows = torch.randint(-1, 5, (20, 3), generator=torch.Generator().manual_seed(2))
    places = network.weights.detach()[:-1].reshape(3, 6, 5)  # (place, padding and 5 activities, class)
    one_hot = torch.zeros(20, 3, 6)
    for row, window in enumerate(windows.tolist()):
        for place, code in enumerate(window):
            one_hot[row, place, code + 1 if code < network.known else 0] = 1
    expected = torch.einsum("bpa,pac->bc", one_hot, places) + network.weights.detach()[-1]
    with torch.no_grad():
        torch.testing.assert_close(network.logits(windows)[:, :3], expected[:, :3])


def test_activities_that_are_not_known_yet_are_never_predicted_and_room_for_them_changes_nothing():
    windows = torch.randint(-1, 5, (50, 3), generator=torch.Generator().manual_seed(2))
    label, chance = trained(classes=5).answer(windows)
    more_label, more_chance = trained(classes=9).answer(windows)
    assert label.max() < 3
    assert label.tolist() == more_label.tolist()
    np.testing.assert_allclose(chance, more_chance, atol=1e-6)


@pytest.mark.parametrize("model", [pauwels_update, pauwels_retrain])
def test_both_ways_learn_a_new_successor(stream, model):
    output = model(RunInput(stream, stream.cut, threads=1, settings=QUICK))
    truth = stream.activity[output.rows]
    new = truth == stream.activities.index("D")
    assert (output.predictions[new][-10:] == truth[new][-10:]).all()
    assert not (output.predictions[new][:1] == truth[new][:1]).any()
    assert output.versions.tolist() == [1 + k // 40 for k in range(len(output.rows))]


def test_updating_and_starting_anew_differ_after_the_first_window_only(stream):
    run = RunInput(stream, stream.cut, threads=1, settings=QUICK)
    update, retrain = pauwels_update(run), pauwels_retrain(run)
    np.testing.assert_array_equal(update.scores[:40], retrain.scores[:40])
    assert not np.array_equal(update.scores[40:], retrain.scores[40:])
