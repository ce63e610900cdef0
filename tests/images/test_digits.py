import numpy as np

from evergreen.images.digits import load_digits


def test_all_scans_are_there_once_in_rgb():
    data = load_digits(32, seed=0)
    assert data.images.shape == (1400, 32, 32, 3)
    assert data.test_images.shape == (397, 32, 32, 3)
    assert np.array_equal(data.images[..., 0], data.images[..., 2])
    assert set(data.labels) == set(data.test_labels) == set(range(10)) == set(range(len(data.classes)))
    everything = np.concatenate([data.images, data.test_images]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797


def test_seed_chooses_the_test_set_and_nothing_else():
    first, again, other = load_digits(16, 0), load_digits(16, 0), load_digits(16, 1)
    assert first.sha256() == again.sha256() != other.sha256()
    both = [np.concatenate([data.images, data.test_images]).reshape(1797, -1) for data in (first, other)]
    np.testing.assert_array_equal(np.unique(both[0], axis=0), np.unique(both[1], axis=0))


def test_a_digit_keeps_its_shape():
    from sklearn.datasets import load_digits as load_scans

    scans = load_scans().images
    data = load_digits(32, seed=5)
    order = np.random.default_rng(5).permutation(1797)
    shrunk = data.images[..., 0].reshape(1400, 8, 4, 8, 4).mean(axis=(2, 4)) / 255 * 16
    assert np.abs(shrunk - scans[order[:1400]]).mean() < 1.5
