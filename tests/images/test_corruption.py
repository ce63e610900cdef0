import numpy as np
import pytest

from evergreen.images.corruption import GAUSSIAN_SIGMA, gaussian_noise, noisy

GREY = np.full((32, 32, 3), 128, np.uint8)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_noise_has_the_sigma_of_cifar_10_c(severity):
    corrupted = np.stack([gaussian_noise(GREY, severity, 0, str(n)) for n in range(200)]).astype(float)
    # cutting to whole grey levels costs half a level of the mean and adds 1/12 to the variance
    sigma = np.sqrt((255 * GAUSSIAN_SIGMA[severity - 1]) ** 2 + 1 / 12)
    assert corrupted.std() == pytest.approx(sigma, rel=0.01)
    assert corrupted.mean() == pytest.approx(127.5, abs=0.15)


def test_noise_belongs_to_the_image_and_the_seed_alone():
    images = np.stack([GREY, GREY, GREY])
    together = noisy(images, ["a", "b", "c"], 3, seed=7)
    np.testing.assert_array_equal(noisy(images[:1], ["b"], 3, seed=7)[0], together[1])
    assert not np.array_equal(together[0], together[1])
    assert not np.array_equal(noisy(images, ["a", "b", "c"], 3, seed=8), together)
    correlation = np.corrcoef(together[0].reshape(-1).astype(float), together[1].reshape(-1).astype(float))[0, 1]
    assert abs(correlation) < 0.1


def test_values_are_clipped_not_wrapped():
    white, black = np.full_like(GREY, 255), np.zeros_like(GREY)
    assert gaussian_noise(white, 5, 0, "w").min() > 100
    assert gaussian_noise(black, 5, 0, "b").max() < 155
    assert (gaussian_noise(white, 5, 0, "w") == 255).mean() == pytest.approx(0.5, abs=0.05)
