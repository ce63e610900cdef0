"""Batched augmentation against torchvision and by its own promises."""

import colorsys

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from evergreen.errors import BadInputError
from evergreen.images.augment import DRAWS, AugmentConfig, augment, draw, to_float
from evergreen.images.colours import LUMA, Distortion, hue_rotation, recolour
from evergreen.images.crops import crop_boxes, resized_crop


def pictures(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth colour images in [0.2, 0.8]: no clipping, little aliasing."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=side, mode="bilinear", align_corners=False)


def colour_draws(count: int = 1, **values: float) -> torch.Tensor:
    """Draws that do nothing but what is named; 0.5 is the neutral factor."""
    names = ["apply", "brightness", "contrast", "saturation", "hue", "grey"]
    neutral = dict.fromkeys(names, 0.5) | {"apply": 0.0, "grey": 1.0} | values
    return torch.tensor([[neutral[name] for name in names]]).repeat(count, 1)


STRONG = Distortion(strength=1.0, jitter_probability=0.8, grey_probability=0.2)


@pytest.mark.parametrize("u", [0.1, 0.4, 0.9])
def test_brightness_is_torchvisions(u: float) -> None:
    images = pictures(3) * 0.5
    expected = reference.adjust_brightness(images, 1 + 0.8 * (2 * u - 1))
    torch.testing.assert_close(recolour(images, colour_draws(3, brightness=u), STRONG), expected)


@pytest.mark.parametrize("u", [0.1, 0.4, 0.7])
def test_contrast_is_torchvisions(u: float) -> None:
    images = pictures(3)
    expected = reference.adjust_contrast(images, 1 + 0.8 * (2 * u - 1))
    torch.testing.assert_close(recolour(images, colour_draws(3, contrast=u), STRONG), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("u", [0.1, 0.4, 0.6])
def test_saturation_is_torchvisions(u: float) -> None:
    images = pictures(3)
    expected = reference.adjust_saturation(images, 1 + 0.8 * (2 * u - 1))
    torch.testing.assert_close(recolour(images, colour_draws(3, saturation=u), STRONG), expected, atol=2e-4, rtol=0)


def test_brightness_then_contrast_then_saturation_compose() -> None:
    images = pictures(4) * 0.6 + 0.1
    distortion = Distortion(0.25, 0.8, 0.2)
    expected = reference.adjust_brightness(images, 1 + 0.2 * (2 * 0.7 - 1))
    expected = reference.adjust_contrast(expected, 1 + 0.2 * (2 * 0.3 - 1))
    expected = reference.adjust_saturation(expected, 1 + 0.2 * (2 * 0.8 - 1))
    found = recolour(images, colour_draws(4, brightness=0.7, contrast=0.3, saturation=0.8), distortion)
    torch.testing.assert_close(found, expected, atol=3e-4, rtol=0)


def test_colour_drop_is_torchvisions_greyscale() -> None:
    images = pictures(3)
    found = recolour(images, colour_draws(3, apply=1.0, grey=0.0), STRONG)
    torch.testing.assert_close(found, reference.rgb_to_grayscale(images, num_output_channels=3), atol=2e-4, rtol=0)


def test_hue_turns_full_circle_and_keeps_greys() -> None:
    grey = torch.full((3,), 0.4)
    for turns in (0.0, 0.25, 0.5):
        turn = hue_rotation(torch.tensor([turns]), torch.float32)[0]
        torch.testing.assert_close(turn @ grey, grey, atol=2e-3, rtol=0)
    torch.testing.assert_close(hue_rotation(torch.tensor([1.0]), torch.float32)[0], torch.eye(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("colour", [(0.6, 0.4, 0.4), (0.4, 0.6, 0.45), (0.45, 0.4, 0.6)])
@pytest.mark.parametrize("u", [0.3, 0.6, 0.75])
def test_hue_is_torchvisions_within_a_twentieth_of_a_turn_and_keeps_luma(colour: tuple[float, ...], u: float) -> None:
    image = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 4, 4).contiguous()
    expected = reference.adjust_hue(image, 0.2 * (2 * u - 1))[0, :, 0, 0]
    found = recolour(image, colour_draws(hue=u), STRONG)[0, :, 0, 0]
    apart = abs(colorsys.rgb_to_hsv(*found.tolist())[0] - colorsys.rgb_to_hsv(*expected.tolist())[0])
    assert min(apart, 1 - apart) < 0.05
    torch.testing.assert_close(found @ torch.tensor(LUMA), torch.tensor(colour) @ torch.tensor(LUMA), atol=2e-3, rtol=0)


def test_crop_of_whole_image_is_the_image_and_mirroring_is_a_flip() -> None:
    images = pictures(2)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]]).repeat(2, 1)
    torch.testing.assert_close(resized_crop(images, whole, 32), images, atol=1e-5, rtol=0)
    whole[:, 4] = -1
    torch.testing.assert_close(resized_crop(images, whole, 32), images.flip(3), atol=1e-5, rtol=0)


