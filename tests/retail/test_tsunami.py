"""The published churn network, its training and its search."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from evergreen.retail.protocol import DayBlock, RunInput, Stream
from evergreen.retail.tsunami import TsunamiSettings, run_tsunami
from evergreen.retail.tsunami_network import ChurnNetwork, Recipe, Trainer, class_weights, stratified
from evergreen.retail.tsunami_search import SearchSettings, suggest

RECIPE = Recipe((16, 12), 0.1, 128, 0.02)


def linear_problem(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.random((count, 9)).astype(np.float32)
    return features, features[:, 6] + 0.3 * features[:, 0] > 0.9


def test_the_network_is_linear_however_deep() -> None:
    network = ChurnNetwork(9, Recipe((128, 150, 90), 0.5, 256, 0.001)).eval()
    rows = torch.rand(2, 9)
    with torch.no_grad():
        middle = network(rows.mean(dim=0, keepdim=True))
        assert middle.item() == pytest.approx(network(rows).mean().item(), abs=1e-5)


def test_learns_a_linear_problem_and_keeps_its_best_weights() -> None:
    features, labels = linear_problem()
    trainer = Trainer(9, RECIPE, 25, seed=0)
    loss = trainer.fit(features, labels)
    assert ((trainer.answer(features) >= 0.5) == labels).mean() > 0.85
    _, validation = stratified(labels, 0.2, np.random.default_rng((0, 0)))
    answers, truth = trainer.answer(features[validation]), labels[validation]
    expected = -np.log(np.where(truth, answers, 1 - answers)).mean()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_one_seed_one_network() -> None:
    features, labels = linear_problem()
    one, two, other = (Trainer(9, RECIPE, 3, seed) for seed in (1, 1, 2))
    torch.manual_seed(5)
    for trainer in (one, two, other):
        trainer.fit(features, labels)
        torch.rand(1)  # what others draw changes nothing
    np.testing.assert_array_equal(one.answer(features), two.answer(features))
    assert not np.array_equal(one.answer(features), other.answer(features))


def test_the_learning_rate_halves_on_a_plateau_and_training_stops() -> None:
    features, labels = linear_problem()
    noise = np.random.default_rng(1).random(len(labels)) < 0.5
    trainer = Trainer(9, Recipe((16,), 0.0, 64, 0.01), 200, seed=0)
    trainer.fit(features, noise)
    step = trainer.flops / (sum(p.numel() for p in trainer.network.parameters()) * (6 * 480 + 2 * 120))
    assert step < 200
    assert trainer.optimiser.param_groups[0]["lr"] < 0.01


def test_few_rows_are_no_obstacle() -> None:
    features, labels = linear_problem(4)
    labels = np.array([True, False, True, True])
    assert np.isfinite(Trainer(9, RECIPE, 2, seed=0).fit(features, labels))


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.floats(0.05, 0.9))
def test_stratified_splits_each_class_alike_and_loses_no_row(labels: list[bool], share: float) -> None:
    truth = np.array(labels)
    training, held = stratified(truth, share, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate([training, held])), np.arange(len(truth)))
    for value in (False, True):
        assert (truth[held] == value).sum() == round(share * (truth == value).sum())


@given(st.lists(st.booleans(), min_size=2, max_size=50).filter(lambda rows: 0 < sum(rows) < len(rows)))
def test_class_weights_give_both_classes_the_same_say(labels: list[bool]) -> None:
    truth = torch.tensor(labels, dtype=torch.float32)
    weights = class_weights(truth)
    for value in (0, 1):
        assert weights[value] * (truth == value).sum() == pytest.approx(len(labels) / 2, rel=1e-5)


def test_the_search_space_is_the_published_one() -> None:
    fixed = {"width_1": 64, "layers": 3, "width_2": 10, "width_3": 150, "dropout": 0.5, "batch_log2": 9, "rate": 1e-5}
    assert suggest(FixedTrial(fixed)) == Recipe((64, 10, 150), 0.5, 512, 1e-5)


def test_runs_the_published_loop() -> None:
    rng = np.random.default_rng(0)
    told = np.repeat(np.arange(120), 20)
    features = np.column_stack([rng.integers(0, 120, (len(told), 3)), rng.random((len(told), 6)) * 50])
    labels = (features[:, 0] > 60) ^ (told >= 50)
    stream = Stream(features, tuple(f"f_{i}" for i in range(9)), labels, told, told, np.arange(len(told)))
    blocks = tuple(DayBlock(d, np.flatnonzero(told == d), np.flatnonzero(told == d)) for d in range(30, 120))
    data = RunInput(stream, np.flatnonzero(told < 30), 30, blocks, "published", 120, 120, 0, 1)
    settings = TsunamiSettings(clock=1, search=SearchSettings(trials=3, epochs=15))
    output = run_tsunami(data, settings)
    scored = data.scored()
    assert ((output.scores[scored] > 0) & (output.scores[scored] < 1)).all()
    assert output.drifts
    assert output.drifts[0]["flops"] > 0
    assert set(output.notes["recipe"]) == {"widths", "dropout", "batch", "rate", "validation_loss"}
    correct = output.predictions[scored] == labels[scored]
    assert correct[told[scored] < 50].mean() > 0.85
    assert output.versions[scored].max() == 1 + len(output.drifts)
    np.testing.assert_array_equal(run_tsunami(data, settings).scores, output.scores)
