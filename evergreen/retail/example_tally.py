"""What there is in a file of examples, counted by day."""

from dataclasses import dataclass

import numpy as np

from evergreen.retail.churn import Releases
from evergreen.retail.example_frames import NEVER
from evergreen.retail.rfm import Ints, Longs, Traces


@dataclass(frozen=True)
class Tally:
    """What there is in a file of examples.

    Attributes:
        receipts: that they were made of.
        left_out: receipts after the last day.
        customers: with at least one receipt.
        first_receipt: day of the first receipt, since 1970.
        pending: examples without an outcome.
        days: (d,) days with outcomes, ascending.
        rows: (d,) examples whose outcome is known on that day.
        churned: (d,) those of them that churned.
    """

    receipts: int
    left_out: int
    customers: int
    first_receipt: int
    pending: int
    days: Ints
    rows: Longs
    churned: Longs

    @classmethod
    def of(cls, traces: Traces, groups: Releases, last_day: int) -> "Tally":
        days, starts = np.unique(groups.day, return_index=True)
        rows = np.add.reduceat(groups.count, starts) if len(groups) else np.zeros(0, np.int64)
        churned = np.add.reduceat(groups.count * (groups.label == 1), starts) if len(groups) else rows
        known = days != NEVER
        left_out = int((traces.days > last_day).sum())
        return cls(
            receipts=len(traces) - left_out,
            left_out=left_out,
            customers=len(traces.names),
            first_receipt=int(traces.days.min()) if len(traces) else int(NEVER),
            pending=int(rows[~known].sum()),
            days=days[known],
            rows=rows[known],
            churned=churned[known],
        )

    def __add__(self, other: "Tally") -> "Tally":
        days, position = np.unique(np.concatenate([self.days, other.days]), return_inverse=True)
        rows, churned = np.zeros(len(days), np.int64), np.zeros(len(days), np.int64)
        np.add.at(rows, position, np.concatenate([self.rows, other.rows]))
        np.add.at(churned, position, np.concatenate([self.churned, other.churned]))
        return Tally(
            self.receipts + other.receipts,
            self.left_out + other.left_out,
            self.customers + other.customers,
            min(self.first_receipt, other.first_receipt),
            self.pending + other.pending,
            days,
            rows,
            churned,
        )