def test_crop_is_torchvisions_resized_crop() -> None:
    images = pictures(1, side=32)
    top, left, height, width = 4, 10, 16, 20  # pixels
    box = torch.tensor([[(2 * top + height) / 32 - 1, (2 * left + width) / 32 - 1, height / 32, width / 32, 1.0]])
    expected = reference.resized_crop(images, top, left, height, width, [24, 24], antialias=False)
    found = resized_crop(images, box, 24)
    # inside; torchvision repeats the crop's own border, we see the pixel beyond it
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5, rtol=0)


def test_boxes_lie_inside_and_have_the_area_asked_for() -> None:
    draws = draw(5000, 1, 0, 0)[:, 0, :5]
    boxes = crop_boxes(draws, scale=(0.3, 0.5), ratio=(0.9, 1.1), flip=True, height=32, width=32)
    centre_y, centre_x, half_height, half_width, sign = boxes.T
    assert (centre_y.abs() + half_height <= 1 + 1e-6).all()
    assert (centre_x.abs() + half_width <= 1 + 1e-6).all()
    area = half_height * half_width
    assert area.min() >= 0.3 - 1e-5
    assert area.max() <= 0.5 + 1e-5
    assert area.mean().item() == pytest.approx(0.4, abs=0.01)
    assert (sign == -1).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_view_depends_on_seed_epoch_and_image_only() -> None:
    images, config = pictures(6), AugmentConfig()
    table = draw(6, views=2, seed=3, epoch=1)
    together = augment(images, table[:, 0], config, 16)
    alone = torch.cat([augment(images[i : i + 1], table[i : i + 1, 0], config, 16) for i in (4, 1)])
    torch.testing.assert_close(together[[4, 1]], alone)
    assert torch.equal(table, draw(6, views=2, seed=3, epoch=1))
    assert not torch.equal(table, draw(6, views=2, seed=3, epoch=2))
    assert not torch.equal(table, draw(6, views=2, seed=4, epoch=1))


def test_views_are_images() -> None:
    views = augment(torch.rand(64, 3, 32, 32), draw(64, 1, 0, 0)[:, 0], AugmentConfig(jitter_strength=1.0), 24)
    assert views.shape == (64, 3, 24, 24)
    assert views.min() >= 0
    assert views.max() <= 1


def test_each_sample_has_its_own_parameters() -> None:
    same = pictures(1).repeat(16, 1, 1, 1)
    views = augment(same, draw(16, 1, 0, 0)[:, 0], AugmentConfig())
    assert torch.cdist(views.flatten(1), views.flatten(1)).fill_diagonal_(1).min() > 1e-3


def test_to_float_keeps_every_grey_level() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).repeat(1, 1, 1, 3)
    assert torch.equal((to_float(levels) * 255).round().to(torch.uint8).permute(0, 2, 3, 1), levels)
    assert draw(1, 1, 0, 0).shape[-1] == DRAWS


def test_operations_stand_alone() -> None:
    with pytest.raises(BadInputError, match="operations replaces flip, jitter_strength"):
        AugmentConfig.read({"flip": False, "jitter_strength": 1.0, "operations": []}, "here")
    with pytest.raises(BadInputError, match=r"'crop'.*'sobel'"):
        AugmentConfig.read({"operations": [{"name": "sharpen"}]}, "here")
    with pytest.raises(BadInputError, match="least <= largest"):
        AugmentConfig.read({"operations": [{"name": "crop", "scale": [0.5, 0.2]}]}, "here")
    assert AugmentConfig.read({"operations": []}, "here").operations == ()


def test_a_recipe_survives_json() -> None:
    recipe = AugmentConfig.read({"operations": [{"name": "crop"}, {"name": "blur", "probability": 0.5}]}, "here")
    assert AugmentConfig.model_validate_json(recipe.model_dump_json()) == recipe
    assert AugmentConfig.model_validate_json(AugmentConfig().model_dump_json()) == AugmentConfig()


def test_the_table_of_more_images_begins_with_that_of_fewer() -> None:
    assert torch.equal(draw(40, 2, 5, 1)[:7], draw(7, 2, 5, 1))
