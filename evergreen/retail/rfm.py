"""Recency, frequency and monetary value of customers over consecutive periods of days."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.stream.row_hash import hash_column

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

MICROSECONDS_A_DAY = 86_400_000_000
NO_PURCHASE = -1
"""Recency of a period without a receipt."""

FRACTIONS = 1e12
LARGEST_AMOUNT = 1e15


@dataclass(frozen=True)
class Traces:
    """The receipts of some customers: customer by customer, in time, equal times in the order given.

    Customers are ordered by a hash of their id. So customers whose hash lies in a range are neighbours: a partition by
    ranges of the hash leaves the order of the whole as it is.

    Attributes:
        names: (c,) the customers' ids.
        customers: (n,) whose receipt it is: a number of ``names``, non-decreasing.
        days: (n,) its calendar day, in days since 1970.
        times: (n,) in microseconds since 1970.
        wholes: (n + 1,) running sums of the amounts' whole units, from 0.
        fractions: (n + 1,) running sums of what is left of the amounts, in trillionths.
    """

    names: pa.Array
    customers: Ints
    days: Ints
    times: Longs
    wholes: Longs
    fractions: Longs

    @classmethod
    def of(cls, receipts: pa.Table) -> "Traces":
        """Sort receipts (customer_id string, amount float64, timestamp) into traces.

        Amounts are summed as integers, so a sum depends neither on the customers and receipts beside it nor on the
        order, and is exact to twelve decimals. Sums may wrap around; differences of them are right all the same.

        Raises:
            BadInputError: a value is missing, or an amount is too large to be money.
        """
        check_receipts(receipts)
        encoded = receipts.column("customer_id").combine_chunks().dictionary_encode()
        order = _hash_order(encoded.dictionary)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        customers = rank[encoded.indices.to_numpy()]
        times = receipts.column("timestamp").cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy()
        amounts = receipts.column("amount").to_numpy()
        rows = np.lexsort((times, customers))  # stable
        wholes = np.rint(amounts)
        fractions = np.rint((amounts - wholes) * FRACTIONS)
        return cls(
            names=encoded.dictionary.take(pa.array(order)),
            customers=customers[rows],
            days=(times[rows] // MICROSECONDS_A_DAY).astype(np.int32),
            times=times[rows],
            wholes=_running(wholes[rows]),
            fractions=_running(fractions[rows]),
        )

    def __len__(self) -> int:
        return len(self.times)


def check_receipts(receipts: pa.Table) -> None:
    """Refuse receipts that no example can be made of.

    Raises:
        BadInputError: a value is missing, or an amount is too large to be money.
    """
    for name in ("customer_id", "amount", "timestamp"):
        if missing := receipts.column(name).null_count:
            raise BadInputError(
                f"{missing:,} receipts have no {name}. Step ingest sets such receipts aside: run it first."
            )
    amounts = np.abs(receipts.column("amount").to_numpy())
    if not bool((amounts < LARGEST_AMOUNT).all()):
        raise BadInputError(
            f"An amount of {amounts[~(amounts < LARGEST_AMOUNT)][0]:g} is no money (limit {LARGEST_AMOUNT:g}). "
            "Step ingest sets such receipts aside: run it first."
        )


@dataclass(frozen=True)
class Features:
    """RFM of n states of customers over k periods, oldest first.

    Attributes:
        recency: (n, k) days from the period's last purchase to the period's end; :data:`NO_PURCHASE` without one.
        frequency: (n, k) receipts.
        monetary: (n, k) sum of their amounts.
    """

    recency: NDArray[np.int16]
    frequency: Ints
    monetary: NDArray[np.float64]


class PeriodFeatures:
    """RFM over ``periods`` periods of ``period_days`` days, the youngest ending with the day of the state itself.

    On day d the youngest period covers the days d - period_days + 1 … d, the next older one the period_days days before
    that, and so on (Pasquadibisceglie et al. 2023, section 3.1).
    """

    def __init__(self, traces: Traces, period_days: int, periods: int) -> None:
        self.traces, self.period_days, self.periods = traces, period_days, periods
        self._first = int(traces.days.min()) if len(traces) else 0
        self._span = int(traces.days.max()) - self._first + 2 if len(traces) else 1
        self._keys = self._key(traces.customers, traces.days)

    def _key(self, customers: Ints, days: Ints) -> Longs:
        """Numbers that order (customer, day); days before the first receipt of all fall together."""
        key: Longs = customers.astype(np.int64) * self._span
        key += np.clip(days.astype(np.int64) - self._first + 1, 0, self._span - 1)
        return key

    def at(self, customers: Ints, days: Ints, seen: Longs) -> Features:
        """The features of n states.

        Args:
            customers: (n,) whose state.
            days: (n,) its day, since 1970.
            seen: (n,) receipts of the traces up to the state: the position after the customer's last receipt in it.
        """
        traces, shape = self.traces, (len(customers), self.periods)
        recency = np.empty(shape, np.int16, order="F")
        frequency, monetary = np.empty(shape, np.int32, order="F"), np.empty(shape, np.float64, order="F")
        end, last_day = seen, days
        for period in reversed(range(self.periods)):
            before = last_day - np.int32(self.period_days)  # the day before the period's first
            start = np.searchsorted(self._keys, self._key(customers, before), side="right")
            count = end - start
            frequency[:, period] = count
            gone = last_day - traces.days[np.maximum(end - 1, 0)]
            recency[:, period] = np.where(count > 0, gone, NO_PURCHASE)
            monetary[:, period] = traces.wholes[end] - traces.wholes[start]
            monetary[:, period] += (traces.fractions[end] - traces.fractions[start]) / FRACTIONS
            end, last_day = start, before
        return Features(recency, frequency, monetary)


def _hash_order(names: pa.Array) -> NDArray[Any]:
    """Positions of the ids by hash, ids of one hash by name."""
    alphabetical = np.empty(len(names), np.int64)
    alphabetical[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    return np.lexsort((alphabetical, hash_column(names)))


def _running(values: NDArray[np.float64]) -> Longs:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values.astype(np.int64), out=sums[1:])
    return sums
