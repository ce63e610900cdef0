"""Churn: which examples a customer's purchases make, when the outcome of each is known, and what it is."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.retail.example_frames import NEVER, PENDING
from evergreen.retail.rfm import MICROSECONDS_A_DAY, Ints, Longs, Traces

LAST_SECOND = MICROSECONDS_A_DAY - 1_000_000
LAST_MICROSECOND = MICROSECONDS_A_DAY - 1


@dataclass(frozen=True)
class Releases:
    """Groups of examples whose outcome becomes known together: (m,) each, in the order in which that happens.

    A group holds the examples of one customer at the end of ``count`` consecutive days, or one example in the middle of
    a day. Groups are ordered by day, customer and first example.

    Attributes:
        customer: by number, as in the traces.
        day: on which the outcome is known, in days since 1970; NEVER for examples that are pending.
        first: day of the first example.
        count: examples, one a day.
        seen: receipts of the traces up to these examples: the position after the customer's last one.
        number: 0 for examples at the end of a day, i for one right after the i-th receipt of its day.
        label: 1 churn, 0 no churn, PENDING.
        label_at: when the outcome is known, in microseconds since 1970.
    """

    customer: Ints
    day: Ints
    first: Ints
    count: Longs
    seen: Longs
    number: Ints
    label: NDArray[np.int8]
    label_at: Longs

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def rows(self) -> int:
        """Examples of all groups."""
        return int(self.count.sum())

    def take(self, positions: NDArray[Any]) -> "Releases":
        """The groups at these positions."""
        return Releases(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})

    def examples(self, at_once: int) -> Iterator[tuple[NDArray[np.intp], Ints]]:
        """All examples in order, ``at_once`` at a time: the group of each (n,), and its day (n,)."""
        ends = np.cumsum(self.count)
        for start in range(0, self.rows, at_once):
            rows = np.arange(start, min(start + at_once, self.rows))
            group = np.searchsorted(ends, rows, side="right")
            yield group, (self.first[group] + rows - (ends - self.count)[group]).astype(np.int32)


def releases(traces: Traces, churn_days: int, last_day: int, published: bool) -> Releases:
    """The examples of some customers and their outcomes.

    An example stands for a customer at the end of a day, if its last purchase is fewer than ``churn_days`` days ago.
    All examples since a purchase share one outcome: no churn, known on the day of the next purchase if that is at most
    ``churn_days`` days after; otherwise churn, known at the end of the day that is ``churn_days`` days after. Of k
    receipts on one day the first k - 1 make an example each, right after the receipt: no churn, known the same day
    (Pasquadibisceglie et al. 2023, section 3.2).

    The published system differs in what is kept and in label times; see :mod:`evergreen.retail.examples`.

    Args:
        traces: of the customers; receipts after ``last_day`` are ignored.
        churn_days: days without a purchase that make a churner.
        last_day: up to which the receipts are known, in days since 1970.
        published: leave pending examples out, and give labels the published times.
    """
    known = np.flatnonzero(traces.days <= last_day)
    customers, days, times = traces.customers[known], traces.days[known], traces.times[known]
    same_customer = customers[1:] == customers[:-1]
    same_day = same_customer & (days[1:] == days[:-1])
    groups = [
        _after_last_receipts(customers, days, times, same_day, churn_days, last_day, published),
        _between_receipts(customers, days, times, same_day, published),
    ]
    both = Releases(
        **{
            field.name: np.concatenate([getattr(group, field.name) for group in groups])
            for field in fields(Releases)
            if field.name != "seen"
        },
        seen=(known + 1)[np.concatenate([group.seen for group in groups])],
    )
    if published:
        both = both.take(np.flatnonzero(both.label != PENDING))
    return both.take(np.lexsort((both.number, both.first, both.customer, both.day)))


def _after_last_receipts(
    customers: Ints,
    days: Ints,
    times: Longs,
    same_day: NDArray[np.bool_],
    churn_days: int,
    last_day: int,
    published: bool,
) -> Releases:
    """The examples at the end of each day from a purchase on, until the customer returns or churns."""
    last = np.flatnonzero(np.append(~same_day, True)[: len(days)])  # the last receipt of each day of purchase
    customer, day = customers[last], days[last]
    follows = np.append(customer[1:] == customer[:-1], False)[: len(last)]
    following = np.minimum(last + 1, len(days) - 1)
    back_on = np.where(follows, days[following], NEVER)
    deadline = day + np.int32(churn_days)
    returns = back_on <= deadline
    churns = ~returns & (deadline <= last_day)
    released = np.where(returns, back_on, np.where(churns, deadline, NEVER)).astype(np.int32)
    midnight = np.minimum(back_on, deadline).astype(np.int64) * MICROSECONDS_A_DAY
    live = np.where(returns, times[following], midnight + LAST_MICROSECOND)
    return Releases(
        customer=customer,
        day=released,
        first=day,
        count=np.minimum(released, last_day + 1).astype(np.int64) - day,
        seen=last,
        number=np.zeros(len(last), np.int32),
        label=np.where(returns, 0, np.where(churns, 1, PENDING)).astype(np.int8),
        label_at=midnight + LAST_SECOND if published else live,
    )


def _between_receipts(
    customers: Ints, days: Ints, times: Longs, same_day: NDArray[np.bool_], published: bool
) -> Releases:
    """The examples after each receipt but the last of a day."""
    early = np.flatnonzero(same_day)
    starts = np.flatnonzero(np.append(True, ~same_day)[: len(days)])  # the first receipt of each day of purchase
    first_of_day = starts[np.searchsorted(starts, early, side="right") - 1]
    return Releases(
        customer=customers[early],
        day=days[early],
        first=days[early],
        count=np.ones(len(early), np.int64),
        seen=early,
        number=(early - first_of_day + 1).astype(np.int32),
        label=np.zeros(len(early), np.int8),
        label_at=times[early] if published else times[early + 1],
    )
