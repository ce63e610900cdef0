"""Projection heads: what stands between the encoder and the contrastive loss, and how much of it is kept."""

import copy
from pathlib import Path
from typing import Literal

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evergreen.errors import BadInputError
from evergreen.files import write_atomically
from evergreen.images.encoders import Encoder, projection_head

HeadName = Literal["none", "linear", "hidden", "three"]
HEAD = "head.safetensors"


def build_head(name: HeadName, features: int, hidden: int, output: int) -> nn.Module:
    """Make a projection head with fresh weights, drawn from torch's global generator.

    Args:
        name: ``none`` hands the features on; ``linear`` is one matrix; ``hidden`` has one hidden layer (Chen et al.
            2020, section 4.2); ``three`` has two of them (Chen et al. 2020b, section 2). Each hidden layer is linear,
            batch norm, ReLU; no batch norm after the last layer, unlike v2's code.
        features: what the encoder gives.
        hidden: size of the hidden layers.
        output: size of the projections.
    """
    if name == "none":
        return nn.Sequential()
    if name == "linear":
        return nn.Sequential(nn.Linear(features, output))
    if name == "hidden":
        return projection_head(features, hidden, output)
    first = nn.Sequential(nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True))
    return nn.Sequential(*first, *projection_head(hidden, hidden, output).children())


def output_size(name: HeadName, features: int, output: int) -> int:
    """Size of the projections."""
    return features if name == "none" else output


def linear_layers(head: nn.Module) -> list[int]:
    """Where the linear layers of a head begin."""
    return [place for place, layer in enumerate(head.children()) if isinstance(layer, nn.Linear)]


def with_head(encoder: Encoder, head: nn.Module, layers: int) -> Encoder:
    """The encoder and the first layers of its head as one encoder, to fine-tune from the middle of the head.

    With few labels that is better than throwing the head away: v2 fine-tunes from the first of three layers (Chen et
    al. 2020b, section 4.2). A linear classifier goes on top, as on any encoder.

    Args:
        encoder: pretrained; not changed.
        head: its head, from :func:`build_head`; not changed.
        layers: how many linear layers to keep, each with its norm and ReLU; 0 gives a copy of the encoder.

    Raises:
        BadInputError: the head has not so many layers.
    """
    starts = linear_layers(head)
    if not 0 <= layers <= len(starts):
        raise BadInputError(
            f"Found {layers} layers of the head to keep, expected 0 to {len(starts)}: pretrain with a larger "
            "images.pretrain.head, or keep fewer."
        )
    longer = copy.deepcopy(encoder)
    if layers == 0:
        return longer
    parts = list(copy.deepcopy(head).children())[: [*starts, len(list(head.children()))][layers]]
    longer.body = nn.Sequential(longer.body, *parts)
    last = next(part for part in reversed(parts) if isinstance(part, nn.Linear))
    longer.features = last.out_features
    return longer


def save_head(folder: Path, head: nn.Module) -> None:
    """Write a head beside its encoder, ``folder``/head.safetensors."""
    tensors: dict[str, Tensor] = {name: v.detach().cpu().contiguous() for name, v in head.state_dict().items()}
    write_atomically(folder / HEAD, lambda part: save_file(tensors, part))


def load_head(folder: Path, name: HeadName, features: int, hidden: int, output: int) -> nn.Module:
    """Read the head that :func:`save_head` wrote.

    Raises:
        BadInputError: there is none, or it is of another shape.
    """
    if not (folder / HEAD).is_file():
        raise BadInputError(f"{folder} has no {HEAD}. Run the step pretrain again: it keeps the head since.")
    head = build_head(name, features, hidden, output)
    try:
        head.load_state_dict(load_file(folder / HEAD))
    except RuntimeError as error:
        raise BadInputError(
            f"{folder / HEAD} is no head {name} of sizes {features}, {hidden}, {output}. Name the settings it was "
            "pretrained with, or run the step pretrain again."
        ) from error
    return head.eval()
