"""The operations against torchvision, SciPy or NumPy, one image at a time, and the promise of keyed randomness."""

from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional as reference

from evergreen.errors import BadInputError
from evergreen.images.augment import DRAWS, AugmentConfig, augment, draw
from evergreen.images.colours import Distortion, recolour
from evergreen.images.crops import crop_boxes, resized, resized_crop
from evergreen.images.filters import cut_out, gaussian_blur, rotate, sobel
from evergreen.images.keyed import Chance
from evergreen.images.operations import AnyOperation

NAMES = [get_args(kind.model_fields["name"].annotation)[0] for kind in get_args(get_args(AnyOperation)[0])]


def pictures(count: int, height: int = 16, width: int = 16) -> Tensor:
    """Random colours."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def recipe(*operations: str | dict[str, object]) -> AugmentConfig:
    """A configuration from names or from operations with parameters."""
    return AugmentConfig.read({"operations": [{"name": o} if isinstance(o, str) else o for o in operations]}, "here")


def table(count: int, epoch: int = 0) -> Tensor:
    return draw(count, 1, 0, epoch)[:, 0]


def only(name: str, count: int) -> Chance:
    """The numbers of a recipe's first operation."""
    return Chance.of_draws(table(count)).named(f"{name} 0")


def test_every_augmentation_of_the_papers_figure_is_there() -> None:
    figure = {
        "identity",
        "crop",
        "crop_flip",
        "colour_drop",
        "colour_jitter",
        "rotate",
        "cutout",
        "noise",
        "blur",
        "sobel",
    }
    assert set(NAMES) == figure | {"flip", "colour"}


def test_rotation_is_numpys() -> None:
    images = pictures(8)
    quarters = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7])
    for image, turned, k in zip(images, rotate(images, quarters), quarters.tolist(), strict=True):
        np.testing.assert_array_equal(turned.numpy(), np.rot90(image.numpy(), k, axes=(1, 2)))


def test_a_rotated_view_is_never_the_image_and_every_turn_comes() -> None:
    images = pictures(60)
    views = augment(images, table(60), recipe("rotate"))
    turns = [
        next(k for k in (1, 2, 3) if torch.equal(v, torch.rot90(i, k, (1, 2))))
        for i, v in zip(images, views, strict=True)
    ]
    assert set(turns) == {1, 2, 3}


def test_only_squares_are_rotated() -> None:
    with pytest.raises(BadInputError, match="16×12"):
        rotate(pictures(2, 16, 12), torch.tensor([1, 2]))


def cut_out_of_one(image: np.ndarray, centre: tuple[float, float], side: float, fill: float) -> np.ndarray:
    """Pixel by pixel."""
    out = image.copy()
    _, height, width = image.shape
    half = 0.5 * side * min(height, width)
    for y in range(height):
        for x in range(width):
            if abs(y + 0.5 - centre[0] * height) < half and abs(x + 0.5 - centre[1] * width) < half:
                out[:, y, x] = fill
    return out


def test_cutout_is_a_square_clipped_at_the_border() -> None:
    images = pictures(12, 16, 20)
    centres = torch.rand(12, 2, generator=torch.Generator().manual_seed(0))
    sides = torch.linspace(0.1, 0.9, 12)
    found = cut_out(images, centres, sides, 0.25)
    for image, view, centre, side in zip(images, found, centres.tolist(), sides.tolist(), strict=True):
        np.testing.assert_array_equal(view.numpy(), cut_out_of_one(image.numpy(), tuple(centre), side, 0.25))


@pytest.mark.parametrize("kernel", [3, 5, 9])
def test_blur_is_torchvisions(kernel: int) -> None:
    images = pictures(5, 16, 20)
    sigmas = torch.linspace(0.1, 2.0, 5)
    found = gaussian_blur(images, sigmas, kernel)
    for image, view, sigma in zip(images, found, sigmas.tolist(), strict=True):
        torch.testing.assert_close(view, reference.gaussian_blur(image, [kernel, kernel], [sigma, sigma]))


