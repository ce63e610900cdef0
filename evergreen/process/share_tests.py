"""Did a share change? Fisher's exact test on counts that come in clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """What was drawn, each time from a group of items, and in which cluster.

    Attributes:
        group: (N,) what was drawn from, e.g. the activity that was left.
        item: (N,) what was drawn, e.g. the edge that was taken; an item is of one group only.
        cluster: (N,) draws of one cluster may be alike, e.g. those of one case.
    """

    group: Codes
    item: Codes
    cluster: Codes


@dataclass(frozen=True)
class ShareTests:
    """Of K items the counts, the draws from their groups, and the p-value of "the share is the same".

    ``p_value`` is NaN where a group was not drawn from on one side: there is no share to compare.
    """

    before: Codes
    after: Codes
    draws_before: Codes
    draws_after: Codes
    p_value: Numbers


def compare_shares(before: Draws, after: Draws, items: Codes, groups: Codes) -> ShareTests:
    """Test each item's share of its group's draws.

    Counts are divided by the design effect before the test (Rao & Scott 1992, Biometrics 48:577): how much more the
    share varies between clusters than if every draw were a cluster of its own. It is estimated from both sides
    together, as if nothing had changed, and is at least 1.

    Args:
        before: draws on one side.
        after: draws on the other side; its clusters are taken to be others.
        items: (K,) the items to test, ascending.
        groups: (K,) the group of each.
    """
    counts = [_count(side.item, items) for side in (before, after)]
    totals = [_count(side.group, groups) for side in (before, after)]
    effect = _design_effect(before, after, items, groups)
    p_value = np.full(len(items), np.nan)
    for row in np.flatnonzero((totals[0] > 0) & (totals[1] > 0)):
        p_value[row] = _fisher([count[row] for count in counts], [total[row] for total in totals], effect[row])
    return ShareTests(counts[0], counts[1], totals[0], totals[1], p_value)


def _fisher(counts: list[int], totals: list[int], effect: float) -> float:
    drawn = [_effective(count, effect) for count in counts]
    table = [[count, _effective(total, effect) - count] for count, total in zip(drawn, totals, strict=True)]
    return float(fisher_exact(table).pvalue)


def _effective(count: int, effect: float) -> int:
    """A count by the design effect, as a whole number; of 1.5 the last digits must not decide."""
    return round(round(count / effect, 9))


def _count(drawn: Codes, wanted: Codes) -> Codes:
    """How often each of ``wanted`` (repeats allowed) was drawn."""
    ordered = np.sort(drawn)
    ends = [np.searchsorted(ordered, wanted, side=side) for side in ("left", "right")]
    return (ends[1] - ends[0]).astype(np.int64)


def _design_effect(before: Draws, after: Draws, items: Codes, groups: Codes) -> Numbers:
    """Σ (x − p n)² / (N p (1 − p)) over the clusters that hold ``n`` draws from the group, ``x`` of the item."""
    clusters = np.concatenate([before.cluster * 2, after.cluster * 2 + 1])
    clusters = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    group, item = np.concatenate([before.group, after.group]), np.concatenate([before.item, after.item])
    size = len(clusters) + 1
    in_group, drawn = np.unique(group * size + clusters, return_counts=True)
    in_item, taken = np.unique(item * size + clusters, return_counts=True)
    group_of = groups[np.searchsorted(items, in_item // size)]
    beside = drawn[np.searchsorted(in_group, group_of * size + in_item % size)]  # draws around those of the item
    row = np.searchsorted(items, in_item // size)

    def by_item(values: Codes) -> Numbers:
        return np.bincount(row, values, minlength=len(items)).astype(np.float64)

    known, group_row = np.unique(groups, return_inverse=True)
    squares = np.bincount(np.searchsorted(known, in_group // size), drawn**2, minlength=len(known))[group_row]
    total = _count(group, groups).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):  # groups that were never drawn from, shares of 0 and 1
        share = _count(item, items) / total
        spread = by_item(taken**2) - 2 * share * by_item(taken * beside) + share**2 * squares
        effect = spread / (total * share * (1 - share))
    return np.where((share > 0) & (share < 1), np.maximum(effect, 1.0), 1.0)
