"""Counts of next activities by context, for many contexts at once, exact to the event and in bounded memory.

A block of events is answered at once, and yet every event sees the counts as they are after the one before it: within a
block the earlier events of the same context are added by running sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evergreen.process.contexts import Family, Ints, Keys, mixed

Counts = NDArray[np.float32]
Numbers = NDArray[np.float64]

LONGEST_BLOCK = 128
"""Events at a time: ageing counts are summed with weights decay^-n, which must stay far from the precision's end."""
SMALLEST_DECAY = 0.9
STEP = 8
UNHEARD = -1
MEMORY = 3


@dataclass(frozen=True)
class Groups:
    """Observations sorted by context; those of one context stand together, in their order.

    Attributes:
        order: (m,) the observation at each place.
        rank: (m,) how many of the same context stand before it.
        group: (m,) number of its context.
        heads: (g,) place of the first of each context.
        size: (g,) observations of each context.
        rows: (g,) where the context is in the table; -1 if it is new.
    """

    order: Ints
    rank: Ints
    group: Ints
    heads: Ints
    size: Ints
    rows: Ints


class CountTable:
    """How often each activity followed each context.

    Attributes:
        classes: activities it has columns for.
    """

    def __init__(self, families: Sequence[Family], max_bytes: int = 1 << 28) -> None:
        """An empty table.

        Args:
            families: of contexts.
            max_bytes: of counts; beyond it the half of the contexts that was not used for longest is forgotten.
        """
        if any(family.decay < SMALLEST_DECAY or family.heard > MEMORY for family in families):
            raise ValueError(f"decays are at least {SMALLEST_DECAY}, and at most {MEMORY} labels are heard")
        self.families, self.max_bytes, self.classes = tuple(families), max_bytes, 0
        self._decay = np.array([family.decay for family in families])
        self._row: dict[int, int] = {}
        self._counts = np.zeros((0, 0), np.float32)
        self._heard = np.zeros((0, MEMORY), np.int32)
        self._used = np.zeros(0, np.int64)
        self._clock = 0

    def __len__(self) -> int:
        return len(self._row)

    def grow(self, classes: int) -> None:
        """Make room for more activities."""
        if classes > self.classes:
            wide = -(-classes // STEP) * STEP
            self._counts = np.pad(self._counts, ((0, 0), (0, wide - self._counts.shape[1])))
            self.classes = wide

    def keys(self, views: dict[str, Keys], labels: Ints | None) -> Keys:
        """(n, F) keys of n cases for every family.

        Args:
            views: of the cases.
            labels: (n,) what followed each; the next one has heard it. None: nothing follows, all are asked at once.
        """
        columns = []
        heard = {view: self._last_labels(own, labels) for view, own in self._own(views).items()}
        for number, family in enumerate(self.families):
            key = views[family.view]
            if family.heard:
                key = mixed(key if family.own else views["suffix1"], *heard[family.view][:, : family.heard].T)
            columns.append(mixed(key, np.full(len(key), number)))
        return np.stack(columns, axis=1)

    def before(self, keys: Keys, labels: Ints | None) -> Counts:
        """(n, F, classes) counts as each of n events finds them.

        Args:
            keys: (n, F).
            labels: (n,) what follows each: later ones have counted it. None: nothing follows.
        """
        result = np.empty((*keys.shape, self.classes), np.float32)
        for some, kind in ((self._decay == 1, np.float32), (self._decay < 1, np.float64)):
            result[:, some] = self._before(np.ascontiguousarray(keys[:, some]), labels, self._decay[some], kind)
        return result

    def _before(self, keys: Keys, labels: Ints | None, decay: Numbers, kind: type[np.floating]) -> Counts:
        """(n, F, classes) for some of the families. Sums of counts that age need the wider kind of number."""
        groups = self._groups(keys.ravel())
        found = np.zeros((len(groups.rows), self.classes), kind)
        there = groups.rows >= 0
        found[there] = self._counts[groups.rows[there]]
        spread = np.repeat(found, groups.size, axis=0)
        if labels is not None and len(groups.heads) < keys.size:
            label = np.repeat(labels, keys.shape[1])[groups.order]
            of_place = np.tile(decay, len(keys))[groups.order]
            weight = of_place ** -(groups.rank + 1.0)
            running = np.zeros((keys.size + 1, self.classes), kind)
            places = np.flatnonzero((label >= 0) & (label < self.classes))
            running[places + 1, label[places]] = weight[places]
            np.cumsum(running, axis=0, out=running)
            spread += running[:-1]
            spread -= np.repeat(running[groups.heads], groups.size, axis=0)
            if kind is not np.float32:
                spread *= (of_place**groups.rank)[:, None]
        result = np.empty(spread.shape, np.float32)
        result[groups.order] = spread
        return result.reshape(*keys.shape, self.classes)

    def learn(self, views: dict[str, Keys], keys: Keys, labels: Ints) -> None:
        """Count what followed n events.

        Args:
            views: of the cases, as they were when the events were asked.
            keys: (n, F) as of :meth:`keys` with the same labels.
            labels: (n,); one without a column is not counted.
        """
        self._clock += 1
        for own in self._own(views).values():
            self._hear(own, labels)
        groups = self._groups(keys.ravel())
        rows = self._rows(keys.ravel()[groups.order[groups.heads]], groups.rows)
        decay = np.tile(self._decay, len(keys))[groups.order]
        of_group = decay[groups.heads]
        self._counts[rows] *= (of_group**groups.size)[:, None].astype(np.float32)
        label = np.repeat(labels, keys.shape[1])[groups.order]
        weight = decay ** (groups.size[groups.group] - 1.0 - groups.rank)
        counted = (label >= 0) & (label < self.classes)
        np.add.at(self._counts, (rows[groups.group][counted], label[counted]), weight[counted].astype(np.float32))
        self._used[rows] = self._clock

    def age(self, factor: float) -> None:
        """Make everything counted so far worth less."""
        self._counts *= np.float32(factor)

    def copy(self) -> Self:
        """A table that may be changed without changing this one."""
        other = type(self)(self.families, self.max_bytes)
        other.classes, other._clock, other._row = self.classes, self._clock, dict(self._row)
        other._counts, other._heard, other._used = self._counts.copy(), self._heard.copy(), self._used.copy()
        return other

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All it knows, as arrays."""
        size = len(self._row)
        keys = np.fromiter(self._row, np.uint64, size)
        rows = np.fromiter(self._row.values(), np.int64, size)
        return {
            "keys": keys.view(np.int64),
            "counts": self._counts[rows],
            "heard": self._heard[rows],
            "used": self._used[rows],
            "clock": np.array([self._clock]),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Know what another table knew, of the same families."""
        keys = arrays["keys"].view(np.uint64)
        self._row = dict(zip(keys.tolist(), range(len(keys)), strict=True))
        self._counts, self._heard = arrays["counts"].copy(), arrays["heard"].copy()
        self._used, self._clock = arrays["used"].copy(), int(arrays["clock"][0])
        self.classes = self._counts.shape[1]

    def _own(self, views: dict[str, Keys]) -> dict[str, Keys]:
        """(n,) keys under which a view's last labels are kept."""
        heard = {family.view: number for number, family in reversed(list(enumerate(self.families))) if family.heard}
        return {view: mixed(views[view], np.full(len(views[view]), -1 - number)) for view, number in heard.items()}

    def _find(self, keys: Keys) -> Ints:
        return np.fromiter(map(self._row.get, keys.tolist(), repeat(-1)), np.int64, len(keys))

    def _groups(self, keys: Keys) -> Groups:
        order = np.argsort(keys, kind="stable")
        sorted_keys = keys[order]
        fresh = np.ones(len(keys), np.bool_)
        fresh[1:] = sorted_keys[1:] != sorted_keys[:-1]
        heads = np.flatnonzero(fresh)
        group = np.cumsum(fresh) - 1
        rank = np.arange(len(keys)) - heads[group]
        size = np.diff(np.append(heads, len(keys)))
        return Groups(order, rank, group, heads, size, self._find(sorted_keys[heads]))

    def _rows(self, keys: Keys, rows: Ints) -> Ints:
        """(g,) rows of the contexts; new ones get one."""
        new = np.flatnonzero(rows < 0)
        if not len(new):
            return rows
        if (len(self._row) + len(new)) * max(self.classes, 1) * 4 > self.max_bytes:
            self._forget()
            rows = self._find(keys)
            new = np.flatnonzero(rows < 0)
        first = len(self._row)
        rows = rows.copy()
        rows[new] = np.arange(first, first + len(new))
        self._row.update(zip(keys[new].tolist(), rows[new].tolist(), strict=True))
        if (needed := len(self._row)) > len(self._counts):
            more = max(1024, needed, 2 * len(self._counts)) - len(self._counts)
            self._counts = np.pad(self._counts, ((0, more), (0, 0)))
            self._heard = np.pad(self._heard, ((0, more), (0, 0)), constant_values=UNHEARD)
            self._used = np.pad(self._used, (0, more))
        return rows

    def _forget(self) -> None:
        """Keep the half of the contexts that was used last."""
        known = self.arrays()
        kept = np.sort(np.argsort(known["used"], kind="stable")[len(self._row) // 2 :])
        self.restore({name: value if name == "clock" else value[kept] for name, value in known.items()})

    def _last_labels(self, keys: Keys, labels: Ints | None) -> Ints:
        """(n, MEMORY) the labels that followed each context last, the latest first, as each of n events finds them."""
        groups = self._groups(keys)
        heard = np.full((len(keys), MEMORY), UNHEARD)
        known = groups.rows >= 0
        heard[known[groups.group]] = self._heard[groups.rows[groups.group[known[groups.group]]]]
        if labels is not None:
            label, older = labels[groups.order], heard.copy()
            for back in range(1, MEMORY + 1):
                places = np.flatnonzero(groups.rank >= back)
                heard[places, back - 1] = label[places - back]
                places = np.flatnonzero(groups.rank == back)
                heard[places, back:] = older[places, : MEMORY - back]
        result = np.empty_like(heard)
        result[groups.order] = heard
        return result

    def _hear(self, keys: Keys, labels: Ints) -> None:
        """Remember the labels that followed last."""
        after = np.concatenate([labels[:, None], self._last_labels(keys, labels)[:, :-1]], axis=1)
        groups = self._groups(keys)
        rows = self._rows(keys[groups.order[groups.heads]], groups.rows)
        self._heard[rows] = after[groups.order[groups.heads + groups.size - 1]]
        self._used[rows] = self._clock
