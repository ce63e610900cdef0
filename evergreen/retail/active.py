"""The customers that are active on a day, and what models see of them: examples that nobody knows the end of."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.retail.rfm import PeriodFeatures, Traces

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class ActiveCustomers:
    """Customers at the end of a day.

    Attributes:
        day: the day.
        customers: (n,) ids.
        features: (n, 3k) recency, frequency, monetary of each period, the oldest period first.
    """

    day: date
    customers: pa.Array
    features: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.customers)


def active_customers(
    receipts: pa.Table, day: date | None, period_days: int, periods: int, churn_days: int
) -> ActiveCustomers:
    """Who has bought within ``churn_days`` days up to a day, as the step ``examples`` would describe them then.

    Args:
        receipts: customer_id string, amount float64, timestamp.
        day: the day; None for that of the last receipt. Later receipts are not looked at.
        period_days: days of a period.
        periods: how many.
        churn_days: without a purchase for so many days a customer has churned, and is not asked about.

    Raises:
        BadInputError: there are no receipts up to that day.
    """
    traces = Traces.of(receipts)
    last = int(traces.days.max()) if len(traces) else 0
    today = last if day is None else (day - EPOCH).days
    known = np.flatnonzero(traces.days <= today)
    if not len(known):
        first = EPOCH + timedelta(days=int(traces.days.min())) if len(traces) else "none"
        raise BadInputError(f"There are no receipts up to {day}. The first is of {first}: name a later day.")
    customers = traces.customers[known]
    ends = np.flatnonzero(np.append(customers[1:] != customers[:-1], True))  # each customer's last receipt
    ends = ends[today - traces.days[known[ends]] < churn_days]
    count = len(ends)
    found = PeriodFeatures(traces, period_days, periods).at(
        customers[ends], np.full(count, today, dtype=np.int32), known[ends] + 1
    )
    features = np.stack([found.recency, found.frequency, found.monetary], axis=2).astype(np.float64)  # (n, k, 3)
    names = traces.names.take(pa.array(customers[ends]))
    return ActiveCustomers(EPOCH + timedelta(days=today), names, features.reshape(count, 3 * periods))
