"""The contrastive losses of SimCLR and its relatives.

All take projections z (2N, D) of two views each of N images, view i and view i + N of the same image, at any scale:
they are normalised here. s_ij is the cosine similarity of views i and j. Each loss is a mean over all 2N views.
"""

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
    check(z, temperature, "nt_xent")
    similarity = similarities(z, temperature)
    similarity = similarity.masked_fill(itself(z), float("-inf"))
    return functional.cross_entropy(similarity, positives(z))


def decoupled(z: Tensor, temperature: float) -> Tensor:
    """NT-Xent without the positive in the denominator (Yeh et al. 2022, equation 6): small batches learn as large ones.

    Args, raises: as for :func:`nt_xent`. For identical views of all images it is log(2N − 2).
    """
    check(z, temperature, "decoupled")
    similarity = similarities(z, temperature)
    positive = positives(z)
    negatives = similarity.masked_fill(itself(z), float("-inf")).scatter(1, positive.unsqueeze(1), float("-inf"))
    attraction = similarity.gather(1, positive.unsqueeze(1)).squeeze(1)
    return (negatives.logsumexp(dim=1) - attraction).mean()


def margin_triplet(z: Tensor, margin: float) -> Tensor:
    """max(s⁻ − s⁺ + m, 0) with the semi-hard negative of each view (Chen et al. 2020, table 2 and section 5.1).

    Args:
        z: as for :func:`nt_xent`.
        margin: m > 0.

    Raises:
        ValueError: the number of views is odd or below 4, or m is not positive.
    """
    check(z, margin, "margin_triplet", "margin")
    positive, negative = semi_hard(similarities(z, 1.0))
    return (negative - positive + margin).clamp(min=0).mean()


def logistic(z: Tensor, temperature: float) -> Tensor:
    """−log σ(s⁺/τ) − log σ(−s⁻/τ) with the semi-hard negative of each view (Chen et al. 2020, table 2).

    Args, raises: as for :func:`nt_xent`.
    """
    check(z, temperature, "logistic")
    positive, negative = semi_hard(similarities(z, 1.0))
    return -(functional.logsigmoid(positive / temperature) + functional.logsigmoid(-negative / temperature)).mean()


def supervised_contrastive(z: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """All views of a label attract each other (Khosla et al. 2020, equation 2, the form with the sum outside the log).

    Args:
        z: as for :func:`nt_xent`.
        labels: (N,) class numbers; -1 is an unlabelled image, whose only positive is its other view. With no label at
            all this is NT-Xent.
        temperature: τ > 0.

    Raises:
        ValueError: as for :func:`nt_xent`, or the number of labels is not N.
    """
    check(z, temperature, "supervised_contrastive")
    if len(labels) != len(z) // 2:
        raise ValueError(f"supervised_contrastive needs a label for each of {len(z) // 2} images, found {len(labels)}.")
    of_view = labels.repeat(2)
    alike = (of_view.unsqueeze(0) == of_view.unsqueeze(1)) & (of_view >= 0).unsqueeze(0)  # (2N, 2N)
    alike = alike.scatter(1, positives(z).unsqueeze(1), True) & ~itself(z)
    similarity = similarities(z, temperature)
    everything = similarity.masked_fill(itself(z), float("-inf")).logsumexp(dim=1, keepdim=True)
    attraction = (similarity - everything).masked_fill(~alike, 0.0)
    return -(attraction.sum(dim=1) / alike.sum(dim=1)).mean()


def with_memory(z: Tensor, memory: Tensor, filled: Tensor, temperature: float) -> Tensor:
    """NT-Xent with remembered projections as further negatives; see :mod:`evergreen.images.memory_bank`.

    Args:
        z: as for :func:`nt_xent`.
        memory: (K, D) unit vectors without gradient.
        filled: (K,) bool, which of them exist. With none this is NT-Xent.
        temperature: τ > 0.
    """
    check(z, temperature, "with_memory")
    near = similarities(z, temperature).masked_fill(itself(z), float("-inf"))
    far = functional.normalize(z.float(), dim=1) @ memory.T / temperature  # (2N, K)
    return functional.cross_entropy(torch.cat([near, far.masked_fill(~filled, float("-inf"))], dim=1), positives(z))


def similarities(z: Tensor, temperature: float) -> Tensor:
    """Cosine similarities of all views over τ, (2N, 2N)."""
    z = functional.normalize(z.float(), dim=1)
    return z @ z.T / temperature


def itself(z: Tensor) -> Tensor:
    """(2N, 2N) bool, true where a view meets itself."""
    return torch.eye(len(z), dtype=torch.bool, device=z.device)


def positives(z: Tensor) -> Tensor:
    """(2N,) the row of each view's other view."""
    return torch.arange(len(z), device=z.device).roll(len(z) // 2)


def semi_hard(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity s⁺ to the other view and s⁻ to one negative for each view.

    The negative is the closest of those that are farther away than the positive (Schroff et al. 2015, section 3.2). A
    view that has none, for all negatives are closer, takes the farthest.

    Args:
        similarity: (2N, 2N).

    Returns:
        Two tensors (2N,).
    """
    positive_row = positives(similarity).unsqueeze(1)
    positive = similarity.gather(1, positive_row)  # (2N, 1)
    negative = ~itself(similarity).scatter(1, positive_row, True)
    fitting = negative & (similarity < positive)
    closest = similarity.masked_fill(~fitting, float("-inf")).max(dim=1).values
    farthest = similarity.masked_fill(~negative, float("inf")).min(dim=1).values
    return positive.squeeze(1), torch.where(fitting.any(dim=1), closest, farthest)


def check(z: Tensor, scale: float, name: str, of_scale: str = "temperature") -> None:
    """Complain of what no contrastive loss is defined for."""
    views = len(z)
    if views % 2 or views < 4:
        raise ValueError(f"{name} needs two views each of at least two images, found {views} rows.")
    if scale <= 0:
        raise ValueError(f"the {of_scale} must be positive, found {scale}.")


def alignment(z: Tensor) -> Tensor:
    """Mean squared distance between the two views' unit vectors (Wang and Isola 2020); 0 is perfect, 2 is chance."""
    first, second = functional.normalize(z.float(), dim=1).chunk(2)
    return (first - second).square().sum(dim=1).mean()


def uniformity(z: Tensor) -> Tensor:
    """Log of the mean Gaussian potential of all pairs of the first views (Wang and Isola 2020); lower is more even."""
    first = functional.normalize(z.float(), dim=1).chunk(2)[0]
    return torch.pdist(first).square().mul(-2).exp().mean().log()
