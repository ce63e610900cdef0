"""Retrieval from a few labelled images: every other image gets the label of its neighbourhood in feature space."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from scipy.sparse import linalg
from torch import Tensor
from torch.nn import functional

from evergreen.config import Config
from evergreen.errors import BadInputError

UNKNOWN = -1


class RetrievalConfig(Config):
    """How labels spread.

    ``nearest`` gives each image the label of the labelled image with the largest cosine similarity. ``spread`` lets the
    labels flow over the graph of nearest neighbours (Zhou et al. 2004, Learning with local and global consistency, with
    its α of 0.99): images with few or no labelled neighbours are reached over others. ``centre`` takes the mean of all
    embeddings away first: after a ReLU all vectors point into one corner.
    """

    method: Literal["nearest", "spread"] = "spread"
    neighbours: int = Field(default=10, gt=0)
    alpha: float = Field(default=0.99, gt=0, lt=1)
    centre: bool = True


@dataclass(frozen=True)
class Retrieval:
    """Accuracy of labels found from one labelled image per class, over several draws of those images."""

    accuracies: tuple[float, ...]
    labelled: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """Standard deviation over the draws; 0 for one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0


def retrieve(embeddings: Tensor, labels: NDArray[np.int64], config: RetrievalConfig) -> NDArray[np.int64]:
    """Label all images from the few labels there are.

    Args:
        embeddings: (N, D).
        labels: (N,) class numbers, -1 where unknown.
        config: how.

    Returns:
        (N,) class numbers; known labels stay.

    Raises:
        BadInputError: no label is known, or labels and embeddings differ in number.
    """
    known = np.flatnonzero(labels != UNKNOWN)
    if len(labels) != len(embeddings) or not len(known):
        raise BadInputError(
            f"Retrieval needs embeddings and as many labels, one of them known; found {len(embeddings)} embeddings, "
            f"{len(labels)} labels, {len(known)} known (-1 stands for unknown)."
        )
    directions = unit(embeddings, config.centre)
    found = nearest_labelled(directions, known, labels)
    if config.method == "spread" and len(labels) > 1:
        scores = spread_labels(neighbour_graph(directions, config.neighbours), labels, config.alpha)
        reached = scores.max(axis=1) > 0  # others are in a part of the graph without a label
        found = np.where(reached, scores.argmax(axis=1), found)
    return np.where(labels == UNKNOWN, found, labels)


def retrieval_from_one_per_class(
    embeddings: Tensor, labels: NDArray[np.int64], config: RetrievalConfig, draws: int, seed: int
) -> Retrieval:
    """How many images are labelled rightly from one labelled image per class; those themselves do not count.

    Args:
        embeddings: (N, D).
        labels: (N,) the true class numbers, all known; used to draw the labelled images and to judge.
        config: how labels spread.
        draws: how often one image per class is drawn.
        seed: of the draws.
    """
    accuracies = []
    for number in range(draws):
        rows = one_per_class(labels, np.random.default_rng((seed, number)))
        shown = np.full_like(labels, UNKNOWN)
        shown[rows] = labels[rows]
        found = retrieve(embeddings, shown, config)
        others = shown == UNKNOWN
        if not others.any():
            raise BadInputError("Every image is the only one of its class: there is nothing to retrieve.")
        accuracies.append(float((found[others] == labels[others]).mean()))
    return Retrieval(tuple(accuracies), len(np.unique(labels)))


def one_per_class(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random row of each class, classes in ascending order."""
    return np.array([rng.choice(np.flatnonzero(labels == c)) for c in np.unique(labels)])


def unit(embeddings: Tensor, centre: bool) -> Tensor:
    """Vectors of length 1, their mean taken away before if asked."""
    vectors = embeddings.float()
    return functional.normalize(vectors - vectors.mean(dim=0) if centre else vectors, dim=1)


def nearest_labelled(directions: Tensor, known: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label (N,) of the labelled row with the largest cosine similarity."""
    keys = directions[torch.from_numpy(known).to(directions.device)]
    nearest = [(chunk @ keys.T).argmax(dim=1).cpu() for chunk in directions.split(4096)]
    found: NDArray[np.int64] = labels[known[torch.cat(nearest).numpy()]]
    return found


def neighbour_graph(directions: Tensor, neighbours: int, chunk: int = 1024) -> sparse.csr_array:
    """Cosine similarities of each row to its nearest ones, negative ones left out, symmetric, no row its own neighbour.

    Args:
        directions: (N, D), of length 1.
        neighbours: of each row; the graph has more where a row is the neighbour of others.
        chunk: rows compared with all at a time.
    """
    count = len(directions)
    nearest = min(neighbours, count - 1)
    weights, columns = [], []
    for start in range(0, count, chunk):
        similarity = directions[start : start + chunk] @ directions.T
        own = torch.arange(len(similarity), device=similarity.device)
        similarity[own, start + own] = -torch.inf
        value, column = similarity.topk(nearest, dim=1)
        weights.append(value.clamp(min=0).cpu())
        columns.append(column.cpu())
    rows = np.repeat(np.arange(count), nearest)
    entries = (torch.cat(weights).flatten().double().numpy(), (rows, torch.cat(columns).flatten().numpy()))
    graph = sparse.csr_array(entries, shape=(count, count))
    return graph.maximum(graph.T).tocsr()


def spread_labels(graph: sparse.csr_array, labels: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """Where Zhou's F ← α·S·F + (1 − α)·Y ends, with S = D^(-1/2) · W · D^(-1/2): F = (1 − α)·(1 − α·S)⁻¹·Y.

    Solved by conjugate gradients, which need dozens of products with S where the iteration needs a thousand.

    Returns:
        (N, C) scores, C one more than the largest class number; a row of zeros has no path to a label.
    """
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    smooth = sparse.diags_array(scale) @ graph @ sparse.diags_array(scale)
    system = sparse.eye_array(len(labels)) - alpha * smooth
    scores = np.zeros((len(labels), int(labels.max()) + 1))
    for number in np.unique(labels[labels != UNKNOWN]):
        scores[:, number], _ = linalg.cg(system, (1 - alpha) * (labels == number), rtol=1e-8)
    return scores
