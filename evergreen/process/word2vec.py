"""Word2Vec over the activities of running cases: continuous bag of words with negative sampling, as expected values.

An event log has few activities and says the same over and over. So instead of drawing windows and negatives again in
each epoch, every distinct bag of neighbours is looked at once, with its weight, and the loss takes the expected value
over the window's random size and over the negatives (Mikolov et al. 2013, sections 2.2 and 3.1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

Ints = NDArray[np.int64]

NEGATIVES = 5
NOISE_POWER = 0.75
BATCH = 1024
FIRST_STEP, LAST_STEP = 0.2, 0.001
"""Length of the first and last change of a vector; Adam's rate is that divided by the root of the dimension."""


@dataclass(frozen=True)
class Bags:
    """Distinct (neighbours, activity) pairs of a corpus, M of them.

    Attributes:
        neighbours: (M, 2 × window) codes of activities, -1 where there is none.
        centre: (M,) codes of the activities between them.
        weight: (M,) how often they occur, in expectation over the random size of the window.
    """

    neighbours: Ints
    centre: Ints
    weight: NDArray[np.float64]


def prefix_bags(tokens: Ints, start: Ints, length: Ints, window: int = 5) -> Bags:
    """The bags of a corpus in which each prefix of a case is a sentence.

    All prefixes of a case agree up to their ends, so the work grows with the events, not with the square of a case's.

    Args:
        tokens: (T,) activities, the cases one after the other.
        start: (P,) where the case of each prefix begins in ``tokens``.
        length: (P,) of each prefix, at least 1.
        window: neighbours on either side; each size from 1 to this one is equally likely.
    """
    place, begin, until, ending, reaching = _shared_places(start, length)
    rows, centres, weights = [], [], []
    for size in range(1, window + 1):
        left = _neighbours(tokens, place, begin, until, range(-size, 0), window)
        for right in range(size + 1):
            behind = place + right
            inside = behind < until
            at = np.where(inside, np.arange(len(place)) + right, 0)
            # a shorter right side means that the sentence ends there; the full one also stands for longer sentences
            weight = np.where(inside, (reaching if right == size else ending)[at], 0) / window
            bag = np.concatenate([left, _neighbours(tokens, place, begin, until, range(1, right + 1), window)], axis=1)
            used = (weight > 0) & (bag >= 0).any(axis=1)
            rows.append(bag[used])
            centres.append(tokens[place[used]])
            weights.append(weight[used])
    return _distinct(np.concatenate(rows), np.concatenate(centres), np.concatenate(weights))


