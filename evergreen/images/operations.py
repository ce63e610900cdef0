"""The augmentations of SimCLR's figure 4 as operations that can be put in any order (Chen et al. 2020, section 3).

Each takes a batch of images in [0, 1] and gives one in [0, 1], with parameters of its own for each image.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from evergreen.config import Config
from evergreen.images.colours import COLOUR_DRAWS, Distortion, recolour
from evergreen.images.crops import CROP_DRAWS, crop_boxes, resized, resized_crop
from evergreen.images.filters import cut_out, gaussian_blur, rotate, sobel
from evergreen.images.keyed import Chance

Share = Annotated[float, Field(ge=0, le=1)]


class Operation(Config):
    """What all operations share: the share of the images that they change."""

    probability: Share = 1.0

    def __call__(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        """Change each image with the operation's probability.

        Args:
            images: (N, 3, H, W) in [0, 1].
            chance: the numbers of this operation for these images.
            size: side of the view; crops give it, the others keep the size that they find.
        """
        changed = self.change(images, chance, size)
        if self.probability == 1:
            return changed
        applied = chance.named("apply").uniform(1).view(-1, 1, 1, 1) < self.probability
        return torch.where(applied, changed, resized(images, changed.shape[2]))

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        """Change every image."""
        raise NotImplementedError


class Identity(Operation):
    """The original."""

    name: Literal["identity"] = "identity"

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return images


class Cropping(Operation):
    """What both crops share: a part, by its share of the area and its width / height, in the view's size."""

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def cut(self, images: Tensor, chance: Chance, size: int, flip: bool) -> Tensor:
        """Crop, and mirror half of the images if asked."""
        draws = chance.uniform(CROP_DRAWS)
        boxes = crop_boxes(draws, self.scale, self.ratio, flip, images.shape[2], images.shape[3])
        return resized_crop(images, boxes, size)

    @model_validator(mode="after")
    def ranges_are_ordered(self) -> Self:
        """Neither range may be empty, nor a crop larger than its image."""
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be 0 < least <= largest <= 1, found {list(self.scale)}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be 0 < least <= largest, found {list(self.ratio)}")
        return self


class Crop(Cropping):
    """Cut out a part and resize it."""

    name: Literal["crop"] = "crop"

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return self.cut(images, chance, size, flip=False)


class CropFlip(Cropping):
    """Cut out a part, resize it, and mirror half of the images."""

    name: Literal["crop_flip"] = "crop_flip"

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return self.cut(images, chance, size, flip=True)


class Flip(Operation):
    """Mirror left and right."""

    name: Literal["flip"] = "flip"
    probability: Share = 0.5

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return images.flip(3)


class Colour(Operation):
    """Colour jitter and colour drop, each as often as SimCLR does them."""

    name: Literal["colour"] = "colour"
    strength: float = Field(default=0.5, ge=0, le=1.25)  # a factor 1 − 0.8·strength must not be negative
    jitter_probability: Share = 0.8
    grey_probability: Share = 0.2

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        distortion = Distortion(self.strength, self.jitter_probability, self.grey_probability)
        return recolour(images, chance.uniform(COLOUR_DRAWS), distortion)


class ColourJitter(Operation):
    """Brightness, contrast, saturation and hue."""

    name: Literal["colour_jitter"] = "colour_jitter"
    strength: float = Field(default=0.5, ge=0, le=1.25)

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return recolour(images, chance.uniform(COLOUR_DRAWS), Distortion(self.strength, 1.0, 0.0))


class ColourDrop(Operation):
    """Grey."""

    name: Literal["colour_drop"] = "colour_drop"

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return recolour(images, chance.uniform(COLOUR_DRAWS), Distortion(0.0, 0.0, 1.0))


class Rotate(Operation):
    """Turn by 90°, 180° or 270°."""

    name: Literal["rotate"] = "rotate"

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return rotate(images, 1 + (3 * chance.uniform(1)[:, 0]).long())


class Cutout(Operation):
    """Paint a grey square, of a random side in units of the image's, around a random place."""

    name: Literal["cutout"] = "cutout"
    side: tuple[Share, Share] = (0.25, 0.5)
    fill: Share = 0.5

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        draws = chance.uniform(3)
        return cut_out(images, draws[:, :2], between(self.side, draws[:, 2]), self.fill)


class Noise(Operation):
    """Add Gaussian noise of a random standard deviation, images reaching from 0 to 1."""

    name: Literal["noise"] = "noise"
    std: tuple[Share, Share] = (0.0, 0.1)

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        std = between(self.std, chance.named("std").uniform(1)).view(-1, 1, 1, 1)
        noise = chance.normal(images[0].numel()).view_as(images)
        return (images + std * noise).clamp_(0, 1)


class Blur(Operation):
    """Gaussian blur of random width in a window of a tenth of the image's side (Chen et al. 2020, appendix A)."""

    name: Literal["blur"] = "blur"
    sigma: tuple[float, float] = (0.1, 2.0)  # pixels
    kernel_share: float = Field(default=0.1, gt=0, lt=1)  # side of the window in units of the image's

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        reach = max(1, round(self.kernel_share * min(images.shape[2:]) / 2))
        return gaussian_blur(images, between(self.sigma, chance.uniform(1)[:, 0]), 2 * reach + 1)

    @model_validator(mode="after")
    def widths_are_positive(self) -> Self:
        """A Gaussian of width 0 divides by it."""
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma must be 0 < least <= largest, found {list(self.sigma)}")
        return self


class Sobel(Operation):
    """Edges instead of the image."""

    name: Literal["sobel"] = "sobel"

    def change(self, images: Tensor, chance: Chance, size: int) -> Tensor:
        return sobel(images)


AnyOperation = Annotated[
    Identity | Crop | CropFlip | Flip | Colour | ColourJitter | ColourDrop | Rotate | Cutout | Noise | Blur | Sobel,
    Field(discriminator="name"),
]


def apply(operations: Sequence[AnyOperation], images: Tensor, chance: Chance, size: int) -> Tensor:
    """Apply operations in order and return views of side ``size``.

    An operation's numbers depend on its name and on how many of that name came before it, not on the others: the crops
    of a pair (crop, blur) are those of (crop, noise). Without a crop the images are resized first.
    """
    if not any(isinstance(operation, Cropping) for operation in operations):
        images = resized(images, size)
    seen: Counter[str] = Counter()
    for operation in operations:
        images = operation(images, chance.named(f"{operation.name} {seen[operation.name]}"), size)
        seen[operation.name] += 1
    return images


def between(ends: tuple[float, float], share: Tensor) -> Tensor:
    """The values that lie ``share`` of the way from the first end to the second."""
    return ends[0] + (ends[1] - ends[0]) * share
