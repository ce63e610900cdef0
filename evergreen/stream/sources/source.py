"""What a source of records offers: batches in a fixed order, and a place to go on from after any record."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

Position = Any  # plain JSON values
Positions = Mapping[str, Position]


@dataclass(frozen=True)
class Piece:
    """The next records of one split.

    Attributes:
        split: which part of the stream: records within a split come in a fixed order.
        batch: n rows, n ≥ 1.
        after: where the split goes on after the first k of them, 1 ≤ k ≤ n.
        raw: (n,) text of the rows that could not be read (which are null in ``batch``), null elsewhere.
    """

    split: str
    batch: pa.RecordBatch
    after: Callable[[int], Position]
    raw: pa.Array | None = None

    def part(self, start: int, stop: int) -> tuple[pa.RecordBatch, pa.Array | None]:
        """Rows ``start`` to ``stop``."""
        rows = self.batch.slice(start, stop - start)
        return rows, None if self.raw is None else self.raw.slice(start, stop - start)


@dataclass(frozen=True)
class Drained:
    """A split has no more records for now."""

    split: str


@dataclass(frozen=True)
class Idle:
    """Nothing comes at the moment: time to make durable what there is."""


class Source(Protocol):
    """A stream of records.

    Attributes:
        schema: of the records.
    """

    schema: pa.Schema

    @property
    def total(self) -> int | None:
        """How many records there are about, where that is known; for progress only."""

    def settings(self) -> dict[str, Any]:
        """What names the stream, as plain values: a stream that was begun goes on only with the same."""

    def splits(self) -> list[str]:
        """The parts that records come in."""

    def read(self, positions: Positions) -> Iterator[Piece | Drained | Idle]:
        """Records after the given positions, from the beginning for splits without one."""

    def durable(self, positions: Positions) -> None:
        """All records before the positions are in durable windows or in a durable checkpoint."""

    def close(self) -> None:
        """Give back what it holds."""
