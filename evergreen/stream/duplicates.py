"""Which records have been seen before: by hash, for as long as the record seen could still be in a window."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evergreen.stream.records import Flags, Times
from evergreen.stream.row_hash import Hashes

Places = NDArray[np.int64]
EMPTY = np.uint64(0)
SMALLEST = 1 << 12


class Seen:
    """The hashes of accepted records, each remembered until the watermark reaches its time.

    A hash table with linear probing, at most half full, on whole batches at a time: all records of a batch look at
    their first place together, those that found neither their hash nor an empty place at the next one, and so on. When
    it is half full it is made anew without what is forgotten, so memory is 32 to 128 bytes a record that is remembered.
    The answers do not depend on when that happens.

    A place is the hash's highest bits, so that the hashes lie nearly in order and a new table is filled front to back.
    Hash and time lie beside each other: one access to memory finds both.
    """

    def __init__(self) -> None:
        self._make(SMALLEST)

    def _make(self, size: int) -> None:
        table = np.zeros((size + size // 2, 2), dtype=np.uint64)  # beyond the last place there is room for all
        self._shift = np.uint64(64 - (size.bit_length() - 1))
        self._size = size
        self._hashes = table[:, 0]
        self._until = table[:, 1].view(np.int64)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def admit(self, hashes: Hashes, until: Times, watermarks: Times) -> Flags:
        """Tell which of new records are duplicates, and remember the others.

        A record is a duplicate if one with its hash was accepted before it and is still remembered then.

        Args:
            hashes: (n,) in the order of arrival.
            until: (n,) how long each is to be remembered.
            watermarks: (n,) the watermark when each arrived, non-decreasing.

        Returns:
            (n,) whether it is a duplicate.
        """
        duplicate = np.zeros(len(hashes), dtype=bool)
        if not len(hashes):
            return duplicate
        self._make_room(len(hashes), int(watermarks[0]))
        hashes = np.maximum(hashes, np.uint64(1))  # zero marks an empty place
        places, fresh = self._place(hashes)
        self._until[places[fresh]] = until[fresh]
        met = np.flatnonzero(~fresh)
        duplicate[met] = self._until[places[met]] > watermarks[met]
        for row in met[~duplicate[met]].tolist():  # seen, but forgotten since: it counts anew, for those after it too
            place = places[row]
            duplicate[row] = self._until[place] > watermarks[row]
            if not duplicate[row]:
                self._until[place] = until[row]
        return duplicate

    def _place(self, hashes: Hashes) -> tuple[Places, Flags]:
        """The place of each hash, and whether it is new there; of equal ones in a batch the first is."""
        places = (hashes >> self._shift).astype(np.int64)
        fresh = np.zeros(len(hashes), dtype=bool)
        rows, at, wanted = np.arange(len(hashes)), places, hashes
        while len(rows):
            there = self._hashes[at]
            empty = np.flatnonzero(there == EMPTY)
            if len(empty):
                takers, wished = rows[empty], at[empty]
                self._until[wished[::-1]] = takers[::-1]  # of several the last one written is the first to arrive
                won = self._until[wished] == takers
                winners, won_places = takers[won], wished[won]
                self._hashes[won_places] = hashes[winners]
                fresh[winners] = True
                self._used += len(winners)
                there[empty] = self._hashes[wished]
            on = np.flatnonzero(there != wanted)
            rows, at, wanted = rows[on], at[on] + 1, wanted[on]
            places[rows] = at
        return places, fresh

    def _make_room(self, count: int, watermark: int) -> None:
        """Make the table anew if it would be more than half full."""
        if 2 * (self._used + count) <= self._size:
            return
        kept = (self._hashes != EMPTY) & (self._until > watermark)
        hashes, until = self._hashes[kept], self._until[kept]
        size = SMALLEST
        while size < 4 * (len(hashes) + count):  # so that it lasts a while
            size *= 2
        self._make(size)
        places, _ = self._place(hashes)
        self._until[places] = until

    def state(self) -> pa.RecordBatch:
        """What is remembered."""
        used = self._hashes != EMPTY
        return pa.record_batch({"hash": self._hashes[used], "until": self._until[used]})

    def restore(self, state: pa.RecordBatch) -> None:
        hashes, until = np.asarray(state.column("hash")), np.asarray(state.column("until"))
        self._make(SMALLEST)
        self._make_room(len(hashes), 0)
        places, _ = self._place(hashes)
        self._until[places] = until
