"""The event stream as models see it: integer codes in time order, links within cases, and closing events."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError

Codes = NDArray[np.int32]
Times = NDArray[np.int64]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

END = "_END_"
SECOND_US = 1_000_000
MAX_CODES = np.iinfo(np.int32).max


@dataclass(frozen=True)
class EventStream:
    """N events in time order, the inserted closing events among them.

    A case that goes on after it was closed is a case of its own: another code with the same name in ``cases``.

    Attributes:
        case: (N,) positions in ``cases``, in order of appearance.
        activity: (N,) positions in ``activities``, in order of appearance.
        time_us: (N,) microseconds since 1970, UTC, never falling; of a closing event: when the end became known.
        resource: (N,) positions in ``resources``; -1 where there is none.
        event_index: (N,) row of the input file; -1 for closing events.
        position: (N,) events of the same case before this one.
        previous: (N,) row of the event before it in its case, -1 for the first one.
        next: (N,) row of the event after it in its case, -1 for the last one.
        asked: (N,) whether this event is predicted before it is known: it is not its case's first one, and no rule
            says what it is.
        cases: names.
        activities: names, that of the closing event among them if there is one.
        resources: names.
        end: code of the closing event; -1 if there is none.
        cut: the first row after the warm-up, which is a tenth of the events.
    """

    case: Codes
    activity: Codes
    time_us: Times
    resource: Codes
    event_index: Rows
    position: Codes
    previous: Rows
    next: Rows
    asked: Flags
    cases: pa.Array
    activities: tuple[str, ...]
    resources: tuple[str, ...]
    end: int
    cut: int

    def __len__(self) -> int:
        return len(self.case)

    def scored(self) -> Flags:
        """(N,) rows after the warm-up that are predicted before they are known."""
        mask = self.asked.copy()
        mask[: self.cut] = False
        return mask


@dataclass(frozen=True)
class Encoded:
    """The events of a log without closing events; attributes as of :class:`EventStream`."""

    case: Codes
    activity: Codes
    time_us: Times
    resource: Codes
    event_index: Rows
    cases: pa.Array
    activities: tuple[str, ...]
    resources: tuple[str, ...]

    @classmethod
    def of(cls, events: pa.Table) -> Self:
        """Encode a log.

        Args:
            events: case_id, activity, timestamp and, if there are any, resource and event_index (default: the row);
                in any order. Events of one time come in the order of event_index.
        """
        rows = len(events)
        index = np.asarray(events["event_index"]) if "event_index" in events.column_names else np.arange(rows)
        times = np.asarray(events["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
        order = np.lexsort((index, times))
        if not np.array_equal(order, np.arange(rows)):
            events, index, times = events.take(pa.array(order)), index[order], times[order]
        case, cases = _codes(events["case_id"])
        activity, activities = _codes(events["activity"])
        given = "resource" in events.column_names
        resource, resources = _codes(events["resource"]) if given else (np.full(rows, -1, np.int32), _names([]))
        return cls(
            case,
            activity,
            times,
            resource,
            index.astype(np.int64),
            cases,
            tuple(activities.to_pylist()),
            tuple(resources.to_pylist()),
        )


def read_events(path: Path) -> pa.Table:
    """Read the events that the ingest step wrote, with names as dictionaries: a fraction of the memory."""
    return pq.read_table(path, read_dictionary=["case_id", "activity", "resource"])


def published_stream(events: pa.Table) -> EventStream:
    """The stream of the published protocol: every trace gets a closing event one second after its last event.

    A closing event at the time of other events takes the place that it has in the file, right after its trace's last
    event (Pasquadibisceglie et al. 2023, DARWIN).

    Args:
        events: as :meth:`Encoded.of`.
    """
    log = Encoded.of(events)
    rows = np.arange(len(log.case))
    _, following = links(log.case)
    last = rows[following < 0]
    every = np.ones(len(last), np.bool_)
    cut = (len(log.case) + len(last)) // 100 * 10  # closing events counted
    return close(log, last, log.time_us[last] + SECOND_US, log.event_index[last], every, cut)


def close(log: Encoded, last: Rows, when: Times, place: Rows, asked: Flags, cut: int) -> EventStream:
    """Insert closing events.

    Args:
        log: N events in time order.
        last: (K,) rows of the events that are followed by a closing event.
        when: (K,) the closing events' times.
        place: (K,) among events of one time a closing event stands right after the one with this event_index.
        asked: (K,) whether the closing event is predicted.
        cut: first row of the stream after the warm-up.
    """
    activities, end = log.activities, -1
    if len(last):
        activities, end = (*activities, closing_name(activities)), len(activities)
    time = np.concatenate([log.time_us, when])
    order = np.lexsort(
        (
            np.repeat([0, 1], [len(log.case), len(last)]),
            np.concatenate([log.event_index, place]),
            time,
        )
    )
    case = np.concatenate([log.case, log.case[last]])[order]
    activity = np.concatenate([log.activity, np.full(len(last), end, np.int32)])[order]
    previous, following = links(case)
    every = np.concatenate([np.ones(len(log.case), np.bool_), asked])[order] & (previous >= 0)
    activity, activities, end = _by_appearance(activity, activities, end)
    return EventStream(
        case=case,
        activity=activity,
        time_us=time[order],
        resource=np.concatenate([log.resource, np.full(len(last), -1, np.int32)])[order],
        event_index=np.concatenate([log.event_index, np.full(len(last), -1)])[order],
        position=positions(case),
        previous=previous,
        next=following,
        asked=every,
        cases=log.cases,
        activities=activities,
        resources=log.resources,
        end=end,
        cut=cut,
    )


def closing_name(activities: tuple[str, ...]) -> str:
    """What the closing event is called: ``_END_``, with more underscores where the log has an activity like that."""
    name = END
    while name in activities:
        name += "_"
    return name


def links(case: Codes) -> tuple[Rows, Rows]:
    """For each row the row before it and the row after it in its case, -1 where there is none.

    >>> links(np.array([0, 1, 0], dtype=np.int32))
    (array([-1, -1,  0]), array([ 2, -1, -1]))
    """
    previous, following = np.full(len(case), -1), np.full(len(case), -1)
    order = np.argsort(case, kind="stable")
    same = case[order[1:]] == case[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    following[order[:-1][same]] = order[1:][same]
    return previous, following


def positions(case: Codes) -> Codes:
    """For each row how many rows of its case are before it."""
    order = np.argsort(case, kind="stable")
    places = np.arange(len(case))
    fresh = np.ones(len(case), np.bool_)
    fresh[1:] = case[order[1:]] != case[order[:-1]]
    result = np.empty(len(case), np.int32)
    result[order] = places - np.maximum.accumulate(np.where(fresh, places, 0))
    return result


def _by_appearance(activity: Codes, activities: tuple[str, ...], end: int) -> tuple[Codes, tuple[str, ...], int]:
    """Number the activities anew, in the order in which they first occur."""
    found, first = np.unique(activity, return_index=True)
    order = found[np.argsort(first)]
    number = np.full(len(activities), -1, np.int32)
    number[order] = np.arange(len(order))
    return number[activity], tuple(activities[code] for code in order), int(number[end]) if end >= 0 else -1


def _codes(column: pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """Codes in order of appearance, -1 for null, and the names."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if len(encoded.dictionary) > MAX_CODES:
        raise BadInputError(f"The log has {len(encoded.dictionary):,} names in a column; at most {MAX_CODES:,} fit.")
    codes = np.asarray(pc.fill_null(encoded.indices, -1)).astype(np.int32, copy=False)
    names = encoded.dictionary.cast(pa.large_string())
    first = np.full(len(names) + 1, len(codes))  # the last one is that of null
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # the first row of each name is written last
    order = np.argsort(first[:-1], kind="stable")[: np.count_nonzero(first[:-1] < len(codes))]
    number = np.full(len(names) + 1, -1, np.int32)
    number[order] = np.arange(len(order))
    renumbered: Codes = number[codes]
    return renumbered, names.take(pa.array(order))


def _names(names: list[str]) -> pa.Array:
    return pa.array(names, pa.large_string())
