"""Contrastive augmentation as batched tensor operations with parameters of its own for each sample.

Every random number of an epoch comes from one table that is keyed by (seed, epoch) and indexed by image, so a view
depends neither on the batch an image falls into nor on how often a run was interrupted. One `grid_sample` does crop,
resize and flip; one 3×3 matrix a sample does the whole colour jitter and the colour drop.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from evergreen.config import Config

CROP_DRAWS = 5  # area, aspect ratio, top, left, flip
COLOUR_DRAWS = 6  # apply jitter, brightness, contrast, saturation, hue, drop colour
DRAWS = CROP_DRAWS + COLOUR_DRAWS

# ITU-R BT.601 luma, the weights that PIL and torchvision use for "L".
LUMA = (0.299, 0.587, 0.114)
# NTSC YIQ: hue is a rotation of the (I, Q) plane.
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


class AugmentConfig(Config):
    """What a view may look like.

    Defaults are those that SimCLR uses for CIFAR-10 (Chen et al. 2020, appendix B.9: strength 0.5, no blur), with crops
    of at least a fifth of the image instead of 8 %, which learns faster in short runs.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    jitter_strength: float = 0.5
    jitter_probability: float = 0.8
    grey_probability: float = 0.2


def draw(count: int, views: int, seed: int, epoch: int) -> Tensor:
    """Draw the uniform numbers of one epoch.

    Returns:
        float32 tensor (count, views, DRAWS) in [0, 1), the same for the same (seed, epoch) on every device.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.rand((count, views, DRAWS), generator=generator)


def augment(images: Tensor, draws: Tensor, config: AugmentConfig, size: int | None = None) -> Tensor:
    """Make one view of each image.

    Args:
        images: (N, 3, H, W) float in [0, 1].
        draws: (N, DRAWS) uniform numbers, a row of :func:`draw` for each image.
        config: what may be done.
        size: side of the square output; the input's height if not given.

    Returns:
        (N, 3, size, size) float in [0, 1], on the device of ``images``.
    """
    size = size or images.shape[2]
    crop, colour = draws[:, :CROP_DRAWS], draws[:, CROP_DRAWS:]
    boxes = crop_boxes(crop, config, images.shape[2], images.shape[3])
    return recolour(resized_crop(images, boxes, size), colour, config)


def crop_boxes(draws: Tensor, config: AugmentConfig, height: int, width: int) -> Tensor:
    """Random boxes: a share of the area, log-uniform in aspect ratio, anywhere inside, half the time mirrored.

    The side is clipped to the image where torchvision's RandomResizedCrop draws again: the same in nearly all cases,
    and the number of draws stays fixed.

    Args:
        draws: (N, CROP_DRAWS).

    Returns:
        (N, 5): centre y, centre x, half height, half width (in units of the image's half sides, so the whole image is
        (0, 0, 1, 1)) and the sign of x (-1 mirrored).
    """
    low, high = config.crop_scale
    area = (low + (high - low) * draws[:, 0]) * height * width
    log_low, log_high = math.log(config.crop_ratio[0]), math.log(config.crop_ratio[1])
    ratio = torch.exp(log_low + (log_high - log_low) * draws[:, 1])
    half_height = (torch.sqrt(area / ratio) / height).clamp(max=1.0)
    half_width = (torch.sqrt(area * ratio) / width).clamp(max=1.0)
    centre_y = (2 * draws[:, 2] - 1) * (1 - half_height)
    centre_x = (2 * draws[:, 3] - 1) * (1 - half_width)
    mirrored = (draws[:, 4] < 0.5) if config.flip else torch.zeros_like(draws[:, 4], dtype=torch.bool)
    sign = torch.where(mirrored, -1.0, 1.0)
    return torch.stack([centre_y, centre_x, half_height, half_width, sign], dim=1)


def resized_crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box out of each image and resize it to (size, size), bilinear without antialiasing.

    Args:
        images: (N, 3, H, W).
        boxes: (N, 5) as from :func:`crop_boxes`.
    """
    centre_y, centre_x, half_height, half_width, sign = boxes.unbind(dim=1)
    zero = torch.zeros_like(centre_y)
    row_x = torch.stack([half_width * sign, zero, centre_x], dim=1)
    row_y = torch.stack([zero, half_height, centre_y], dim=1)
    theta = torch.stack([row_x, row_y], dim=1).to(images.dtype)  # (N, 2, 3)
    grid = functional.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, draws: Tensor, config: AugmentConfig) -> Tensor:
    """Colour jitter and colour drop of each image as one affine map of its colours.

    Brightness, contrast and saturation as in torchvision (factors 1 ± 0.8·strength), hue ± 0.2·strength of a turn, in
    this fixed order. Two deviations, both for speed: hue turns the YIQ plane instead of HSV's, and values are clipped
    once at the end instead of after each operation.

    Args:
        images: (N, 3, H, W) in [0, 1].
        draws: (N, COLOUR_DRAWS).
    """
    matrix, offset = colour_map(images, draws, config)
    flat = images.flatten(2)  # (N, 3, H·W)
    mixed = torch.baddbmm(offset.unsqueeze(2), matrix, flat)  # (N, 3, 1) + (N, 3, 3) @ (N, 3, H·W)
    return mixed.clamp_(0, 1).view_as(images)


