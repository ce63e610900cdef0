"""The churn network: a small ensemble of networks beside a linear model, on the encoded example."""

from itertools import pairwise

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evergreen.config import Config
from evergreen.retail.features import Encoded

AT_ONCE = 65_536
"""Rows of one pass: bounds the memory."""


class NetworkConfig(Config):
    """Shape of the network.

    Attributes:
        members: networks of the ensemble, each with weights and mini-batches of its own; their logits are averaged.
        width: of a hidden layer.
        depth: hidden layers.
        dropout: after each.
    """

    members: int = pydantic.Field(3, ge=1, le=64)
    width: int = pydantic.Field(32, ge=1, le=1024)
    depth: int = pydantic.Field(2, ge=1, le=8)
    dropout: float = pydantic.Field(0.1, ge=0, lt=1)


class Network(nn.Module):
    """Members side by side: every layer is one batched product (K, B, in) × (K, in, out).

    SiLU between layers (without it the network would be a linear model); a linear path from the input to the output,
    so that the hidden layers learn what a linear model cannot say.
    """

    def __init__(self, inputs: int, config: NetworkConfig, seed: int) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        generator = torch.Generator().manual_seed(seed)
        sizes = [inputs, *[config.width] * config.depth]
        members = config.members

        def draw(rows: int, columns: int, gain: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(members, rows, columns, generator=generator) * gain / rows**0.5)

        self.weights = nn.ParameterList(draw(a, b, 1.4) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, size)) for size in sizes[1:])
        self.out = draw(sizes[-1], 1, 0.3)
        self.skip = nn.Parameter(torch.zeros(members, inputs, 1))
        self.level = nn.Parameter(torch.zeros(members, 1, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """(K, B, d) → (K, B) log-odds of churn."""
        return (self._deep(codes) + torch.bmm(codes, self.skip))[..., 0]

    def _deep(self, codes: Tensor) -> Tensor:
        """(K, B, d) → (K, B, 1) what the hidden layers say."""
        hidden = codes
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = nn.functional.silu(torch.baddbmm(bias, hidden, weight))  # (K, B, width)
            hidden = nn.functional.dropout(hidden, self.config.dropout, self.training)
        return torch.baddbmm(self.level, hidden, self.out)

    def log_odds(self, codes: Encoded) -> NDArray[np.float64]:
        """(n, d) → (n,) mean log-odds of the members."""
        self.eval()
        parts = [np.empty(0)]
        with torch.inference_mode():
            for start in range(0, len(codes), AT_ONCE):
                rows = torch.from_numpy(codes[start : start + AT_ONCE])
                deep = self._deep(rows.expand(self.config.members, -1, -1)).mean(dim=0)
                parts.append((deep + rows @ self.skip.mean(dim=0))[:, 0].double().numpy())
        return np.concatenate(parts)

    def flops(self, rows: int) -> float:
        """Of a forward pass over the rows of all members together."""
        config = self.config
        each = self.inputs * (config.width + 1) + (config.depth - 1) * config.width**2 + config.width
        return 2.0 * each * rows


class Linear:
    """Logistic regression on the wide part of the code, fitted anew on the latest labels.

    Attributes:
        weights: (w + 1,) the last one is the intercept.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.weights = weights

    @classmethod
    def fit(cls, codes: Encoded, churn: NDArray[np.float64], weights: NDArray[np.float64]) -> "Linear":
        """Fit (n, w) codes. A row that churns with a probability counts as so much of a churner, the rest as none.

        Where all of one class is there, the share alone is learned (half a row of each class is added).
        """
        from sklearn.linear_model import LogisticRegression

        churned, stayed = float(weights @ churn), float(weights @ (1 - churn))
        if min(churned, stayed) == 0:
            level = np.log((churned + 0.5) / (stayed + 0.5))
            return cls(np.append(np.zeros(codes.shape[1]), level))
        places = [np.flatnonzero(weights * share > 0) for share in (1 - churn, churn)]
        taken, labels = np.concatenate(places), np.repeat([False, True], [len(rows) for rows in places])
        order = np.argsort(taken, kind="stable")
        taken, labels = taken[order], labels[order]
        counts = np.where(labels, churn[taken], 1 - churn[taken])
        model = LogisticRegression(solver="newton-cholesky")
        model.fit(codes[taken].astype(np.float64), labels, weights[taken] * counts)
        return cls(np.append(model.coef_[0], model.intercept_))

    def log_odds(self, codes: Encoded) -> NDArray[np.float64]:
        """(n, w) → (n,)."""
        return np.asarray(codes @ self.weights[:-1] + self.weights[-1], np.float64)
