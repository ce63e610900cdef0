"""The contrastive loss of SimCLR and the two quantities that say what it has learned."""

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (Chen et al. 2020, equation 1), averaged over all 2N views.

    Args:
        z: (2N, D) projections; view i and view i + N are of the same image. Any scale: they are normalised here.
        temperature: τ > 0.

    Returns:
        Scalar. For identical views of all images it is log(2N − 1).

    Raises:
        ValueError: the number of views is odd or below 4, or τ is not positive.
    """
    views = len(z)
    if views % 2 or views < 4:
        raise ValueError(f"nt_xent needs two views each of at least two images, found {views} rows.")
    if temperature <= 0:
        raise ValueError(f"the temperature must be positive, found {temperature}.")
    z = functional.normalize(z.float(), dim=1)
    similarity = z @ z.T / temperature  # (2N, 2N)
    itself = torch.eye(views, dtype=torch.bool, device=z.device)
    similarity = similarity.masked_fill(itself, float("-inf"))
    positive = torch.arange(views, device=z.device).roll(views // 2)  # the other view's row
    return functional.cross_entropy(similarity, positive)


def alignment(z: Tensor) -> Tensor:
    """Mean squared distance between the two views' unit vectors (Wang and Isola 2020); 0 is perfect, 2 is chance."""
    first, second = functional.normalize(z.float(), dim=1).chunk(2)
    return (first - second).square().sum(dim=1).mean()


def uniformity(z: Tensor) -> Tensor:
    """Log of the mean Gaussian potential of all pairs of the first views (Wang and Isola 2020); lower is more even."""
    first = functional.normalize(z.float(), dim=1).chunk(2)[0]
    return torch.pdist(first).square().mul(-2).exp().mean().log()
