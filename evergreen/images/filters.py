"""Rotation, cutout, blur and edges of a batch, each image with parameters of its own and without a host's help."""

import torch
from torch import Tensor
from torch.nn import functional

from evergreen.errors import BadInputError
from evergreen.images.colours import greyscale


def rotate(images: Tensor, quarters: Tensor) -> Tensor:
    """Turn each image counter-clockwise by ``quarters`` (N,) times 90°.

    Raises:
        BadInputError: the images (N, C, H, W) are not square, so the turned ones would have another shape.
    """
    if images.shape[2] != images.shape[3]:
        raise BadInputError(
            f"Only square images can be rotated by 90°, found {images.shape[2]}×{images.shape[3]} pixels. "
            "Put a crop before the rotation."
        )
    turn = (quarters % 4).view(-1, 1, 1, 1)
    turned = images
    for k in (1, 2, 3):
        turned = torch.where(turn == k, torch.rot90(images, k, dims=(2, 3)), turned)
    return turned


def cut_out(images: Tensor, centres: Tensor, sides: Tensor, fill: float) -> Tensor:
    """Paint a square over each image; what reaches beyond the border is cut off (DeVries and Taylor 2017).

    Args:
        images: (N, 3, H, W).
        centres: (N, 2), y and x, in [0, 1] from the top left corner to the bottom right one.
        sides: (N,), in units of the shorter side of the image.
        fill: the value painted.
    """
    height, width = images.shape[2:]
    half = 0.5 * sides * min(height, width)
    rows, columns = (
        (torch.arange(length, device=images.device) + 0.5 - centre.unsqueeze(1) * length).abs() < half.unsqueeze(1)
        for length, centre in zip((height, width), centres.unbind(dim=1), strict=True)
    )  # (N, H), (N, W): whose pixels' middles lie inside
    inside = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)  # (N, 1, H, W)
    return torch.where(inside, fill, images)


def gaussian_blur(images: Tensor, sigmas: Tensor, kernel: int) -> Tensor:
    """Blur each image with a Gaussian of its own, reflected at the border as in torchvision.

    Args:
        images: (N, C, H, W).
        sigmas: (N,), standard deviation in pixels.
        kernel: odd side of the window in pixels; its half must be smaller than the image.
    """
    reach = kernel // 2
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigmas.to(images.dtype).unsqueeze(1)) ** 2)  # (N, kernel)
    weights = weights / weights.sum(dim=1, keepdim=True)
    for dim, padding in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        length = images.shape[dim]
        padded = functional.pad(images, padding, mode="reflect")
        images = padded.narrow(dim, 0, length) * weights[:, 0].view(-1, 1, 1, 1)
        for k in range(1, kernel):
            images.addcmul_(padded.narrow(dim, k, length), weights[:, k].view(-1, 1, 1, 1))
    return images


def sobel(images: Tensor) -> Tensor:
    """Edges: the length of Sobel's gradient of the luma, in all three channels, border pixels repeated.

    A step from black to white across the image's rows or columns has 1; more, at corners, is clipped.
    """
    grey = functional.pad(greyscale(images), (1, 1, 1, 1), mode="replicate")
    smooth_y = grey[:, :, :-2] + 2 * grey[:, :, 1:-1] + grey[:, :, 2:]
    smooth_x = grey[..., :-2] + 2 * grey[..., 1:-1] + grey[..., 2:]
    across = smooth_y[..., 2:] - smooth_y[..., :-2]
    down = smooth_x[:, :, 2:] - smooth_x[:, :, :-2]
    edges = torch.sqrt(across.square() + down.square()) / 4
    return edges.clamp_(max=1).expand(-1, 3, -1, -1).contiguous()