def test_sobel_is_scipys() -> None:
    images = pictures(4, 16, 20)
    found = sobel(images)
    for image, view in zip(images.numpy(), found.numpy(), strict=True):
        grey = np.einsum("c,chw->hw", np.array([0.299, 0.587, 0.114]), image)
        gradient = [ndimage.sobel(grey, axis=axis, mode="nearest") for axis in (0, 1)]
        expected = np.minimum(np.hypot(*gradient) / 4, 1)
        np.testing.assert_allclose(view, np.broadcast_to(expected, view.shape), atol=1e-5)


def test_a_step_from_black_to_white_is_a_full_edge() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1
    assert sobel(image)[0, 0, 3].tolist() == pytest.approx([0, 0, 0, 1, 1, 0, 0, 0], abs=1e-6)


def test_noise_has_the_deviation_asked_for_and_is_clipped() -> None:
    images = torch.full((40, 3, 16, 16), 0.5)
    views = augment(images, table(40), recipe({"name": "noise", "std": [0.05, 0.05]}))
    assert (views - images).std(dim=(1, 2, 3)).mean().item() == pytest.approx(0.05, rel=0.02)
    assert abs((views - images).mean().item()) < 1e-3
    assert augment(torch.ones(4, 3, 8, 8), table(4), recipe({"name": "noise", "std": [0.5, 0.5]})).max() == 1


def test_noise_is_the_samples_own_numbers_added() -> None:
    images = pictures(3)
    chance = only("noise", 3)
    for row, view in enumerate(augment(images, table(3), recipe("noise"))):
        std = 0.1 * chance.named("std").uniform(1)[row].numpy()
        expected = images[row].numpy() + std * chance.normal(3 * 16 * 16)[row].numpy().reshape(3, 16, 16)
        np.testing.assert_allclose(view.numpy(), np.clip(expected, 0, 1), atol=1e-6)


def test_colour_drop_is_torchvisions_greyscale() -> None:
    images = pictures(3)
    found = augment(images, table(3), recipe("colour_drop"))
    torch.testing.assert_close(found, reference.rgb_to_grayscale(images, num_output_channels=3), atol=2e-4, rtol=0)


def test_colour_jitter_without_hue_is_torchvisions_in_its_order() -> None:
    """The jitter's numbers with the hue left in the middle; the hue itself is tested with the colours."""
    images = 0.3 + 0.2 * pictures(6)
    draws = only("colour_jitter", 6).uniform(6)
    draws[:, 4] = 0.5
    found = recolour(images, draws, Distortion(0.5, 1.0, 0.0))
    for image, view, (_, b, c, s, _, _) in zip(images, found, draws.tolist(), strict=True):
        expected = image
        for u, adjust in (
            (b, reference.adjust_brightness),
            (c, reference.adjust_contrast),
            (s, reference.adjust_saturation),
        ):
            expected = adjust(expected, 1 + 0.4 * (2 * u - 1))
        torch.testing.assert_close(view, expected, atol=3e-4, rtol=0)


