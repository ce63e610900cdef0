"""Contrastive augmentation as batched tensor operations with parameters of its own for each sample.

Every random number of an epoch comes from one table that is keyed by (seed, epoch) and indexed by image, so a view
depends neither on the batch an image falls into nor on how often a run was interrupted. By default one `grid_sample`
does crop, resize and flip, and one 3×3 matrix a sample does the whole colour jitter and the colour drop. Any other
recipe is a list of operations; there a row of the table is a key, from which each operation hashes its own numbers.
"""

from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from evergreen.config import Config
from evergreen.images.colours import COLOUR_DRAWS, Distortion, recolour
from evergreen.images.crops import CROP_DRAWS, crop_boxes, resized_crop
from evergreen.images.keyed import Chance
from evergreen.images.operations import AnyOperation, apply

DRAWS = CROP_DRAWS + COLOUR_DRAWS


class AugmentConfig(Config):
    """What a view may look like.

    Defaults are those that SimCLR uses for CIFAR-10 (Chen et al. 2020, appendix B.9: strength 0.5, no blur), with crops
    of at least a fifth of the image instead of 8 %, which learns faster in short runs.

    ``operations``, if given, are done instead of all that the other fields say, e.g.
    ``[{name: crop}, {name: colour}, {name: blur, probability: 0.5}]``; an empty list only resizes.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    jitter_strength: float = 0.5
    jitter_probability: float = 0.8
    grey_probability: float = 0.2
    operations: tuple[AnyOperation, ...] | None = None

    @model_validator(mode="after")
    def one_recipe_only(self) -> Self:
        """A field beside ``operations`` would be without effect."""
        if self.operations is None:
            return self
        changed = [
            name
            for name, field in type(self).model_fields.items()
            if name != "operations" and getattr(self, name) != field.default
        ]
        if changed:
            raise ValueError(f"operations replaces {', '.join(changed)}: say it in the operations' own parameters")
        return self


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
    if config.operations is not None:
        return apply(config.operations, images, Chance.of_draws(draws), size)
    crop, colour = draws[:, :CROP_DRAWS], draws[:, CROP_DRAWS:]
    height, width = images.shape[2:]
    boxes = crop_boxes(crop, config.crop_scale, config.crop_ratio, config.flip, height, width)
    distortion = Distortion(config.jitter_strength, config.jitter_probability, config.grey_probability)
    return recolour(resized_crop(images, boxes, size), colour, distortion)


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) as the arrays on disk → float32 (N, 3, H, W) in [0, 1]."""
    return images.permute(0, 3, 1, 2).contiguous().float().div_(255)
