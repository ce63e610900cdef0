import numpy as np

from evergreen.retail.mixer import CANDIDATES, Mixer, combine


def test_the_best_expert_answers() -> None:
    mixer, rng = Mixer(), np.random.default_rng(0)
    for _ in range(20):
        good, bad, day = rng.normal(0, 2, 300), rng.normal(0, 2, 300), np.full(300, rng.normal())
        labels = rng.random(300) < 1 / (1 + np.exp(-(good + day)))
        mixer.learn(np.column_stack([good, bad, day, -day]), labels)
    assert mixer.candidate.tolist() == [1.0, 1.0, 0.0]


def test_losses_are_those_of_every_candidate() -> None:
    mixer, rng = Mixer(), np.random.default_rng(1)
    parts, labels = rng.normal(size=(50, 4)), rng.random(50) < 0.5
    mixer.learn(parts, labels)
    for candidate, loss in zip(CANDIDATES, mixer.losses, strict=True):
        churn = 1 / (1 + np.exp(-combine(candidate, parts)))
        expected = -np.log(np.where(labels, churn, 1 - churn)).sum()
        assert np.isclose(loss, expected)


def test_no_labels_change_nothing() -> None:
    mixer = Mixer()
    before = mixer.candidate
    mixer.learn(np.empty((0, 4)), np.empty(0, bool))
    assert (mixer.candidate == before).all()
    assert before[1:].tolist() == [0.0, 0.0]