@pytest.mark.parametrize(("name", "flips"), [("crop", False), ("crop_flip", True)])
def test_crops_are_torchvisions_inside(name: str, flips: bool) -> None:
    """The box in whole pixels, so that torchvision can cut it; smooth images, because it repeats the crop's border."""
    images = resized(pictures(20, 4, 4), 32)
    boxes = crop_boxes(only(name, 20).uniform(5), (0.2, 1.0), (3 / 4, 4 / 3), flips, 32, 32)
    half = (boxes[:, 2:4] * 16).round().clamp(2, 16)
    low = ((boxes[:, :2] + 1) * 16 - half).round().clamp(min=0)
    low = torch.minimum(low, 32 - 2 * half)
    whole = torch.cat([(low + half) / 16 - 1, half / 16, boxes[:, 4:]], dim=1)
    found = resized_crop(images, whole, 16)
    for image, view, corner, extent, sign in zip(images, found, low.int(), 2 * half.int(), boxes[:, 4], strict=True):
        expected = reference.resized_crop(image, *corner.tolist(), *extent.tolist(), [16, 16], antialias=False)
        expected = expected.flip(2) if sign < 0 else expected
        torch.testing.assert_close(view[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5, rtol=0)
    assert bool((boxes[:, 4] < 0).any()) == flips


def test_a_crop_operation_cuts_the_box_of_its_numbers() -> None:
    images = pictures(5)
    boxes = crop_boxes(only("crop_flip", 5).uniform(5), (0.2, 1.0), (3 / 4, 4 / 3), True, 16, 16)
    assert torch.equal(augment(images, table(5), recipe("crop_flip"), 12), resized_crop(images, boxes, 12))


def test_flips_mirror_half_of_the_images_and_leave_the_rest() -> None:
    images = pictures(200)
    views = augment(images, table(200), recipe("flip"))
    mirrored = (views == images.flip(3)).flatten(1).all(dim=1)
    untouched = (views == images).flatten(1).all(dim=1)
    assert (mirrored ^ untouched).all()
    assert 70 <= mirrored.sum() <= 130


@pytest.mark.parametrize("name", NAMES)
def test_views_depend_on_the_sample_alone(name: str) -> None:
    """Permuted batch, permuted views; split batch, the same views; another epoch, other views."""
    images, draws, config = pictures(7), table(7), recipe(name)
    views = augment(images, draws, config, 12)
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    assert torch.equal(augment(images[order], draws[order], config, 12), views[order])
    split = [augment(images[part], draws[part], config, 12) for part in (slice(0, 2), slice(2, 7))]
    torch.testing.assert_close(torch.cat(split), views, atol=1e-6, rtol=0)
    same = torch.equal(augment(images, table(7, epoch=1), config, 12), views)
    assert same == (name in ("identity", "colour_drop", "sobel"))  # nothing random in those


@pytest.mark.parametrize("name", NAMES)
def test_views_are_images_of_the_size_asked_for(name: str) -> None:
    half = {"name": name, "probability": 0.5}
    views = augment(pictures(20, 20, 16), table(20), recipe(half), 12)
    assert views.shape == (20, 3, 12, 12)
    assert views.min() >= 0
    assert views.max() <= 1


def test_probability_says_how_many_are_changed() -> None:
    images = pictures(400, 8, 8)
    for share in (0.0, 0.3, 1.0):
        views = augment(images, table(400), recipe({"name": "cutout", "probability": share, "side": [0.5, 0.5]}))
        changed = (views != images).flatten(1).any(dim=1).double().mean().item()
        assert changed == pytest.approx(share, abs=0.08 * (0 < share < 1))


def test_an_operation_keeps_its_numbers_beside_others_and_differs_from_its_repetition() -> None:
    images = pictures(4)
    rotated = augment(images, table(4), recipe("rotate"))
    assert torch.equal(augment(images, table(4), recipe("identity", "rotate")), rotated)
    twice = augment(images, table(4), recipe("cutout", "cutout"))
    assert not torch.equal(twice, augment(images, table(4), recipe("cutout")))


def test_operations_compose_in_the_order_given() -> None:
    images = pictures(4)
    expected = sobel(gaussian_blur(images, 0.1 + 1.9 * only("blur", 4).uniform(1)[:, 0], 3))
    assert torch.equal(augment(images, table(4), recipe("blur", "sobel")), expected)


def test_without_operations_images_are_only_resized() -> None:
    images = pictures(2)
    assert torch.equal(augment(images, table(2), recipe()), images)
    torch.testing.assert_close(
        augment(images, table(2), recipe(), 8), reference.resize(images, [8, 8], antialias=True), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("operations", [None, *NAMES])
def test_everything_stays_on_the_device(operations: str | None) -> None:
    """On fake CUDA tensors: mixing devices raises, and so does asking for a value, for which a GPU would wait."""
    config = AugmentConfig() if operations is None else recipe({"name": operations, "probability": 0.5})
    with FakeTensorMode():
        draws = torch.empty(4, DRAWS, device="cuda")
        views = augment(torch.empty(4, 3, 16, 16, device="cuda"), draws, config, 12)
        assert views.device.type == "cuda"
        assert views.shape == (4, 3, 12, 12)
