"""Colour jitter and colour drop of a batch: one affine map of the colours for each image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COLOUR_DRAWS = 6  # apply jitter, brightness, contrast, saturation, hue, drop colour

# ITU-R BT.601 luma, the weights that PIL and torchvision use for "L".
LUMA = (0.299, 0.587, 0.114)
# NTSC YIQ: hue is a rotation of the (I, Q) plane.
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
YIQ_TO_RGB = np.linalg.inv(np.array(RGB_TO_YIQ)).tolist()


@dataclass(frozen=True)
class Distortion:
    """How strong the jitter is, and how often jitter and colour drop happen."""

    strength: float
    jitter_probability: float
    grey_probability: float


def recolour(images: Tensor, draws: Tensor, distortion: Distortion) -> Tensor:
    """Colour jitter and colour drop of each image as one affine map of its colours.

    Brightness, contrast and saturation as in torchvision (factors 1 ± 0.8·strength), hue ± 0.2·strength of a turn, in
    this fixed order. Two deviations, both for speed: hue turns the YIQ plane instead of HSV's, and values are clipped
    once at the end instead of after each operation.

    Args:
        images: (N, 3, H, W) in [0, 1].
        draws: (N, COLOUR_DRAWS).
        distortion: how strong, how often.
    """
    matrix, offset = colour_map(images, draws, distortion)
    flat = images.flatten(2)  # (N, 3, H·W)
    mixed = torch.baddbmm(offset.unsqueeze(2), matrix, flat)  # (N, 3, 1) + (N, 3, 3) @ (N, 3, H·W)
    return mixed.clamp_(0, 1).view_as(images)


def colour_map(images: Tensor, draws: Tensor, distortion: Distortion) -> tuple[Tensor, Tensor]:
    """The matrices (N, 3, 3) and offsets (N, 3) of :func:`recolour`."""
    count, dtype, device = len(images), images.dtype, images.device
    strength = distortion.strength
    identity = torch.eye(3, dtype=dtype, device=device)
    luma = constant(LUMA, dtype, device)
    grey = luma.repeat(3, 1)  # every row turns a colour into its luma
    factor = (1 + 0.8 * strength * (2 * draws[:, 1:4] - 1)).to(dtype)  # (N, 3)
    brightness, contrast, saturation = (f.view(count, 1, 1) for f in factor.unbind(dim=1))
    # contrast mixes with the mean luma of the brightened image: an offset equal in all channels
    mean_luma = images.mean(dim=(2, 3)) @ luma
    offset = ((1 - factor[:, 1]) * factor[:, 0] * mean_luma).unsqueeze(1).expand(count, 3)
    mix = saturation * identity + (1 - saturation) * grey  # (N, 3, 3); keeps greys, so the offset passes unchanged
    matrix = hue_rotation(0.2 * strength * (2 * draws[:, 4] - 1), dtype) @ (mix * brightness * contrast)
    jittered = (draws[:, 0] < distortion.jitter_probability).view(count, 1)
    matrix = torch.where(jittered.unsqueeze(2), matrix, identity)
    offset = torch.where(jittered, offset, torch.zeros_like(offset))
    dropped = (draws[:, 5] < distortion.grey_probability).view(count, 1)
    matrix = torch.where(dropped.unsqueeze(2), grey @ matrix, matrix)
    return matrix, torch.where(dropped, (offset @ luma).unsqueeze(1).expand(count, 3), offset)


def hue_rotation(turns: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices (N, 3, 3) that turn the hue of RGB colours by ``turns`` (N,) of a full circle in YIQ space."""
    angle = (-2 * math.pi * turns).to(dtype)  # clockwise in (I, Q): from red over yellow to green
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    to_yiq, from_yiq = (
        constant([value for row in matrix for value in row], dtype, turns.device).view(3, 3)
        for matrix in (RGB_TO_YIQ, YIQ_TO_RGB)
    )
    matrices: Tensor = from_yiq @ turn @ to_yiq
    return matrices


def constant(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers written where they are needed: a copy from the host would make a GPU wait for it."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


def greyscale(images: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of images (N, 3, H, W)."""
    red, green, blue = images.split(1, dim=1)
    grey: Tensor = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return grey
