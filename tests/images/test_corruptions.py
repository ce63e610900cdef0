import itertools

import numpy as np
import pytest

from evergreen.errors import BadInputError
from evergreen.images.corruption import noisy
from evergreen.images.corruptions import KINDS, SEVERITIES, corrupt
from evergreen.images.shifts import SHIFTS, shifted


def scenes(count, size=32, seed=0):
    """Smooth coloured pictures with a few hard edges and some texture, uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(30, 225, (count, 2, 2, 3))
    t = np.linspace(0, 1, size)
    weights = np.stack([1 - t, t])  # (2, size)
    images = np.einsum("nabc,ah,bw->nhwc", corners, weights, weights)
    images[:, size // 4 : size // 2, size // 4 : -size // 4] = rng.uniform(0, 255, (count, 1, 1, 3))
    return np.clip(images + rng.normal(0, 4, images.shape), 0, 255).astype(np.uint8)


IMAGES = scenes(12)
IDS = [f"picture-{number}" for number in range(len(IMAGES))]


def difference(left, right):
    return float(np.abs(left.astype(float) - right.astype(float)).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_what_happens_to_an_image_depends_on_kind_severity_seed_and_its_name_alone(kind, severity):
    whole = corrupt(IMAGES, IDS, kind, severity, seed=3)
    assert whole.shape == IMAGES.shape
    assert whole.dtype == np.uint8
    order = np.random.default_rng(severity).permutation(len(IMAGES))
    shuffled = corrupt(IMAGES[order], [IDS[row] for row in order], kind, severity, seed=3, batch_size=5)
    np.testing.assert_array_equal(shuffled, whole[order])
    assert difference(whole, IMAGES) > 0.3


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"saturate", "glass_blur", "spatter", "pixelate"}))
def test_a_higher_severity_changes_more(kind):
    # saturate goes both ways, glass blur trades distance for rounds, spatter changes its colour, and nearly all pixels
    # fall across the cells of pixelate already in severity 1
    changes = [difference(corrupt(IMAGES, IDS, kind, severity, seed=0), IMAGES) for severity in SEVERITIES]
    assert changes[0] < changes[2] < changes[4]
    assert all(later > 0.97 * earlier for earlier, later in itertools.pairwise(changes))


@pytest.mark.parametrize(
    "kind", ["shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "snow", "elastic", "fog"]
)
def test_random_kinds_draw_anew_for_another_seed_or_name(kind):
    first = corrupt(IMAGES[:1], ["a"], kind, 3, seed=0)
    assert not np.array_equal(first, corrupt(IMAGES[:1], ["a"], kind, 3, seed=1))
    assert not np.array_equal(first, corrupt(IMAGES[:1], ["b"], kind, 3, seed=0))


def test_gaussian_noise_is_that_of_the_simulated_stream():
    np.testing.assert_array_equal(corrupt(IMAGES, IDS, "gaussian_noise", 3, 7), noisy(IMAGES, IDS, 3, 7))


def test_shot_noise_has_the_variance_of_counted_photons():
    grey = np.full((60, 32, 32, 3), 128, np.uint8)
    values = corrupt(grey, [str(n) for n in range(60)], "shot_noise", 4, 0) / 255
    assert values.var() == pytest.approx(128 / 255 / 75, rel=0.03)
    assert values.mean() == pytest.approx(128 / 255, abs=0.002)


def test_impulses_are_black_or_white_and_as_many_as_stated():
    grey = np.full((60, 32, 32, 3), 128, np.uint8)
    values = corrupt(grey, [str(n) for n in range(60)], "impulse_noise", 5, 0)
    assert set(np.unique(values)) == {0, 128, 255}
    assert (values == 0).mean() == pytest.approx(0.035, rel=0.05)
    assert (values == 255).mean() == pytest.approx(0.035, rel=0.05)


@pytest.mark.parametrize(
    "kind", ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "pixelate"]
)
def test_blurs_leave_an_even_picture_as_it_is(kind):
    even = np.broadcast_to(np.array([200, 90, 30], np.uint8), (4, 32, 32, 3))
    assert difference(corrupt(even, list("abcd"), kind, 5, 0), even) < 0.51


def test_saturation_zero_would_be_grey_and_greys_stay_grey():
    grey = np.repeat(scenes(4)[..., :1], 3, axis=3)
    for severity in SEVERITIES:
        np.testing.assert_array_equal(corrupt(grey, list("abcd"), "saturate", severity, 0), grey)
    pale = corrupt(IMAGES, IDS, "saturate", 2, 0).astype(float)
    spread = np.ptp(IMAGES.astype(float), axis=3).mean()
    assert np.ptp(pale, axis=3).mean() == pytest.approx(0.1 * spread, rel=0.1)


def test_brightness_and_darkness_move_the_value_by_what_they_say():
    middle = np.clip(IMAGES, 100, 150)
    value = middle.max(axis=3).astype(float)
    assert (corrupt(middle, IDS, "brightness", 4, 0).max(axis=3) - value).mean() == pytest.approx(51, abs=1)
    assert (corrupt(middle, IDS, "darkness", 4, 0).max(axis=3) - value).mean() == pytest.approx(-51, abs=1)


def test_contrast_keeps_each_channels_mean_and_shrinks_its_spread():
    changed = corrupt(IMAGES, IDS, "contrast", 2, 0).astype(float)
    np.testing.assert_allclose(changed.mean(axis=(1, 2)), IMAGES.mean(axis=(1, 2)), atol=0.5)
    np.testing.assert_allclose(changed.std(axis=(1, 2)), 0.5 * IMAGES.std(axis=(1, 2)), atol=0.5)


def test_pixelate_averages_cells():
    # 64 × 0.75 = 48 cells a side, of 4/3 pixels; a reference computed pixel by pixel on an 8-fold finer grid
    image = scenes(1, size=64)
    fine = image[0].astype(float).repeat(3, axis=0).repeat(3, axis=1)  # (192, 192, 3): a cell is 4×4 of these
    cells = fine.reshape(48, 4, 48, 4, 3).mean(axis=(1, 3))
    at = ((np.arange(64) + 0.5) * 0.75).astype(int)
    expected = cells[at][:, at]
    np.testing.assert_allclose(corrupt(image, ["a"], "pixelate", 4, 0)[0], expected, atol=0.51)


@pytest.mark.parametrize("size", [16, 48])
def test_other_image_sizes_work(size):
    images = scenes(3, size)
    for kind in KINDS:
        assert corrupt(images, list("abc"), kind, 5, 0).shape == images.shape


def test_what_does_not_exist_is_refused():
    with pytest.raises(BadInputError, match=r"'frost'.*gaussian_noise"):
        corrupt(IMAGES, IDS, "frost", 1, 0)
    with pytest.raises(BadInputError, match="severity 6"):
        corrupt(IMAGES, IDS, "fog", 6, 0)
    with pytest.raises(BadInputError, match="2 names for 12 images"):
        corrupt(IMAGES, IDS[:2], "fog", 1, 0)


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_a_simulated_shift_grows_with_its_strength_and_repeats_with_its_seed(shift):
    changes = []
    for strength in (0.05, 0.5, 1.0):
        changed = shifted(IMAGES, shift, strength, np.random.default_rng(5))
        assert changed.shape == IMAGES.shape
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(changed, shifted(IMAGES, shift, strength, np.random.default_rng(5)))
        changes.append(difference(changed, IMAGES))
    assert changes[0] < changes[1] < changes[2]
    assert changes[2] > 3


def test_every_corruption_has_relatives_among_the_simulated_shifts_and_enough_strangers():
    for kind in KINDS.values():
        strangers = [shift for shift in SHIFTS if not shift.relatives & kind.relatives]
        assert kind.relatives
        assert len(SHIFTS) // 2 <= len(strangers) < len(SHIFTS)
