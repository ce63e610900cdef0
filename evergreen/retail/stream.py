"""`examples.parquet` → a stream of examples in one of the two views, cut into initial and online days."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.retail.example_frames import NEVER
from evergreen.retail.protocol import DayBlock, RunInput, Stream, View

EPOCH = date(1970, 1, 1)
KINDS = ("recency", "frequency", "monetary")
ENOUGH = 100
"""Examples of each class in the initial days, where the rule chooses how many."""


@dataclass(frozen=True)
class Examples:
    """The stream with what the ledger needs of the file; pending examples are told on day ``NEVER``.

    Attributes:
        stream: in the order of the file's days.
        ids: (N,) names of the examples.
        label_at: (N,) timestamps, null where there is none.
    """

    stream: Stream
    ids: pa.ChunkedArray
    label_at: pa.ChunkedArray


def read_examples(path: Path, view: View) -> Examples:
    """Read a file of examples; only features, ``label`` and ``day`` must be there.

    Without ``generated_on`` an example is asked on the day of its label, in the default view too, and left out if it
    has none. Without ``customer_id`` all examples of a day are one group: then whole days are kept for proofs. In the
    published view examples without a label are left out.

    Raises:
        BadInputError: the file is missing, is no file of examples, or has no labelled example.
    """
    if not path.is_file():
        raise BadInputError(f"{path} is missing. Make it with: evergreen step retail examples --receipts FILE")
    table = pq.read_table(path)
    names = _features(path, table.column_names)
    dated = "generated_on" in table.column_names
    if view == "published" or not dated:
        table = table.filter(pc.is_valid(table["label"]))
    day = _days(table["day"], int(NEVER))
    order = np.argsort(day, kind="stable")
    if (np.diff(day) < 0).any():
        table, day = table.take(pa.array(order)), day[order]
    if not len(day) or day[0] == NEVER:
        raise BadInputError(
            f"{path} has no example whose outcome is known. The receipts must cover more days than the churn horizon, "
            "or some customers must come back."
        )
    asked = day
    if view == "default" and dated:
        asked = _days(table["generated_on"], int(day[0]))
    groups = day.copy()
    if "customer_id" in table.column_names:
        customers = pc.dictionary_encode(table["customer_id"]).combine_chunks().indices.to_numpy(zero_copy_only=False)
        groups = customers.astype(np.int64) * (int(NEVER) + 1) + day
    features = np.column_stack([table[name].to_numpy().astype(np.float64) for name in names])
    labels = table["label"].fill_null(False).to_numpy().astype(bool)
    ids = table["example_id"] if "example_id" in table.column_names else _numbers(len(day))
    label_at = table["label_at"] if "label_at" in table.column_names else _ends(day)
    return Examples(Stream(features, tuple(names), labels, asked, day, groups), ids, label_at)


def plan(
    stream: Stream,
    view: View,
    first_day: date | None,
    initial_days: int | None,
    period_days: int,
    churn_days: int,
    seed: int,
    threads: int,
) -> RunInput:
    """Cut a stream into the initial days and the online days.

    A day counts if a label becomes known on it. Without ``initial_days``: as many as cover one horizon of labels and
    hold 100 examples of each class, at most a third of all days; longer only until both classes are there.

    Raises:
        BadInputError: the initial days hold no label or a single class, or no day is left after them.
    """
    begin = (first_day - EPOCH).days if first_day is not None else int(stream.told.min())
    used = np.flatnonzero((stream.told >= begin) & (stream.told < NEVER))
    days = np.unique(stream.told[used])
    count = initial_days if initial_days is not None else _enough(stream, used, days, churn_days)
    if not 0 < count < len(days):
        raise BadInputError(
            f"Found {len(days)} days with labels from {EPOCH + timedelta(days=begin)} on, expected more than the "
            f"{count} initial days. Give more receipts, an earlier --first-day or fewer --initial-days."
        )
    start = int(days[count])
    initial = used[stream.told[used] < start]
    if len(np.unique(stream.labels[initial])) < 2:
        only = "churns" if stream.labels[initial].any() else "comes back"
        raise BadInputError(
            f"In the {count} initial days every customer {only}, expected examples of both outcomes. "
            "Give more --initial-days, or more receipts."
        )
    return RunInput(stream, initial, count, _blocks(stream, start, view), view, period_days, churn_days, seed, threads)


def _enough(stream: Stream, used: NDArray[np.int64], days: NDArray[np.int64], churn_days: int) -> int:
    """How many of the days are initial ones."""
    place = np.searchsorted(days, stream.told[used])
    per_day = np.zeros((2, len(days)), np.int64)
    np.add.at(per_day, (stream.labels[used].astype(int), place), 1)
    seen = per_day.cumsum(axis=1).min(axis=0)  # (D,) examples of the rarer class up to each day
    ready = (seen >= ENOUGH) & (days - days[0] + 1 >= churn_days)
    third = max(1, len(days) // 3)
    wanted = min(int(ready.argmax()) + 1 if ready.any() else third, third)
    both = int((seen > 0).argmax()) + 1 if (seen > 0).any() else wanted
    return max(wanted, both)


def _blocks(stream: Stream, start: int, view: View) -> tuple[DayBlock, ...]:
    """The days from ``start`` on."""
    ask_order = np.argsort(stream.asked, kind="stable")
    asked = stream.asked[ask_order]
    last = int(max(stream.told[stream.told < NEVER].max(), asked[-1]))
    days = np.arange(start, last + 2)
    ask_at, tell_at = np.searchsorted(asked, days), np.searchsorted(stream.told, days)
    blocks = []
    for place, day in enumerate(days[:-1].tolist()):
        ask = np.sort(ask_order[ask_at[place] : ask_at[place + 1]]).astype(np.int64)
        tell = np.arange(tell_at[place], tell_at[place + 1], dtype=np.int64)
        if len(ask) or len(tell):
            blocks.append(DayBlock(day, ask, tell))
    return tuple(blocks)


def _features(path: Path, columns: list[str]) -> list[str]:
    periods = sum(name.startswith("recency_") for name in columns)
    names = [f"{kind}_{period}" for period in range(1, periods + 1) for kind in KINDS]
    missing = [name for name in [*names, "label", "day"] if name not in columns]
    if missing or not periods:
        found, absent = ", ".join(columns), ", ".join(missing or ["recency_1"])
        raise BadInputError(f"{path} holds the columns {found}; these are missing: {absent}.")
    return names


def _days(column: pa.ChunkedArray, missing: int) -> NDArray[np.int64]:
    """Dates, or their ISO texts, as days since 1970."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.cast(pc.strptime(column, "%Y-%m-%d", "s"), pa.date32())
    days: Any = pc.cast(pc.cast(column, pa.date32()), pa.int32()).fill_null(missing)
    return np.asarray(days.to_numpy(), np.int64)


def _numbers(count: int) -> pa.ChunkedArray:
    return pa.chunked_array([pc.cast(pa.array(np.arange(count)), pa.string())])


def _ends(days: NDArray[np.int64]) -> pa.ChunkedArray:
    """The last microsecond of each day."""
    stamps = pa.array((days + 1) * 86_400_000_000 - 1, mask=days >= NEVER)
    return pa.chunked_array([pc.cast(stamps, pa.timestamp("us"))])
