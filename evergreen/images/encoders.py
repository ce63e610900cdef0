"""Image encoders by name: a function from images to feature vectors after average pooling."""

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.images.backbones import TIMM, Backbone, Triple, resnet9, timm_backbone, torchvision_resnet
from evergreen.images.crops import resized

NAMES = ("resnet9", "resnet18", "resnet34", "resnet50")


def known_name(name: str) -> str:
    """The name as it is, if there is such an encoder; timm is asked when the encoder is built.

    Raises:
        ValueError: there is none.
    """
    if name in NAMES or (name.startswith(TIMM) and len(name) > len(TIMM)):
        return name
    raise ValueError(
        f"there is no such encoder; there are {', '.join(NAMES)}, and {TIMM}NAME for any backbone of timm, "
        f"e.g. {TIMM}inception_v3"
    )


class EncoderConfig(Config):
    """Which network, and how it begins.

    ``name`` is one of ours or ``timm:NAME``. ``stem`` is for ResNet-18, -34 and -50: ``cifar`` is a 3×3 convolution of
    stride 1 without max-pooling, for small images (Chen et al. 2020, appendix B.9), ``imagenet`` the original 7×7 of
    stride 2. ``width`` is the first layer's channel count of ResNet-9. Images are resized to the side ``input_size`` in
    front of the network; without it ours take images as they come and those of timm get the size they were made for.
    ``mean`` and ``std`` normalise the channels of images in [0, 1]; without them the network's own are used.
    """

    name: Annotated[str, AfterValidator(known_name)] = "resnet9"
    width: int = Field(default=32, gt=0)
    stem: Literal["cifar", "imagenet"] = "cifar"
    mean: Triple | None = None
    std: Triple | None = None
    input_size: int | None = Field(default=None, gt=0)

    def normalised_by(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "EncoderConfig":
        """The same with the statistics of the training images, except where a backbone of timm brings its own."""
        return self if self.name.startswith(TIMM) else self.model_copy(update={"mean": mean, "std": std})


class Encoder(nn.Module):
    """Normalises images and embeds them.

    ``forward`` takes (N, 3, H, W) floats in [0, 1] and returns (N, ``features``). It raises a BadInputError for images
    that are smaller than the network can take.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, config: EncoderConfig) -> None:
        super().__init__()
        self.name = config.name
        self.body = backbone.body
        self.features = backbone.features
        self.smallest = backbone.smallest
        self.input_size = config.input_size or backbone.input_size
        mean, std = config.mean or backbone.mean, config.std or backbone.std
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.input_size:
            images = resized(images, self.input_size)
        height, width = images.shape[2:]
        if min(height, width) < self.smallest:
            raise BadInputError(
                f"{self.name} takes images of at least {self.smallest}×{self.smallest} pixels, found {height}×{width}. "
                "Use larger images and views (view_sizes), or have them enlarged (encoder.input_size)."
            )
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.body(normalised)
        return features


def build_encoder(config: EncoderConfig) -> Encoder:
    """Make an encoder with fresh weights, in channels-last layout, drawn from torch's global generator.

    Raises:
        BadInputError: timm has no such backbone, or it cannot take images of the size asked for.
    """
    if config.name.startswith(TIMM):
        backbone = timm_backbone(config.name.removeprefix(TIMM), config.input_size)
    elif config.name == "resnet9":
        backbone = resnet9(config.width)
    else:
        backbone = torchvision_resnet(config.name, config.stem)
    return Encoder(backbone, config).to(memory_format=torch.channels_last)


def projection_head(features: int, hidden: int, output: int) -> nn.Module:
    """The non-linear head g of SimCLR: linear, batch norm, ReLU, linear (Chen et al. 2020, section 4.2)."""
    return nn.Sequential(
        nn.Linear(features, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, output),
    )


def forward_flops(encoder: Encoder, size: int) -> int:
    """Floating-point operations of one image's forward pass at ``size``×``size`` pixels, on torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    training = encoder.training
    encoder.eval()
    device = encoder.mean.device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, size, size, device=device))
    encoder.train(training)
    return int(counter.get_total_flops())
