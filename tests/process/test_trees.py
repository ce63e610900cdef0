"""River's classifiers in our loop against river's own."""

import math

import pytest
from river import ensemble, forest, tree
from river.base import Classifier

from evergreen.process.protocol import RunInput
from evergreen.process.stream import EventStream, published_stream
from evergreen.process.trees import adaptive_forest, adaptive_tree, most_likely, streaming_patches

MODELS = {
    adaptive_tree: lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=5),
    adaptive_forest: lambda: forest.ARFClassifier(n_models=3, seed=5),
    streaming_patches: lambda: ensemble.SRPClassifier(n_models=3, seed=5),
}


@pytest.fixture
def stream(make_events) -> EventStream:
    """Two kinds of cases, side by side, with runs that the encoding cuts short."""
    events = []
    for case in range(40):
        trace = "ABCD" if case % 3 else "AABBBD"
        events += [(f"case {case}", name, 50.0 * case + 30 * k, None) for k, name in enumerate(trace)]
    return published_stream(make_events(events))


def one_by_one(model: Classifier, stream: EventStream, ahead: bool) -> list[int | None]:
    """River's own test-then-learn, with the four last activities kept by hand."""
    paths: dict[int, list[str]] = {}
    predictions: dict[int, int | None] = {}
    for row, (case, code) in enumerate(zip(stream.case.tolist(), stream.activity.tolist(), strict=True)):
        name = stream.activities[code]
        if case in paths:
            if not ahead:
                predictions[row] = model.predict_one(features(paths[case]))
            model.learn_one(features(paths[case]), code)
        path = paths.setdefault(case, [])
        if path[-2:] != [name, name]:
            path.append(name)
        if ahead:
            predictions[int(stream.next[row])] = model.predict_one(features(path))
    return [predictions[int(row)] for row in stream.scored().nonzero()[0]]


def features(path: list[str]) -> dict[str, str]:
    return {f"last_{4 - place}": name for place, name in enumerate(([""] * 4 + path)[-4:])}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_loop_is_rivers_test_then_learn(stream, model, ahead):
    settings = {} if model is adaptive_tree else {"models": 3}
    output = model(RunInput(stream, stream.cut, seed=5, settings=settings, ahead=ahead))
    assert output.predictions.tolist() == one_by_one(MODELS[model](), stream, ahead)
    assert output.rows.tolist() == stream.scored().nonzero()[0].tolist()
    assert ((output.scores > 0) & (output.scores <= 1)).all()


def test_an_ignorant_model_has_no_score():
    label, score = most_likely(tree.HoeffdingAdaptiveTreeClassifier(seed=0), {"last_1": "A"})
    assert label == 0
    assert math.isnan(score)
