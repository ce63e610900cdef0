"""Image encoders by name: a function from images to feature vectors after average pooling."""

from typing import Literal

import torch
from torch import Tensor, nn

from evergreen.config import Config

EncoderName = Literal["resnet9", "resnet18", "resnet50"]


class EncoderConfig(Config):
    """Which network, and how it begins.

    ``stem`` is for ResNet-18 and -50: ``cifar`` is a 3×3 convolution of stride 1 without max-pooling, for small images
    (Chen et al. 2020, appendix B.9), ``imagenet`` the original 7×7 of stride 2. ``width`` is the first layer's channel
    count of ResNet-9.
    """

    name: EncoderName = "resnet9"
    width: int = 32
    stem: Literal["cifar", "imagenet"] = "cifar"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)


class Encoder(nn.Module):
    """Normalises images and embeds them.

    ``forward`` takes (N, 3, H, W) floats in [0, 1] and returns (N, ``features``).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, features: int, config: EncoderConfig) -> None:
        super().__init__()
        self.body = body
        self.features = features
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.body(normalised)
        return features


def build_encoder(config: EncoderConfig) -> Encoder:
    """Make an encoder with fresh weights, in channels-last layout, drawn from torch's global generator."""
    if config.name == "resnet9":
        body, features = resnet9(config.width)
    else:
        body, features = torchvision_resnet(config.name, config.stem)
    encoder = Encoder(body, features, config)
    return encoder.to(memory_format=torch.channels_last)


def resnet9(width: int) -> tuple[nn.Module, int]:
    """Eight convolutions with two residual blocks: the compact network of the DAWNBench CIFAR-10 entries.

    Returns:
        The network, which ends in average pooling, and its feature count, 8·width.
    """
    w = width
    body = nn.Sequential(
        convolution(3, w),
        convolution(w, 2 * w, pool=True),
        Residual(2 * w),
        convolution(2 * w, 4 * w, pool=True),
        convolution(4 * w, 8 * w, pool=True),
        Residual(8 * w),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return body, 8 * w


def convolution(channels_in: int, channels_out: int, pool: bool = False) -> nn.Module:
    """3×3 convolution, batch norm, ReLU and, if asked, 2×2 max-pooling."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch


def torchvision_resnet(name: str, stem: str) -> tuple[nn.Module, int]:
    """A torchvision ResNet without its classifier, with fresh weights."""
    import torchvision

    network = getattr(torchvision.models, name)(weights=None)
    features = int(network.fc.in_features)
    network.fc = nn.Identity()
    if stem == "cifar":
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return network, features


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
