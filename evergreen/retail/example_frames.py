"""Labelled churn examples as arrays: what the models of the retail domain read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError

PENDING = -1
"""Label of an example whose outcome is not known yet."""

NEVER = np.iinfo(np.int32).max
"""Day on which a pending example's label is known."""

KEYS = ("example_id", "day", "customer_id", "generated_on")
OUTCOME = ("label", "label_at")


@dataclass(frozen=True)
class ExampleFrames:
    """The examples of a file, in its order: by the day their label is known, pending ones last.

    A model may look at ``features`` of the row it scores and at labels of earlier days, at nothing else: customers,
    days and the neighbours of a row give its label away.

    Attributes:
        path: the file.
        names: the 3k feature columns, oldest period first: ``recency_1``, ``frequency_1``, ``monetary_1``, …
        features: (N, 3k), raw: days (-1 for a period without receipts), receipts, money.
        labels: (N,) int8: 1 churn, 0 no churn, :data:`PENDING` not known yet.
        days: (N,) int32, non-decreasing: the day the label is known, in days since 1970; :data:`NEVER` if pending.
        generated_on: (N,) int32: the day whose end (or receipt) the features describe, in days since 1970.
        label_times: (N,) int64: when the label is known, in microseconds since 1970 of the source's clock; the largest
            int64 if pending.
        customers: (N,) int32: customers by number, in the order in which they first appear.
        customer_ids: the customers' names by number.
    """

    path: Path
    names: tuple[str, ...]
    features: NDArray[Any]
    labels: NDArray[np.int8]
    days: NDArray[np.int32]
    generated_on: NDArray[np.int32]
    label_times: NDArray[np.int64]
    customers: NDArray[np.int32]
    customer_ids: pa.StringArray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def known(self) -> int:
        """Examples with a label; they are the first ones of the file."""
        return int(np.searchsorted(self.days, np.int32(NEVER)))

    @property
    def pending(self) -> slice:
        """The rows whose label is not known yet."""
        return slice(self.known, len(self))

    @cached_property
    def example_ids(self) -> pa.ChunkedArray:
        """(N,) strings, read when first asked for."""
        return pq.read_table(self.path, columns=["example_id"]).column(0)

    @cached_property
    def episodes(self) -> NDArray[np.int32]:
        """(N,) numbers of episodes, 0, 1, … along the file: examples of one customer with one outcome.

        They are almost copies of each other: all of an episode belong to one side of a split.
        """
        begins = (self.days[1:] != self.days[:-1]) | (self.customers[1:] != self.customers[:-1])
        return np.cumsum(np.append(False, begins)[: len(self)], dtype=np.int32)

    def frame(self, day: int) -> slice:
        """The rows whose label is known on a day (days since 1970); empty if there are none."""
        first, last = np.searchsorted(self.days, np.array([day, day + 1], np.int32))
        return slice(int(first), int(last))

    def frames(self, first_day: int | None = None) -> Iterator[tuple[int, slice]]:
        """Day by day, from ``first_day`` on: the day (days since 1970) and its rows. Days without rows are left out.

        Pending examples are in no frame.
        """
        start = 0 if first_day is None else self.frame(first_day).start
        for day in np.unique(self.days[start : self.known]).tolist():
            yield day, self.frame(day)


def read_frames(path: Path, dtype: type[np.floating[Any]] = np.float32) -> ExampleFrames:
    """Read a file of examples.

    Args:
        path: the file that step `examples` wrote.
        dtype: of the features.

    Raises:
        BadInputError: the file is missing or is no file of examples.
    """
    if not path.is_file():
        raise BadInputError(f"{path} is missing. Make it with: evergreen step retail examples --receipts FILE")
    columns = pq.read_schema(path).names
    names = tuple(name for name in columns if name not in KEYS + OUTCOME)
    if columns != [*KEYS, *names, *OUTCOME] or list(names) != feature_names(len(names) // 3):
        raise BadInputError(
            f"{path} holds the columns {', '.join(columns)}; expected those of a file of examples "
            f"({', '.join(KEYS)}, {', '.join(feature_names(1))}, …, {', '.join(OUTCOME)}). "
            "Make it with: evergreen step retail examples --receipts FILE"
        )
    table = pq.read_table(path, columns=columns[1:], read_dictionary=["customer_id"])
    features = np.empty((table.num_rows, len(names)), dtype)
    for position, name in enumerate(names):
        features[:, position] = table.column(name).to_numpy()
    customers = table.column("customer_id").unify_dictionaries().combine_chunks()
    if isinstance(customers, pa.ChunkedArray):
        customers = pa.concat_arrays(customers.chunks) if customers.num_chunks else pa.array([], customers.type)
    return ExampleFrames(
        path=path,
        names=names,
        features=features,
        labels=_filled(table.column("label").cast(pa.int8()), PENDING, np.dtype(np.int8)),
        days=_filled(table.column("day").cast(pa.int32()), int(NEVER), np.dtype(np.int32)),
        generated_on=_filled(table.column("generated_on").cast(pa.int32()), 0, np.dtype(np.int32)),
        label_times=_filled(table.column("label_at").cast(pa.int64()), int(np.iinfo(np.int64).max), np.dtype(np.int64)),
        customers=customers.indices.to_numpy().astype(np.int32),
        customer_ids=customers.dictionary,
    )


def feature_names(periods: int) -> list[str]:
    """The feature columns, oldest period first.

    >>> feature_names(1)
    ['recency_1', 'frequency_1', 'monetary_1']
    """
    kinds = ("recency", "frequency", "monetary")
    return [f"{kind}_{period}" for period in range(1, periods + 1) for kind in kinds]


def _filled(column: pa.ChunkedArray, missing: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(column.fill_null(pa.scalar(missing, column.type)).to_numpy(), dtype)