def _shared_places(start: Ints, length: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """(S,) places in ``tokens`` that prefixes cover, begin and end of their case, prefixes that end or reach there."""
    heads, case = np.unique(start, return_inverse=True)
    longest = np.zeros(len(heads), np.int64)
    np.maximum.at(longest, case, length)
    offset = np.concatenate([[0], np.cumsum(longest)])
    place = np.repeat(heads - offset[:-1], longest) + np.arange(offset[-1])
    ending = np.bincount(offset[case] + length - 1, minlength=offset[-1])
    after = np.append(np.cumsum(ending[::-1])[::-1], 0)  # (S + 1,) prefixes that end here or behind, in any case
    reaching = after[:-1] - np.repeat(after[offset[1:]], longest)
    return place, np.repeat(heads, longest), np.repeat(heads + longest, longest), ending, reaching


def _neighbours(tokens: Ints, place: Ints, begin: Ints, until: Ints, steps: range, width: int) -> Ints:
    """(S, width) the tokens ``steps`` away from each place, -1 outside of the case."""
    found = np.full((len(place), width), -1)
    for column, step in enumerate(steps):
        there = place + step
        inside = (there >= begin) & (there < until)
        found[inside, column] = tokens[there[inside]]
    return found


def _distinct(rows: Ints, centres: Ints, weights: NDArray[np.float64]) -> Bags:
    """Equal bags become one: the order of the neighbours does not matter, so the sum of random numbers names a bag."""
    names = np.random.default_rng(0).integers(2**63, size=(2, rows.max(initial=0) + centres.max(initial=0) + 2))
    keys = names[0][rows + 1].sum(axis=1) + names[1][centres]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    total: NDArray[np.float64] = np.bincount(which, weights=weights, minlength=len(first)).astype(np.float64)
    return Bags(rows[first], centres[first], total)


class Word2Vec:
    """Vectors of activities that grow when new activities turn up.

    Attributes:
        vectors: (V, d) what the networks see.
        outputs: (V, d) the other side of the training task.
    """

    def __init__(self, dimension: int, generator: torch.Generator) -> None:
        self.dimension = dimension
        self._generator = generator
        self.vectors = torch.empty(0, dimension)
        self.outputs = torch.empty(0, dimension)

    def grow(self, count: int) -> None:
        """Give activities 0 to ``count`` - 1 a vector; those that have one keep it."""
        new = count - len(self.vectors)
        if new > 0:
            drawn = (torch.rand(new, self.dimension, generator=self._generator) - 0.5) / self.dimension
            self.vectors = torch.cat([self.vectors, drawn])
            self.outputs = torch.cat([self.outputs, torch.zeros(new, self.dimension)])

    def train(self, bags: Bags, epochs: int = 200) -> float:
        """Learn from a corpus, starting from the present vectors.

        Args:
            bags: its bags; the codes are below the number of vectors.
            epochs: passes over them; the step falls linearly, as it does in the original program.

        Returns:
            Floating-point operations spent.
        """
        if not len(bags.centre):
            return 0.0
        neighbours = torch.from_numpy(bags.neighbours + 1)  # (M, 2w), 0 for none
        centre = torch.from_numpy(bags.centre)
        weight = torch.from_numpy(bags.weight / bags.weight.sum() * len(bags.weight)).float()
        noise = torch.from_numpy(self._noise(bags)).float()
        inner, outer = nn.Parameter(self.vectors.clone()), nn.Parameter(self.outputs.clone())
        optimiser = torch.optim.Adam([inner, outer])
        steps = epochs * -(-len(centre) // BATCH)
        scale = self.dimension**-0.5
        step = 0
        for _ in range(epochs):
            for part in torch.randperm(len(centre), generator=self._generator).split(BATCH):
                optimiser.param_groups[0]["lr"] = (FIRST_STEP + (LAST_STEP - FIRST_STEP) * step / steps) * scale
                optimiser.zero_grad()
                loss = _expected_loss(inner, outer, neighbours[part], centre[part], noise)
                (loss * weight[part]).mean().backward()
                optimiser.step()
                step += 1
        self.vectors, self.outputs = inner.detach(), outer.detach()
        return 6.0 * epochs * len(centre) * self.dimension * (len(self.vectors) + neighbours.shape[1])

    def _noise(self, bags: Bags) -> NDArray[np.float64]:
        """(V,) how often each activity is a negative of one observation."""
        counts = np.bincount(bags.centre, weights=bags.weight, minlength=len(self.vectors)) ** NOISE_POWER
        return np.asarray(NEGATIVES * counts / counts.sum())


def _expected_loss(
    inner: torch.Tensor, outer: torch.Tensor, neighbours: torch.Tensor, centre: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """(B,) negative-sampling loss; an activity is no negative of itself."""
    padded = functional.pad(inner, (0, 0, 1, 0))  # (V + 1, d), row 0 for none
    mean = functional.embedding_bag(neighbours, padded, mode="sum")
    mean = mean / (neighbours > 0).sum(1, keepdim=True)  # (B, d)
    scores = mean @ outer.T  # (B, V)
    mine = functional.one_hot(centre, len(outer)).bool()
    negatives = (functional.softplus(scores) * noise).masked_fill(mine, 0.0).sum(1)
    return negatives + functional.softplus(-scores.gather(1, centre[:, None]).squeeze(1))
