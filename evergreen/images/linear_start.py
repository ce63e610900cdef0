"""Where a classifier on a pretrained encoder starts: a linear head on the features as they are."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from evergreen.images.augment import AugmentConfig
from evergreen.images.encoders import Encoder
from evergreen.images.linear import Split, cross_validate, fit_linear, spread
from evergreen.images.mixture import Images
from evergreen.images.normalisation import measure_statistics, random_batches
from evergreen.images.training_parts import Labelled, view
from evergreen.training.precision import Resolved, autocast

VIEWS = 4
"""Of each labelled image, that the head for views is fitted to; fewer where that would be more than ``MANY`` in all."""
MANY = 8192
FOLDS = 5
AT_ONCE = 512


def linear_start(encoder: Encoder, labelled: Labelled, penalties: tuple[float, ...], precision: Resolved) -> nn.Linear:
    """A linear head on the frozen features of whole images, its penalty cross-validated on the labels themselves."""
    features = embed(encoder, labelled.images.split(AT_ONCE), precision)
    return _fitted(features, labelled, penalties)


def start_on_views(
    encoder: Encoder,
    labelled: Labelled,
    unlabelled: Images,
    *,
    augment: AugmentConfig,
    size: int,
    penalties: tuple[float, ...],
    precision: Resolved,
    generator: torch.Generator,
) -> nn.Linear:
    """Make an encoder ready to be trained on views: their batch-norm statistics, and a linear head on their features.

    Training sees views, smaller and recoloured, through the statistics of their batches. A head that was fitted to
    whole images is lost there before the first step, and what the encoder knows goes while a new one is found (Kumar
    et al. 2022 on bad heads; Touvron et al. 2019 on train and test sizes).

    Args:
        encoder: pretrained; only its batch-norm statistics are changed.
        labelled: the known labels.
        unlabelled: images like those that will be trained on, for the statistics.
        augment: how views are made.
        size: their side in pixels.
        penalties: one of them is chosen by cross-validation, on one view of each label.
        precision: of the forward passes.
        generator: of images and views.
    """

    def views(images: Tensor) -> Tensor:
        return view(images, augment, size, generator)

    device = encoder.mean.device
    measure_statistics(encoder, map(views, random_batches(unlabelled, generator, device)), precision)
    chunks = labelled.images.split(AT_ONCE) * views_each(len(labelled.labels))
    features = embed(encoder, map(views, chunks), precision)
    return _fitted(features, labelled, penalties)


def views_each(labels: int) -> int:
    """How many views of each labelled image the head is fitted to.

    >>> [views_each(labels) for labels in (10, 2048, 4096, 50_000)]
    [4, 4, 2, 1]
    """
    return max(1, min(VIEWS, MANY // labels))


def embed(encoder: Encoder, batches: Iterable[Tensor], precision: Resolved) -> Tensor:
    """Features of batches of float images (N, 3, H, W), float32 (sum of N, D)."""
    encoder.eval()
    with torch.no_grad(), autocast(precision, encoder.mean.device):
        return torch.cat([encoder(images).float() for images in batches])


def _fitted(features: Tensor, labelled: Labelled, penalties: tuple[float, ...]) -> nn.Linear:
    """A head on features (k·N, D) of k views of each labelled image."""
    count = len(labelled.labels)
    mean, std = spread(features)
    features = (features - mean) / std
    one = Split(features[:count], labelled.labels)  # two views of an image would be on both sides of a fold
    l2 = cross_validate(one, labelled.classes, penalties, min(FOLDS, count), max_iterations=100)
    every = Split(features, labelled.labels.repeat(len(features) // count))
    linear = fit_linear(every, labelled.classes, l2, max_iterations=100)
    with torch.no_grad():  # the standardisation moves into the weights
        linear.weight.div_(std)
        linear.bias.sub_(linear.weight @ mean)
    return linear.requires_grad_(True)