def colour_map(images: Tensor, draws: Tensor, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """The matrices (N, 3, 3) and offsets (N, 3) of :func:`recolour`."""
    count, dtype, device = len(images), images.dtype, images.device
    strength = config.jitter_strength
    identity = torch.eye(3, dtype=dtype, device=device)
    luma = torch.tensor(LUMA, dtype=dtype, device=device)
    grey = luma.repeat(3, 1)  # every row turns a colour into its luma
    factor = (1 + 0.8 * strength * (2 * draws[:, 1:4] - 1)).to(dtype)  # (N, 3)
    brightness, contrast, saturation = (f.view(count, 1, 1) for f in factor.unbind(dim=1))
    # contrast mixes with the mean luma of the brightened image: an offset equal in all channels
    mean_luma = images.mean(dim=(2, 3)) @ luma
    offset = ((1 - factor[:, 1]) * factor[:, 0] * mean_luma).unsqueeze(1).expand(count, 3)
    mix = saturation * identity + (1 - saturation) * grey  # (N, 3, 3); keeps greys, so the offset passes unchanged
    matrix = hue_rotation(0.2 * strength * (2 * draws[:, 4] - 1), dtype) @ (mix * brightness * contrast)
    jittered = (draws[:, 0] < config.jitter_probability).view(count, 1)
    matrix = torch.where(jittered.unsqueeze(2), matrix, identity)
    offset = torch.where(jittered, offset, torch.zeros_like(offset))
    dropped = (draws[:, 5] < config.grey_probability).view(count, 1)
    matrix = torch.where(dropped.unsqueeze(2), grey @ matrix, matrix)
    return matrix, torch.where(dropped, (offset @ luma).unsqueeze(1).expand(count, 3), offset)


def hue_rotation(turns: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices (N, 3, 3) that turn the hue of RGB colours by ``turns`` (N,) of a full circle in YIQ space."""
    angle = (-2 * math.pi * turns).to(dtype)  # clockwise in (I, Q): from red over yellow to green
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    to_yiq = torch.tensor(RGB_TO_YIQ, dtype=torch.float64)
    from_yiq = torch.linalg.inv(to_yiq).to(turns.device, dtype)
    matrices: Tensor = from_yiq @ turn @ to_yiq.to(turns.device, dtype)
    return matrices


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) as the arrays on disk → float32 (N, 3, H, W) in [0, 1]."""
    return images.permute(0, 3, 1, 2).contiguous().float().div_(255)
