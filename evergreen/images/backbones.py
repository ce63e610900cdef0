"""Backbones: networks from normalised images to feature vectors, and what each expects of its images."""

import copy
import difflib
from dataclasses import dataclass

import torch
from torch import nn

from evergreen.errors import BadInputError
from evergreen.images.small_maps import Convolution3x3

TIMM = "timm:"
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Backbone:
    """A network that ends in average pooling.

    ``features`` is the length of its vectors; ``mean`` and ``std`` normalise the channels of images in [0, 1] unless
    others are asked for; ``smallest`` is the least side in pixels that it can take; images are resized to the side
    ``input_size`` in front of it, or taken as they come if that is None.
    """

    body: nn.Module
    features: int
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.25, 0.25, 0.25)
    smallest: int = 1
    input_size: int | None = None


def resnet9(width: int) -> Backbone:
    """Eight convolutions with two residual blocks: the compact network of the DAWNBench CIFAR-10 entries."""
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
    return Backbone(body, 8 * w, smallest=8)


def convolution(channels_in: int, channels_out: int, pool: bool = False) -> nn.Module:
    """3×3 convolution, batch norm, ReLU and, if asked, 2×2 max-pooling."""
    layers: list[nn.Module] = [
        Convolution3x3(channels_in, channels_out),
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch: torch.Tensor = self.branch(x)
        return x + branch


def torchvision_resnet(name: str, stem: str) -> Backbone:
    """A torchvision ResNet without its classifier, with fresh weights."""
    import torchvision

    network = getattr(torchvision.models, name)(weights=None)
    features = int(network.fc.in_features)
    network.fc = nn.Identity()
    if stem == "cifar":
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return Backbone(network, features)


def timm_backbone(name: str, input_size: int | None) -> Backbone:
    """A network of the timm library without its classifier, with fresh weights: nothing is downloaded.

    Args:
        name: timm's, e.g. ``inception_v3``, or with one of its tags, ``inception_v3.tv_in1k``.
        input_size: side that images get; by default the one of timm's own configuration of the network.

    Raises:
        BadInputError: timm has no such network, or it cannot take images of that size.
    """
    import timm
    from timm.data.config import resolve_model_data_config

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5) or ["resnet18", "inception_v3"]
        raise BadInputError(
            f"timm {timm.__version__} has no backbone {name!r}. Near to it: {', '.join(near)}. "
            f"`python -c 'import timm; print(timm.list_models())'` lists all."
        )
    network = timm.create_model(name, pretrained=False, num_classes=0)
    expected = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    own_size = int(max(expected["input_size"][1:]))
    size = input_size or own_size
    features = output_features(network, size, f"{TIMM}{name}", own_size)
    return Backbone(network, features, tuple(expected["mean"]), tuple(expected["std"]), input_size=size)


def output_features(network: nn.Module, size: int, name: str, own_size: int) -> int:
    """Length of the network's vectors for images of side ``size``, found without computing anything.

    Raises:
        BadInputError: the network cannot take such images, or does not give one vector for each.
    """
    shadow = copy.deepcopy(network).to("meta").eval()  # shapes without values
    try:
        out = shadow(torch.empty(2, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(
            f"{name} cannot take images of {size}×{size} pixels ({reason}). Set encoder.input_size to {own_size}, its "
            "own, or leave it out."
        ) from error
    if not isinstance(out, torch.Tensor) or out.ndim != 2:
        raise BadInputError(f"{name} does not give one vector for each image. Choose another backbone.")
    return int(out.shape[1])
