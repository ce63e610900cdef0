import json

import numpy as np
import pytest

from evergreen.errors import BadInputError
from evergreen.images.harm import HarmConfig, HarmModel, answers_of, fit_harm, learning_set
from evergreen.images.shifts import SHIFTS, Shift, shifted
from evergreen.progress import Silent

CLASSES = ["blue", "green", "red", "yellow"]
QUICK = HarmConfig(rows=60, strengths=3, window=80, windows_per_shift=4, windows_unchanged=5, directions=6)
SOME = tuple(shift for shift in SHIFTS if shift.name in ("tint", "fade", "grain", "flatten", "gain"))


@pytest.fixture(scope="module")
def classifier(make_classifier):
    return make_classifier(CLASSES)


@pytest.fixture(scope="module")
def scenes(painter):
    """Images and their labels, in a seeded order."""

    def make(rows, seed):
        codes = np.random.default_rng(seed).integers(0, len(CLASSES), rows)
        return painter([CLASSES[code] for code in codes], seed=seed), codes

    return make


@pytest.fixture(scope="module")
def fitted(classifier, scenes):
    images, labels = scenes(160, seed=1)
    return fit_harm(classifier, images, labels, QUICK, seed=0, shifts=SOME)


def test_answers_are_the_classifiers_own(classifier, scenes):
    images, _ = scenes(20, seed=3)
    answers = answers_of(classifier, images)
    np.testing.assert_array_equal(answers.probabilities, classifier.predict_probabilities(images))
    np.testing.assert_array_equal(answers.features, classifier.embed(images))


def test_a_shift_that_turns_answers_is_harmful_and_what_moved_is_said(classifier, fitted, scenes):
    images, labels = scenes(200, seed=4)
    swapped = np.ascontiguousarray(images[..., ::-1])  # red for blue
    before = (classifier.predict_probabilities(images).argmax(axis=1) == labels).mean()
    after = (classifier.predict_probabilities(swapped).argmax(axis=1) == labels).mean()
    assert before - after > 0.2
    found = fitted.estimate(swapped)
    assert found.harmful
    assert found.moved


def test_windows_as_usual_are_not_harmful(fitted, scenes):
    found = [fitted.estimate(scenes(80, seed=50 + number)[0]) for number in range(10)]
    assert abs(np.mean([estimate.expected_fall for estimate in found])) < 0.02
    assert sum(estimate.harmful for estimate in found) <= 2


def test_the_same_seed_learns_the_same_bytes_and_json_restores_exactly(classifier, fitted, scenes):
    images, labels = scenes(160, seed=1)
    again = fit_harm(classifier, images, labels, QUICK, seed=0, shifts=SOME)
    text = json.dumps(fitted.to_json(), allow_nan=False)
    assert json.dumps(again.to_json()) == text
    restored = HarmModel.from_json(json.loads(text), classifier)
    window, _ = scenes(50, seed=9)
    assert restored.estimate(window) == fitted.estimate(window)
    other = fit_harm(classifier, images, labels, QUICK, seed=1, shifts=SOME)
    assert json.dumps(other.to_json()) != text


def test_what_was_learnt_of_one_classifier_does_not_serve_another(classifier, fitted, make_classifier):
    other = make_classifier(CLASSES, seed=1)
    other.weights_sha256 = "other"
    with pytest.raises(BadInputError, match="fit_harm for this classifier"):
        HarmModel.from_json(fitted.to_json(), other)


def test_labels_teach_where_there_are_enough_of_them(classifier, scenes):
    images, labels = scenes(160, seed=1)
    config = QUICK.model_copy(update={"min_labels": 50})
    hidden = np.full(160, -1)
    hidden[:60] = labels[:60]
    assert fit_harm(classifier, images, hidden, config, 0, SOME).harm.labelled
    hidden[40:] = -1
    assert not fit_harm(classifier, images, hidden, config, 0, SOME).harm.labelled
    assert not fit_harm(classifier, images, None, config, 0, SOME).harm.labelled


def test_only_labelled_images_are_changed(classifier, scenes):
    images, labels = scenes(100, seed=1)
    seen = []

    def note(pixels, strength, rng):
        seen.append(np.round(pixels * 255).astype(np.uint8))
        return pixels

    hidden = np.where(np.arange(100) % 2 == 0, labels, -1)
    config = QUICK.model_copy(update={"min_labels": 20, "rows": 500})
    fit_harm(classifier, images, hidden, config, 0, [Shift("note", frozenset({"x"}), note)])
    assert len(seen) == config.strengths
    for pixels in seen:
        np.testing.assert_array_equal(pixels, images[::2])


def test_strengths_are_spread_over_their_range(classifier, scenes):
    images, _ = scenes(4, seed=1)
    strengths = []
    shift = Shift("note", frozenset({"x"}), lambda pixels, strength, rng: strengths.append(strength) or pixels)
    learning_set(classifier, images, QUICK, np.random.default_rng(0), [shift], Silent())
    assert [int(strength * 3) for strength in strengths] == [0, 1, 2]


@pytest.mark.parametrize("size", [16, 48])
def test_shifts_work_on_other_sizes(scenes, size):
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    for shift in SHIFTS:
        assert shifted(images, shift, 0.7, np.random.default_rng(0)).shape == images.shape


def test_what_does_not_fit_is_refused(classifier, scenes, fitted):
    images, labels = scenes(40, seed=1)
    with pytest.raises(BadInputError, match="3 labels for 40 images"):
        fit_harm(classifier, images, labels[:3], QUICK, 0, SOME)
    with pytest.raises(BadInputError, match="to 4, expected -1"):
        fit_harm(classifier, images, np.full(40, 4), QUICK, 0, SOME)
    with pytest.raises(BadInputError, match="expected at least one shift and 20 examples"):
        fit_harm(classifier, images[:10], None, QUICK, 0, SOME)
    with pytest.raises(BadInputError, match="at least 2"):
        fitted.estimate(images[:1])
    with pytest.raises(BadInputError, match="at least 2"):
        fitted.estimate(images[:0])
