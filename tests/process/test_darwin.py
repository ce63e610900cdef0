"""DARWIN's loop against its five steps, taken event by event."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from river.drift import ADWIN

from evergreen.errors import BadInputError
from evergreen.process.baselines import BASELINES
from evergreen.process.darwin import DarwinConfig, darwin, darwin_retrain, static
from evergreen.process.darwin_network import Network, answer
from evergreen.process.darwin_pairs import Pairs
from evergreen.process.darwin_search import BATCHES, CELLS, DIMENSIONS, LAYERS, RATES, Recipe, search
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.stream import EventStream, published_stream

SMALL = {"trials": 3, "epochs": 20, "embedding_epochs": 20, "clock": 8, "delta": 0.3, "flops_per_second": 1e5}
TINY = {**SMALL, "trials": 1, "embedding": "one-hot"}
CUT, HOUR = 300, 3600.0


def changing_log(cases: int = 110, seed: int = 0) -> list[tuple[str, str, float, None]]:
    """Cases that overlap, of a process that turns around half way."""
    rng = np.random.default_rng(seed)
    events = []
    for case in range(cases):
        trace = "ABCDE" if case < cases // 2 else "AEDCBF"
        if rng.random() < 0.3:
            trace = trace.replace("C", "CCC")
        begin = 4 * case * HOUR
        times = begin + np.cumsum(rng.exponential(3 * HOUR, len(trace)))
        events += [(f"case {case}", name, float(time), None) for name, time in zip(trace, times, strict=True)]
    return events


@pytest.fixture(scope="module")
def stream(make_events) -> EventStream:
    return published_stream(make_events(changing_log()))


def run_input(stream: EventStream, seed: int = 0, **changes) -> RunInput:
    return RunInput(stream, CUT, seed=seed, threads=1, settings={**SMALL, **changes})


def step_by_step(run: RunInput, tuned: bool) -> tuple[list[tuple[int, int, float, int]], list[tuple[int, int, str]]]:
    """The loop as the method's description tells it, one event and one prediction at a time."""
    stream, config = run.stream, DarwinConfig.read(run.settings, "settings")
    pairs = Pairs.of(stream, np.flatnonzero(stream.asked))
    warm = sum(row < run.cut for row in pairs.row)
    recipe = Recipe(
        pairs,
        config.embedding,
        config.embedding_epochs,
        config.epochs,
        torch.Generator().manual_seed(run.seed),
    )
    found = search(recipe, warm, config.trials, run.seed)
    words, models = found.words, [found.network]
    in_service, waiting = 0, None  # the number of the model that answers; when the next one is ready
    adwin, buffer, pending, scored, drifts = ADWIN(config.delta, config.clock), list(range(warm)), {}, [], []
    pair_of = {int(row): number for number, row in enumerate(pairs.row)}

    def predict(row: int) -> None:
        following = int(stream.next[row])
        if following in pair_of:
            window = pairs.windows[pairs.window[pair_of[following]]]
            label, chance = answer(models[in_service], window[None])
            pending[following] = int(label[0]), float(chance[0]), in_service + 1

    for row in range(run.cut):
        predict(row)
    for row in range(run.cut, len(stream)):
        now = int(stream.time_us[row])
        if waiting is not None and now >= waiting:
            in_service, waiting = len(models) - 1, None
        if row in pair_of:
            buffer.append(pair_of[row])
            label, chance, version = pending.pop(row)
            scored.append((row, label, chance, version))
            adwin.update(int(label == stream.activity[row]))
            if adwin.drift_detected:
                adwin._drift_detected = False  # it is not begun anew
                length, buffer = len(buffer), buffer[-int(adwin.width) :]
                drifts.append((row, length, "still training" if waiting is not None else "replace"))
                if waiting is None:
                    first, last = buffer[0], buffer[-1] + 1
                    words, spent = recipe.embed(words if tuned else None, found.chosen.dimension, first, last)
                    vectors, classes = recipe.vectors(words, last), recipe.classes(last)
                    fresh = (
                        models[-1].grown(vectors, classes)
                        if tuned
                        else Network(vectors, found.chosen, classes, recipe.generator)
                    )
                    spent += recipe.train(fresh, first, last).flops
                    models.append(fresh)
                    waiting = now + spent / config.flops_per_second * 1e6
        predict(row)
    return scored, drifts


@pytest.mark.parametrize(
    ("model", "tuned", "settings"), [(darwin, True, TINY), (darwin, True, SMALL), (darwin_retrain, False, SMALL)]
)
def test_batches_answer_as_one_event_after_the_other(stream, model, tuned, settings):
    run = run_input(stream, **settings)
    found = model(run)
    scored, drifts = step_by_step(run, tuned)
    assert found.rows.tolist() == [row for row, *_ in scored] == scored_rows(stream)
    assert found.predictions.tolist() == [label for _, label, *_ in scored]
    np.testing.assert_allclose(found.scores, [chance for _, _, chance, _ in scored], atol=1e-5)
    assert found.versions.tolist() == [version for *_, version in scored]
    assert [(d["row"], d["state"]["buffer"], d["decision"]) for d in found.drifts] == drifts
    assert len(set(found.versions.tolist())) > 1


def scored_rows(stream: EventStream) -> list[int]:
    return [row for row in range(CUT, len(stream)) if stream.asked[row]]


