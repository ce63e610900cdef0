"""Word2Vec against what its papers say, sentence by sentence."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.process.word2vec import NEGATIVES, NOISE_POWER, Bags, Word2Vec, _expected_loss, prefix_bags

cases_of_a_log = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=9), min_size=1, max_size=5)


def naive_bags(sentences: list[list[int]], window: int) -> Counter:
    """Every sentence, every place, every size of the window."""
    counts: Counter = Counter()
    for sentence in sentences:
        for place, centre in enumerate(sentence):
            for size in range(1, window + 1):
                around = sentence[max(0, place - size) : place] + sentence[place + 1 : place + 1 + size]
                if around:
                    counts[tuple(sorted(around)), centre] += 1 / window
    return counts


@given(cases=cases_of_a_log, window=st.integers(1, 5), data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_bags_of_prefixes_are_those_of_a_corpus_with_a_sentence_for_each(cases, window, data):
    starts = np.cumsum([0] + [len(case) for case in cases[:-1]])
    prefixes = data.draw(
        st.lists(
            st.integers(0, len(cases) - 1).flatmap(
                lambda case: st.tuples(st.just(case), st.integers(1, len(cases[case])))
            ),
            min_size=1,
            max_size=12,
        )
    )
    bags = prefix_bags(
        np.concatenate([np.array(case) for case in cases]),
        np.array([starts[case] for case, _ in prefixes]),
        np.array([length for _, length in prefixes]),
        window,
    )
    found = {
        (tuple(sorted(int(code) for code in row if code >= 0)), int(centre)): weight
        for row, centre, weight in zip(bags.neighbours, bags.centre, bags.weight, strict=True)
    }
    expected = naive_bags([cases[case][:length] for case, length in prefixes], window)
    assert len(found) == len(bags.centre)
    assert found == pytest.approx(dict(expected))


def test_the_loss_is_the_expectation_over_negatives():
    generator = torch.Generator().manual_seed(0)
    inner, outer = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    noise = torch.tensor([0.5, 1.5, 2.0, 1.0])
    neighbours, centre = [[0, 2], [1]], [3, 0]
    padded = torch.tensor([[1, 3], [2, 0]])
    found = _expected_loss(inner, outer, padded, torch.tensor(centre), noise)
    for k, (around, own) in enumerate(zip(neighbours, centre, strict=True)):
        mean = sum(inner[code] for code in around) / len(around)
        loss = -torch.log(torch.sigmoid(outer[own] @ mean))
        for other in range(4):
            if other != own:
                loss -= noise[other] * torch.log(torch.sigmoid(-outer[other] @ mean))
        assert float(found[k]) == pytest.approx(float(loss), rel=1e-5)


def test_noise_counts_activities_to_the_three_quarters():
    words = Word2Vec(4, torch.Generator().manual_seed(0))
    words.grow(3)
    bags = Bags(np.array([[1], [0], [0]]), np.array([0, 1, 0]), np.array([10.0, 5.0, 6.0]))
    expected = np.array([16.0, 5.0, 0.0]) ** NOISE_POWER
    np.testing.assert_allclose(words._noise(bags), NEGATIVES * expected / expected.sum())


def log_of(rows: list[list[int]]) -> Bags:
    starts = np.cumsum([0] + [len(row) for row in rows[:-1]])
    return prefix_bags(np.concatenate([np.array(row) for row in rows]), starts, np.array([len(row) for row in rows]))


def test_activities_in_the_same_places_come_close():
    words = Word2Vec(16, torch.Generator().manual_seed(0))
    words.grow(6)
    words.train(log_of([[0, 1, 2], [0, 3, 2], [4, 5, 4]] * 5), epochs=200)
    near = torch.nn.functional.cosine_similarity(words.vectors[1], words.vectors[3], dim=0)
    far = torch.nn.functional.cosine_similarity(words.vectors[1], words.vectors[5], dim=0)
    assert near > 0.9
    assert near > far + 0.3


def test_growing_keeps_what_is_there_and_training_leaves_old_vectors_alone():
    words = Word2Vec(8, torch.Generator().manual_seed(0))
    words.grow(3)
    words.train(log_of([[0, 1, 2], [2, 0]]), epochs=5)
    before, copy = words.vectors, words.vectors.clone()
    words.grow(5)
    assert torch.equal(words.vectors[:3], copy)
    assert words.vectors.shape == (5, 8)
    words.train(log_of([[0, 3, 4], [4, 0]]), epochs=5)
    assert torch.equal(before, copy)
    assert not torch.equal(words.vectors[:3], copy)


def test_equal_seeds_give_equal_vectors():
    def trained(seed: int) -> torch.Tensor:
        words = Word2Vec(8, torch.Generator().manual_seed(seed))
        words.grow(3)
        words.train(log_of([[0, 1, 2], [2, 0]]), epochs=5)
        return words.vectors

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_a_corpus_without_neighbours_changes_nothing():
    words = Word2Vec(8, torch.Generator().manual_seed(0))
    words.grow(2)
    before = words.vectors
    assert words.train(log_of([[0], [1]]), epochs=5) == 0
    assert words.vectors is before
