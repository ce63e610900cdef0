"""The open cases of a live log: what is known of each, and nothing of those that are over."""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from evergreen.errors import BadInputError
from evergreen.process.prefixes import FEATURES, LONG_LENGTH, PADDING, PUBLISHED_LENGTH, Window, features
from evergreen.process.stream import Codes

STATE_VERSION = 1

Event = tuple[str, str | None, int, int]
"""Activity, resource, time and time of the event before it in its case (its own if there is none), microseconds."""


@dataclass(frozen=True)
class Closed:
    """A case that is over.

    Attributes:
        case_id: its name.
        last_activity: what happened last.
        last_us: when, microseconds since 1970.
        known_us: when it became known that it is over.
    """

    case_id: str
    last_activity: str
    last_us: int
    known_us: int


@dataclass
class OpenCase:
    """What is kept of an open case.

    Attributes:
        start_us: time of its first event.
        count: its events so far.
        events: the last ones.
        path: its last activities with runs capped at two, for the published encoding.
        run: how many events the last activity has gone on for, 2 at most.
    """

    start_us: int
    count: int
    events: deque[Event]
    path: deque[str]
    run: int = field(default=0)


class CaseMemory:
    """Open cases, the one that has been silent for longest first.

    Events come in the order of time. A case that is over is forgotten; should it go on, it begins anew, as in
    :func:`evergreen.process.endings.default_stream`.
    """

    def __init__(self, timeout_us: int, ends: Collection[str] = (), length: int = LONG_LENGTH) -> None:
        """An empty memory.

        Args:
            timeout_us: a case that is silent for so long is over.
            ends: activities that end their case at once.
            length: events that are kept of a case.
        """
        self.timeout_us, self.ends, self.length = timeout_us, frozenset(ends), length
        self.now_us: int | None = None
        self._open: OrderedDict[str, OpenCase] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, case_id: object) -> bool:
        return case_id in self._open

    def cases(self) -> list[str]:
        """The open cases."""
        return list(self._open)

    def add(self, case_id: str, activity: str, time_us: int, resource: str | None = None) -> list[Closed]:
        """Take in an event; returns the cases that are over because of it, or because time went on.

        Raises:
            BadInputError: the event is older than the one before it.
        """
        if self.now_us is not None and time_us < self.now_us:
            raise BadInputError(
                f"An event of case {case_id!r} is {(self.now_us - time_us) / 1e6:,.0f} s older than the one before it. "
                "Sort the events by time."
            )
        closed = self.expire(time_us)
        case = self._open.pop(case_id, None)
        if case is None:
            case = OpenCase(time_us, 0, deque(maxlen=self.length), deque(maxlen=PUBLISHED_LENGTH))
        before = case.events[-1][2] if case.events else time_us
        again = bool(case.path) and case.path[-1] == activity
        if not again or case.run < 2:
            case.path.append(activity)
        case.run = min(2, case.run + 1) if again else 1
        case.events.append((activity, resource, time_us, before))
        case.count += 1
        if activity in self.ends:
            return [*closed, Closed(case_id, activity, time_us, time_us)]
        self._open[case_id] = case
        return closed

    def expire(self, now_us: int) -> list[Closed]:
        """Let time go on to ``now_us``; returns the cases whose time-out has passed."""
        self.now_us = now_us if self.now_us is None else max(now_us, self.now_us)
        closed = []
        while self._open:
            name, case = next(iter(self._open.items()))
            activity, _, last_us, _ = case.events[-1]
            if self.now_us - last_us < self.timeout_us:
                break
            del self._open[name]
            closed.append(Closed(name, activity, last_us, last_us + self.timeout_us))
        return closed

    def window(
        self, cases: Sequence[str], activities: Mapping[str, int], resources: Mapping[str, int], length: int
    ) -> Window:
        """The last events of n open cases, as :meth:`evergreen.process.prefixes.LongPrefixes.at` gives them.

        Args:
            cases: their names.
            activities: codes that the model knows; others become padding.
            resources: likewise.
            length: of the window; at most the memory's own.
        """
        assert length <= self.length, "the memory keeps fewer events than the window needs"
        shape = (len(cases), length)
        activity, resource = np.full(shape, PADDING, np.int32), np.full(shape, PADDING, np.int32)
        numbers = np.zeros((*shape, len(FEATURES)), np.float32)
        for row, name in enumerate(cases):
            case = self._open[name]
            events = list(case.events)[-length:]
            part = slice(length - len(events), length)
            activity[row, part] = [activities.get(event[0], PADDING) for event in events]
            resource[row, part] = [PADDING if e[1] is None else resources.get(e[1], PADDING) for e in events]
            times = np.array([event[2] for event in events])
            numbers[row, part] = features(
                times,
                np.array([event[3] for event in events]),
                np.full(len(events), case.start_us),
                np.arange(case.count - len(events), case.count, dtype=np.int32),
            )
        return Window(activity, resource, numbers)

    def published_window(self, cases: Sequence[str], activities: Mapping[str, int]) -> Codes:
        """The paths of n open cases, as :meth:`evergreen.process.prefixes.PublishedPrefixes.at` gives them."""
        result = np.full((len(cases), PUBLISHED_LENGTH), PADDING, np.int32)
        for row, name in enumerate(cases):
            path = self._open[name].path
            result[row, PUBLISHED_LENGTH - len(path) :] = [activities.get(token, PADDING) for token in path]
        return result

    def to_json(self) -> dict[str, Any]:
        """The whole state as plain values."""
        return {
            "version": STATE_VERSION,
            "timeout_us": self.timeout_us,
            "ends": sorted(self.ends),
            "length": self.length,
            "now_us": self.now_us,
            "open": [
                [name, case.start_us, case.count, [list(event) for event in case.events], list(case.path), case.run]
                for name, case in self._open.items()
            ],
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """The memory that :meth:`to_json` described.

        Raises:
            BadInputError: it is a state of another version.
        """
        if state.get("version") != STATE_VERSION:
            raise BadInputError(
                f"The memory of open cases has version {state.get('version')!r}; expected {STATE_VERSION}. "
                "Build it anew from the log."
            )
        memory = cls(int(state["timeout_us"]), state["ends"], int(state["length"]))
        memory.now_us = state["now_us"]
        for name, start_us, count, events, path, run in state["open"]:
            memory._open[name] = OpenCase(
                start_us, count, deque(_events(events), memory.length), deque(path, PUBLISHED_LENGTH), run
            )
        return memory


def _events(values: Iterable[Sequence[Any]]) -> list[Event]:
    return [(str(activity), resource, int(time), int(before)) for activity, resource, time, before in values]
