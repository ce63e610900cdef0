"""Go on with SimCLR when the stream has changed, without forgetting what the encoder knew."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.images.augment import AugmentConfig, draw
from evergreen.images.encoders import Encoder, projection_head
from evergreen.images.losses import nt_xent
from evergreen.images.mixture import Images
from evergreen.images.simclr import SimCLRConfig, two_views
from evergreen.progress import Progress
from evergreen.training.optimisers import set_learning_rate, sgd
from evergreen.training.precision import Resolved, autocast
from evergreen.training.schedules import warmup_cosine


class ContinuedConfig(Config):
    """How pretraining goes on.

    Attributes:
        steps: of gradient descent.
        batch_size: images of a batch; ``new_share`` of them are of the new regime, the rest is replayed.
        new_share: share of the new regime.
        view_size: side of the views in pixels.
        distillation: weight of the pull of replayed images towards the features that the old encoder gives them.
        head_steps: steps in which only the fresh projection head learns, so that it does not spoil the encoder.
    """

    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=256, ge=8)
    new_share: float = Field(default=0.5, gt=0, lt=1)
    view_size: int = Field(default=16, ge=8)
    learning_rate: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    temperature: float = Field(default=0.5, gt=0)
    distillation: float = Field(default=4.0, ge=0)
    head_steps: int = Field(default=20, ge=0)
    augment: AugmentConfig = AugmentConfig()


def distillation_loss(features: Tensor, remembered: Tensor) -> Tensor:
    """Mean cosine distance between what the encoder and its old self make of the same views, both (n, D).

    CaSSLe (Fini et al. 2022) puts a predictor between the two, to leave the encoder free to move. Here features shall
    stay where they are, so that a classifier on them stays right: there is none.
    """
    return (1 - functional.cosine_similarity(features.float(), remembered.float(), dim=1)).mean()


def continue_pretraining(
    encoder: Encoder,
    images: Images,
    old: NDArray[np.int64],
    new: NDArray[np.int64],
    config: ContinuedConfig,
    recipe: SimCLRConfig,
    seed: int,
    precision: Resolved,
    progress: Progress,
    remembered: Encoder,
) -> Encoder:
    """Train an encoder further on batches of new and replayed images; it is changed and returned.

    Args:
        encoder: pretrained.
        images: all images.
        old: rows of the old regime, replayed and distilled on.
        new: rows of the new regime.
        config: how to go on.
        recipe: how the encoder was pretrained; gives the size of the projection head.
        seed: of batches, views and the head's weights.
        precision: of the forward passes.
        progress: told of every image pair.
        remembered: the old encoder; not changed.
    """
    torch.manual_seed(seed)
    device = encoder.mean.device
    head = projection_head(encoder.features, recipe.head_hidden, recipe.head_output).to(device)
    optimiser = sgd([encoder, head], config.momentum, config.weight_decay)
    rng = np.random.default_rng(seed)
    remembered.eval()
    replayed = 0 if not len(old) else round((1 - config.new_share) * config.batch_size)
    for step in range(config.steps):
        rows = np.concatenate([draw_rows(rng, old, replayed), draw_rows(rng, new, config.batch_size - replayed)])
        views = two_views(
            images.take(rows).to(device),
            draw(len(rows), views=2, seed=seed, epoch=step).to(device),
            recipe.model_copy(update={"augment": config.augment}),
            config.view_size,
        )
        rate = warmup_cosine(step, config.steps, config.learning_rate, min(config.head_steps, config.steps // 5))
        set_learning_rate(optimiser, rate)
        train_step(encoder, head, optimiser, views, replayed, remembered, config, precision, step < config.head_steps)
        progress.advance(len(rows))
    return encoder.eval()


def draw_rows(rng: np.random.Generator, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """``count`` different rows, or with repetition where there are not so many."""
    return rng.choice(rows, size=count, replace=len(rows) < count) if count else np.empty(0, dtype=np.int64)


def train_step(
    encoder: Encoder,
    head: nn.Module,
    optimiser: torch.optim.Optimizer,
    views: Tensor,
    replayed: int,
    remembered: Encoder,
    config: ContinuedConfig,
    precision: Resolved,
    head_only: bool,
) -> None:
    """One step: NT-Xent over all views, distillation over both views of the first ``replayed`` images.

    Args:
        views: (2N, 3, S, S), first all first views, then all second ones; the replayed images come first in both.
    """
    encoder.train()
    count = len(views) // 2
    of_old = torch.cat([torch.arange(replayed), torch.arange(replayed) + count]).to(views.device)
    with autocast(precision, views.device):
        features = encoder(views)
        z = head(features.detach() if head_only else features)
    loss = nt_xent(z, config.temperature)
    if replayed and config.distillation and not head_only:
        with torch.no_grad(), autocast(precision, views.device):
            past = remembered(views[of_old])
        loss = loss + config.distillation * distillation_loss(features[of_old], past)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
