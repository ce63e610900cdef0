"""One step of contrastive learning: views, network, loss over all processes' images, gradient."""

import torch
from torch import Tensor, nn

from evergreen.images.augment import augment, to_float
from evergreen.images.distributed import ALONE, Processes, gather_labels, gather_views, sum_gradients
from evergreen.images.encoders import build_encoder
from evergreen.images.gradient_cache import cached_backward
from evergreen.images.heads import build_head, output_size
from evergreen.images.losses import decoupled, logistic, margin_triplet, nt_xent, supervised_contrastive
from evergreen.images.memory_bank import MemoryBank
from evergreen.images.simclr_config import SimCLRConfig
from evergreen.training.precision import Resolved, autocast


class SimCLR(nn.Module):
    """Encoder f, projection head g and, for the loss that needs one, the bank of past projections."""

    def __init__(self, config: SimCLRConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder)
        features = self.encoder.features
        self.head = build_head(config.head, features, config.head_hidden, config.head_output)
        dimension = output_size(config.head, features, config.head_output)
        self.bank = MemoryBank(config.bank_size, dimension) if config.loss == "memory_bank" else None

    def forward(self, views: Tensor) -> Tensor:
        projections: Tensor = self.head(self.encoder(views))
        return projections


def two_views(images: Tensor, draws: Tensor, config: SimCLRConfig, size: int) -> Tensor:
    """Both views of a batch, (2N, 3, size, size): first all first views, then all second ones.

    Args:
        images: uint8 (N, H, W, 3).
        draws: (N, 2, DRAWS).
    """
    batch = to_float(images)
    return torch.cat([augment(batch, draws[:, view], config.augment, size) for view in (0, 1)])


def backward(
    model: SimCLR,
    views: Tensor,
    labels: Tensor | None,
    config: SimCLRConfig,
    precision: Resolved,
    processes: Processes = ALONE,
) -> tuple[Tensor, Tensor]:
    """Put the gradient of the loss over all processes' images into the parameters.

    Returns:
        The loss and the projections (2N, D) of all processes, both without gradient.
    """
    everyones = None if labels is None else gather_labels(labels, processes)
    gathered: list[Tensor] = []

    def loss_of(own: Tensor) -> Tensor:
        gathered.append(gather_views(own, processes))
        return contrastive_loss(gathered[0], everyones, config, model.bank)

    if config.chunk_size and config.chunk_size < len(views) // 2:
        loss, _ = cached_backward(model, views, loss_of, config.chunk_size, precision)
    else:
        with autocast(precision, views.device):
            own = model(views)
        loss = loss_of(own)
        loss.backward()
    sum_gradients(model, processes)
    return loss.detach(), gathered[0].detach()


def contrastive_loss(z: Tensor, labels: Tensor | None, config: SimCLRConfig, bank: MemoryBank | None) -> Tensor:
    """The configured loss of projections (2N, D)."""
    if config.loss == "margin":
        return margin_triplet(z, config.margin)
    if config.loss == "supervised":
        assert labels is not None
        return supervised_contrastive(z, labels, config.temperature)
    if bank is not None:
        return bank.loss(z, config.temperature)
    losses = {"nt_xent": nt_xent, "decoupled": decoupled, "logistic": logistic}
    return losses[config.loss](z, config.temperature)
