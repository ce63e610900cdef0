"""The window engine against a walk over single records, which states the rules as plainly as possible."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.stream.engine import Engine, Saved
from evergreen.stream.event_windows import EventWindows
from evergreen.stream.records import Columns
from evergreen.stream.row_hash import hash_rows

SCHEMA = pa.schema([("id", pa.int64()), ("key", pa.string()), ("timestamp", pa.int64()), ("value", pa.float64())])
COLUMNS = Columns(id="id", key="key", unit="us")


@dataclass
class Found:
    """What became of a stream: windows by (start, end, key) or number, corrections, and reasons of the others."""

    windows: dict = field(default_factory=dict)
    corrections: list = field(default_factory=list)
    aside: list = field(default_factory=list)


def batch_of(rows):
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def hash_of(row):
    batch = batch_of([row])
    return int(hash_rows(batch.set_column(2, "timestamp", batch["timestamp"].cast(pa.timestamp("us", "UTC"))))[0])


def config_of(**values):
    times = ("size", "slide", "gap", "disorder", "lateness", "ahead")
    return EventWindows(**{k: timedelta(microseconds=v) if k in times else v for k, v in values.items()})


class Walk:
    """One record after the other, no arrays."""

    def __init__(self, config):
        self.config, self.found = config, Found()
        self.mark, self.suspects, self.seen = None, [], {}
        self.in_time, self.late, self.accepted = [], [], 0

    def first_mark(self, times):
        ordered = sorted(times)
        middle = ordered[(len(ordered) - 1) // 2]
        return min(t for t in ordered if t >= middle - self.config.ahead)

    def own_windows(self, t):
        """Windows of a grid that cover t."""
        config = self.config
        slide = config.size if config.kind == "tumbling" else config.slide
        first = (t - config.size) // slide - 1
        starts = [k * slide for k in range(first, first + config.size // slide + 5)]
        return [(s, s + config.size) for s in starts if s <= t < s + config.size]

    def last_end(self, t):
        if self.config.kind == "session":
            return t + self.config.gap
        if self.config.kind == "count":
            return t + 1
        return max(end for _, end in self.own_windows(t))

    def fate(self, row):
        id_, key, t, value = row
        config = self.config
        watermark = self.mark - config.disorder
        if t > self.mark + config.ahead:
            self.suspects.append(t)
            if len(self.suspects) == config.votes:
                self.mark = max(self.mark, self.first_mark(self.suspects))
                self.suspects = []
            return "ahead_of_time", watermark
        self.suspects = []
        self.mark = max(self.mark, t)
        until = self.last_end(t) + config.lateness
        if until <= watermark:
            return "too_late", watermark
        for kind in config.duplicates:
            name = (kind, id_) if kind == "id" else (kind, key, t, value)
            if self.seen.get(name, -(10**18)) > watermark:
                return f"duplicate_{kind}", watermark
            self.seen[name] = until
        return "accepted", watermark

    def run(self, rows):
        if rows:
            self.mark = self.first_mark([row[2] for row in rows[: self.config.votes]])
        for row in rows:
            fate, watermark = self.fate(row)
            if fate != "accepted":
                self.found.aside.append((row, fate))
                continue
            self.accepted += 1
            place = self.by_watermark if self.config.kind in ("session", "count") else self.by_grid
            place(row, watermark)
        {"session": self.end_sessions, "count": self.end_count}.get(self.config.kind, self.end_grid)()
        return self.found

    def by_grid(self, row, watermark):
        for start, end in self.own_windows(row[2]):
            if end > watermark:
                self.found.windows.setdefault((start, end, None), []).append(row)
            elif end + self.config.lateness > watermark:
                self.found.corrections.append((row, start, end))

    def by_watermark(self, row, watermark):
        (self.late if row[2] < watermark else self.in_time).append(row)

    def end_grid(self):
        pass

    def end_sessions(self):
        gap, sessions = self.config.gap, defaultdict(list)
        for row in sorted(self.in_time, key=lambda row: row[2]):
            own = sessions[row[1]]
            if own and row[2] - own[-1][-1][2] < gap:
                own[-1].append(row)
            else:
                own.append([row])
        for key, own in sessions.items():
            for rows in own:
                self.found.windows[rows[0][2], rows[-1][2] + gap, key] = rows
        for row in self.late:
            bounds = [(rows[0][2], rows[-1][2] + gap) for rows in sessions[row[1]]]
            touched = [(start, end) for start, end in bounds if start - gap < row[2] < end]
            start, end = min(touched, default=(row[2], row[2] + gap))
            self.found.corrections.append((row, start, end))

    def end_count(self):
        rows = sorted(self.in_time, key=lambda row: (row[2], hash_of(row)))
        size = self.config.rows
        windows = [rows[k : k + size] for k in range(0, len(rows), size)]
        bounds = [(part[0][2], part[-1][2]) for part in windows]
        for number, part in enumerate(windows):
            self.found.windows[(*bounds[number], None, number)] = part
        for row in self.late:
            later = [bound for bound in bounds if bound[1] >= row[2]]
            self.found.corrections.append((row, *(later or bounds[-1:] or [(row[2], row[2])])[0]))


def rows_of(batch):
    times = batch["timestamp"].cast(pa.int64())
    columns = (column.to_pylist() for column in (batch["id"], batch["key"], times, batch["value"]))
    return list(zip(*columns, strict=True))


class Driver:
    """An engine, and what came out of it."""

    def __init__(self, config):
        self.config, self.found = config, Found()
        self.engine = Engine(config, COLUMNS, SCHEMA, ["s"])

    def keep(self, closed):
        for window in closed:
            place = (window.start, window.end, window.key)
            place += (window.number,) if self.config.kind == "count" else ()
            assert place not in self.found.windows, "a window closed twice"
            self.found.windows[place] = rows_of(window.batch)

    def take_out(self):
        self.keep(self.engine.settle())
        for part in self.engine.corrections():
            self.found.corrections += [
                (row, start, end)
                for row, start, end in zip(rows_of(part.batch), part.starts.tolist(), part.ends.tolist(), strict=True)
            ]
        batch = self.engine.quarantine()
        reasons = batch["quarantine_reason"].to_pylist()
        self.found.aside += list(zip(rows_of(batch), reasons, strict=True))
        self.engine.check()

    def restart(self):
        if self.engine.undecided:
            return
        self.take_out()
        saved = self.engine.save()
        self.engine = Engine(self.config, COLUMNS, SCHEMA, ["s"])
        self.engine.restore(Saved(saved.values, saved.batches))

    def run(self, rows, cuts=(), restarts=()):
        edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
        for start, stop in pairwise(edges):
            self.keep(self.engine.push("s", batch_of(rows[start:stop])))
            if stop in restarts:
                self.restart()
        self.keep(self.engine.finish())
        self.take_out()
        return self.found


def same(found, expected):
    assert {place: sorted(rows) for place, rows in found.windows.items()} == {
        place: sorted(rows) for place, rows in expected.windows.items()
    }
    assert sorted(found.corrections) == sorted(expected.corrections)
    assert sorted(found.aside) == sorted(expected.aside)


KEYS = st.sampled_from(["a", "b", "ü"])
ROWS = st.lists(
    st.tuples(st.integers(0, 30), KEYS, st.integers(-50, 150) | st.integers(0, 3000), st.sampled_from([0.5, 1.5])),
    max_size=60,
)
STEADY = st.lists(st.tuples(KEYS, st.integers(-9, 30), st.sampled_from([0.5, 1.5])), max_size=60)


@st.composite
def streams(draw):
    """Records at random, or in steps that mostly go forward; with the ids that make some of them duplicates."""
    if draw(st.booleans()):
        return draw(ROWS)
    time, rows = 0, []
    for number, (key, step, value) in enumerate(draw(STEADY)):
        time += step
        rows.append((number - (number % 7 == 6), key, time, value))
    return rows


@st.composite
def configs(draw, **fixed):
    size = draw(st.integers(1, 60))
    values = {
        "kind": draw(st.sampled_from(["tumbling", "sliding", "session", "count"])),
        "size": size,
        "slide": draw(st.integers(1, size)),
        "gap": draw(st.integers(1, 40)),
        "rows": draw(st.integers(1, 8)),
        "disorder": draw(st.integers(0, 60)),
        "lateness": draw(st.integers(0, 60)),
        "ahead": draw(st.sampled_from([100, 10**6])),
        "votes": draw(st.integers(1, 6)),
        "duplicates": draw(st.sampled_from([(), ("id",), ("content",), ("id", "content")])),
    }
    return config_of(**(values | fixed))


CUTS = st.lists(st.integers(0, 60), max_size=12)


@settings(max_examples=300, deadline=None)
@given(rows=streams(), config=configs(), cuts=CUTS)
def test_windows_corrections_and_quarantine_are_those_of_a_walk_over_single_records(rows, config, cuts):
    driver = Driver(config)
    same(driver.run(rows, cuts), Walk(config).run(rows))


@settings(max_examples=200, deadline=None)
@given(rows=streams(), config=configs(), cuts=CUTS, restarts=CUTS)
def test_a_restart_between_any_two_batches_changes_nothing(rows, config, cuts, restarts):
    found = Driver(config).run(rows, cuts + restarts, restarts)
    once = Driver(config).run(rows)
    assert found.windows == once.windows  # order of rows and all
    assert sorted(found.corrections) == sorted(once.corrections)
    assert found.aside == once.aside


@settings(max_examples=200, deadline=None)
@given(rows=streams(), config=configs(), cuts=CUTS)
def test_no_record_is_lost_or_doubled(rows, config, cuts):
    driver = Driver(config)
    found = driver.run(rows, cuts)
    engine = driver.engine
    assert engine.read == len(rows) == engine.accepted + sum(engine.quarantined.values())
    assert len(found.aside) == sum(engine.quarantined.values())
    kept = sorted(row for rows in found.windows.values() for row in rows) + sorted(row for row, *_ in found.corrections)
    if config.kind != "sliding":
        assert sorted(kept + [row for row, _ in found.aside]) == sorted(rows)
    else:
        assert {row for row in kept} | {row for row, _ in found.aside} == set(rows)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), config=configs(disorder=60, ahead=10**6, duplicates=("content",)))
def test_records_out_of_order_within_the_disorder_make_the_same_windows(data, config):
    steps = data.draw(st.lists(st.tuples(KEYS, st.integers(0, 20)), max_size=50))
    times = np.cumsum([step for _, step in steps]).tolist()
    rows = [(number, key, time, 0.5) for number, ((key, _), time) in enumerate(zip(steps, times, strict=True))]
    # a record is at most 30 later or earlier in line than its time says, so at most 60 behind the latest one
    shifts = data.draw(st.lists(st.integers(-30, 30), min_size=len(rows), max_size=len(rows)))
    shuffled = [row for _, row in sorted(zip(shifts, rows, strict=True), key=lambda pair: pair[0] + pair[1][2])]
    config = config.model_copy(update={"votes": 1000})  # where a stream begins depends on its first records
    found, expected = Driver(config).run(shuffled), Driver(config).run(rows)
    assert not found.corrections
    if "content" in config.duplicates:  # equal records: which of them stays is a matter of arrival
        strip = lambda windows: {place: [row[1:] for row in rows] for place, rows in windows.items()}  # noqa: E731
        if config.kind != "count":
            assert strip({p: sorted(r, key=lambda x: x[1:]) for p, r in found.windows.items()}) == strip(
                {p: sorted(r, key=lambda x: x[1:]) for p, r in expected.windows.items()}
            )
    else:
        assert found.windows == expected.windows