def same(a: RunOutput, b: RunOutput) -> None:
    assert a.rows.tolist() == b.rows.tolist()
    assert a.predictions.tolist() == b.predictions.tolist()
    assert a.versions.tolist() == b.versions.tolist()
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_the_size_of_blocks_does_not_matter(stream):
    whole, single = darwin(run_input(stream, **TINY)), darwin(run_input(stream, **TINY, block=1))
    same(whole, single)
    assert whole.drifts == single.drifts != []


def other_future(stream: EventStream, row: int) -> EventStream:
    """The same events up to ``row``, other activities from there on, new ones among them."""
    activity = stream.activity.copy()
    activity[row:] = (activity[row:] + np.arange(len(activity) - row)) % (len(stream.activities) + 2)
    return replace(stream, activity=activity, activities=(*stream.activities, "new", "newer"))


QUICK = {
    "darwin": TINY,
    "darwin-retrain": TINY,
    "static": TINY,
    "adaptive-tree": {},
    "adaptive-forest": {"models": 2},
    "streaming-patches": {"models": 2},
    "pauwels-update": {"every": 60, "epochs": 3},
    "pauwels-retrain": {"every": 60, "epochs": 3},
}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("name", QUICK)
def test_no_baseline_looks_ahead(stream, name, ahead):
    row = len(stream) * 3 // 4
    run = RunInput(stream, CUT, threads=1, settings=QUICK[name], ahead=ahead)
    known, changed = BASELINES[name](run), BASELINES[name](replace(run, stream=other_future(stream, row)))
    # an event that is another one now is still predicted from what was there before
    before = stream.previous[known.rows] < row if ahead else known.rows <= row
    for field in ("rows", "predictions", "versions"):
        np.testing.assert_array_equal(getattr(known, field)[before], getattr(changed, field)[before])
    np.testing.assert_allclose(known.scores[before], changed.scores[before], atol=1e-5)
    assert before.sum() > (known.rows <= row).sum() - 2
    assert not np.array_equal(known.predictions[~before], changed.predictions[~before]) or name == "static"


@pytest.mark.parametrize("name", QUICK)
def test_every_baseline_repeats_itself_for_a_seed(stream, name):
    run = RunInput(stream, CUT, seed=3, threads=1, settings=QUICK[name])
    first, second = BASELINES[name](run), BASELINES[name](run)
    same(first, second)
    assert first.scores.tolist() == second.scores.tolist()
    assert first.rows.tolist() == scored_rows(stream)
    assert first.predictions.min() >= 0
    assert first.predictions.max() < len(stream.activities)


@pytest.mark.parametrize("name", QUICK)
def test_a_warm_up_without_pairs_is_refused(make_events, name):
    log = published_stream(make_events([(f"case {k}", "A", 10.0 * k, None) for k in range(10)]))
    with pytest.raises(BadInputError, match="Take a longer log"):
        BASELINES[name](RunInput(log, 0, settings=QUICK[name]))


@pytest.mark.parametrize("name", QUICK)
def test_unknown_settings_are_refused(stream, name):
    with pytest.raises(BadInputError, match="Known keys"):
        BASELINES[name](RunInput(stream, stream.cut, settings={"epoch": 3}))


def test_a_model_that_is_never_ready_never_answers(stream):
    settings = {**TINY, "flops_per_second": 1e-3}
    output = darwin(run_input(stream, **settings))
    assert set(output.versions.tolist()) == {1}
    assert [drift["decision"] for drift in output.drifts] == ["replace", "still training"]
    same(output, static(run_input(stream, **settings)))


def test_fine_tuning_keeps_the_classes_that_a_window_lacks(stream):
    run = run_input(stream)
    pairs = Pairs.of(stream, np.flatnonzero(stream.asked))
    recipe = Recipe(pairs, "word2vec", 2, 2, torch.Generator().manual_seed(0))
    found = search(recipe, 60, 1, run.seed)
    grown = found.network.grown(found.network.vectors, recipe.classes(len(pairs.row)))
    recipe.train(grown, len(pairs.row) - 5, len(pairs.row))
    assert grown.output.shape[1] == len(stream.activities)
    assert found.network.output.shape[1] == recipe.classes(60) < len(stream.activities)


def test_the_search_stays_in_the_published_space_and_keeps_the_best(stream):
    pairs = Pairs.of(stream, np.flatnonzero(stream.asked))
    losses = []

    class Watched(Recipe):
        def train(self, network, first, last):
            chosen = network.chosen
            assert chosen.dimension in DIMENSIONS
            assert chosen.batch in BATCHES
            assert len(chosen.cells) in LAYERS
            assert all(CELLS[0] <= cells <= CELLS[1] for cells in chosen.cells)
            assert RATES[0] <= chosen.rate <= RATES[1]
            assert 0 <= chosen.dropout <= 1
            trained = super().train(network, first, last)
            losses.append(trained.loss)
            return trained

    found = search(Watched(pairs, "word2vec", 1, 2, torch.Generator().manual_seed(0)), 60, trials=12, seed=0)
    assert found.loss == min(losses)
    assert len(losses) == 12


def test_a_log_whose_every_event_is_warm_up_scores_nothing(make_events):
    log = published_stream(make_events(changing_log(cases=12)))
    for name in ("static", "adaptive-tree", "pauwels-update"):
        output = BASELINES[name](RunInput(log, len(log), settings=QUICK[name]))
        assert len(output.rows) == len(output.predictions) == 0
