"""Linear classification of feature vectors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class Split:
    """Features (N, D), standardised, and class numbers (N,)."""

    features: Tensor
    labels: Tensor


def spread(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of feature vectors (N, D), to standardise with.

    A feature that hardly varies among these rows may vary among others; divided by its own spread it would drown all
    the rest. So none counts as less than a tenth of the average spread.
    """
    std = features.std(dim=0)
    return features.mean(dim=0), std.clamp(min=max(0.1 * float(std.mean()), 1e-6))


def fit_linear(train: Split, classes: int, l2: float, max_iterations: int) -> nn.Linear:
    """Multinomial logistic regression by L-BFGS from zero: the mean cross entropy plus l2/2 · ‖weights‖²."""
    linear = nn.Linear(train.features.shape[1], classes, device=train.features.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimiser = torch.optim.LBFGS(linear.parameters(), max_iter=max_iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(linear(train.features), train.labels)
        loss = loss + 0.5 * l2 * linear.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return linear.requires_grad_(False)


def cross_validate(data: Split, classes: int, penalties: tuple[float, ...], folds: int, max_iterations: int) -> float:
    """The penalty with the best accuracy over ``folds`` folds, each class spread evenly over them.

    Ties go to the larger penalty: with few labels the simpler model is the safer one.
    """
    fold = stratified_folds(data.labels.cpu().numpy(), folds)
    found = {}
    for l2 in sorted(penalties, reverse=True):
        right = 0.0
        for k in range(folds):
            held_out = torch.from_numpy(fold == k).to(data.labels.device)
            linear = fit_linear(Split(data.features[~held_out], data.labels[~held_out]), classes, l2, max_iterations)
            right += float((linear(data.features[held_out]).argmax(dim=1) == data.labels[held_out]).sum())
        found[l2] = right
    return max(found, key=lambda l2: found[l2])


def stratified_folds(labels: "np.typing.NDArray[np.int64]", folds: int) -> "np.typing.NDArray[np.int64]":
    """Fold number (N,) of each row: the rows of a class take turns, in order."""
    out = np.zeros(len(labels), dtype=np.int64)
    turn = 0
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)
        out[rows] = (turn + np.arange(len(rows))) % folds
        turn += len(rows)
    return out


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of equal entries."""
    return float((predicted == labels).double().mean())
