"""A map of feature vectors on a plane."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

COMPONENTS = 50
"""Principal components that t-SNE sees: the rest is mostly noise, and distances get cheap."""
ITERATIONS = 500
"""Half of scikit-learn's default: from a PCA start the picture hardly changes afterwards."""
PERPLEXITY = 30.0
FEW = 20
"""Fewer points than this have no neighbourhoods worth keeping: they get their principal components."""


def project(features: NDArray[np.floating], seed: int) -> NDArray[np.float64]:
    """Place vectors on a plane so that those with a small angle between them lie close: t-SNE from a PCA start.

    Runs on one thread: sums over several threads may be added in another order each time, and the map must be the same
    for the same features. 3,000 vectors of length 256 take about 5 s.

    Args:
        features: (N, D), any scale; only directions count.
        seed: of t-SNE.

    Returns:
        (N, 2), centred. Equal vectors throughout give zeros.

    Source: van der Maaten & Hinton 2008; PCA start: Kobak & Berens 2019.
    """
    if len(features) == 0:
        return np.zeros((0, 2))
    values = np.asarray(features, np.float64)
    values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    values = values - values.mean(axis=0)
    if np.abs(values).max() < 1e-9:
        return np.zeros((len(values), 2))
    with threadpool_limits(1):
        reduced = PCA(min(COMPONENTS, *values.shape), svd_solver="full").fit_transform(values)
        if len(values) < FEW:
            padded: NDArray[np.float64] = np.pad(reduced, ((0, 0), (0, 2)))
            return padded[:, :2]
        if reduced.shape[1] == 1:
            reduced = np.pad(reduced, ((0, 0), (0, 1)))
        tsne = TSNE(
            init=(reduced[:, :2] / reduced[:, 0].std() * 1e-4).astype(np.float32),
            perplexity=min(PERPLEXITY, (len(values) - 1) / 3),
            max_iter=ITERATIONS,
            random_state=seed % 2**32,
            n_jobs=1,
        )
        placed: NDArray[np.float64] = np.asarray(tsne.fit_transform(reduced.astype(np.float32)), np.float64)
    centred: NDArray[np.float64] = placed - placed.mean(axis=0)
    return centred
