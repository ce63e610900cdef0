"""Random crops of a batch: boxes of their own for each image, cut out and resized in one pass."""

import math

import torch
from torch import Tensor
from torch.nn import functional

CROP_DRAWS = 5  # area, aspect ratio, top, left, flip


def crop_boxes(
    draws: Tensor, scale: tuple[float, float], ratio: tuple[float, float], flip: bool, height: int, width: int
) -> Tensor:
    """Random boxes: a share of the area, log-uniform in aspect ratio, anywhere inside, half the time mirrored.

    The side is clipped to the image where torchvision's RandomResizedCrop draws again: the same in nearly all cases,
    and the number of draws stays fixed.

    Args:
        draws: (N, CROP_DRAWS).
        scale: least and largest share of the area.
        ratio: least and largest width / height.
        flip: whether half of the boxes are mirrored.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        (N, 5): centre y, centre x, half height, half width (in units of the image's half sides, so the whole image is
        (0, 0, 1, 1)) and the sign of x (-1 mirrored).
    """
    low, high = scale
    area = (low + (high - low) * draws[:, 0]) * height * width
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(log_low + (log_high - log_low) * draws[:, 1])
    half_height = (torch.sqrt(area / shape) / height).clamp(max=1.0)
    half_width = (torch.sqrt(area * shape) / width).clamp(max=1.0)
    centre_y = (2 * draws[:, 2] - 1) * (1 - half_height)
    centre_x = (2 * draws[:, 3] - 1) * (1 - half_width)
    mirrored = (draws[:, 4] < 0.5) if flip else torch.zeros_like(draws[:, 4], dtype=torch.bool)
    sign = torch.where(mirrored, -1.0, 1.0)
    return torch.stack([centre_y, centre_x, half_height, half_width, sign], dim=1)


def resized_crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box out of each image and resize it to (size, size), bilinear without antialiasing.

    Args:
        images: (N, 3, H, W).
        boxes: (N, 5) as from :func:`crop_boxes`.
        size: side of the output in pixels.
    """
    centre_y, centre_x, half_height, half_width, sign = boxes.unbind(dim=1)
    zero = torch.zeros_like(centre_y)
    row_x = torch.stack([half_width * sign, zero, centre_x], dim=1)
    row_y = torch.stack([zero, half_height, centre_y], dim=1)
    theta = torch.stack([row_x, row_y], dim=1).to(images.dtype)  # (N, 2, 3)
    grid = functional.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def resized(images: Tensor, size: int) -> Tensor:
    """Whole images (N, 3, H, W) at another size, bilinear, antialiased where they shrink; as they are if they fit."""
    if images.shape[2:] == (size, size):
        return images
    shrinks = min(images.shape[2:]) > size
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=shrinks)
