"""Progress for anything that takes more than two seconds: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_SECONDS = 10.0
QUIET_SECONDS = 2.0


class Progress(Protocol):
    """What a long computation reports to."""

    def advance(self, count: int = 1, **fields: object) -> None:
        """``count`` more units are done; ``fields`` are shown beside the rate, e.g. ``loss="4.91"``."""


class Silent:
    """Reports nothing."""

    def advance(self, count: int = 1, **fields: object) -> None:
        """Ignore it."""


class PlainLines:
    """A line every ten seconds and one at the end, for logs."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.fields = ""
        self.started = self.spoken = time.monotonic()

    def advance(self, count: int = 1, **fields: object) -> None:
        self.done += count
        self.fields = "".join(f", {name} {value}" for name, value in fields.items()) or self.fields
        now = time.monotonic()
        if now - self.spoken >= LINE_SECONDS:
            self.spoken = now
            self._say(now)

    def finish(self) -> None:
        now = time.monotonic()
        if now - self.started >= QUIET_SECONDS:
            self._say(now)

    def _say(self, now: float) -> None:
        rate = self.done / max(now - self.started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        rest = f", {left:.0f} s left" if self.done < self.total else f" in {now - self.started:.0f} s"
        print(
            f"{self.label}: {self.done:,}/{self.total:,} {self.unit}, {rate:,.0f}/s{rest}{self.fields}",
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def track(label: str, total: int, unit: str) -> Iterator[Progress]:
    """Show the progress of ``total`` units of work on stderr, with rate and time left.

    >>> with track("count", total=3, unit="steps") as bar:
    ...     bar.advance(3)
    """
    if not sys.stderr.isatty():
        lines = PlainLines(label, total, unit)
        yield lines
        lines.finish()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        refresh_per_second=4,
    )
    with bars:
        task = bars.add_task(label, total=total, rate="", note="")
        yield _Bar(bars, task, unit)


class _Bar:
    def __init__(self, bars: object, task: object, unit: str) -> None:
        self._bars, self._task, self._unit = bars, task, unit

    def advance(self, count: int = 1, **fields: object) -> None:
        from rich.progress import Progress as Bars
        from rich.progress import TaskID

        bars, task = self._bars, self._task
        assert isinstance(bars, Bars)
        assert isinstance(task, int)
        bars.advance(TaskID(task), count)
        speed = bars.tasks[task].speed
        update: dict[str, object] = {"rate": f"{speed:,.0f}/s" if speed else ""}
        if fields:
            update["note"] = " ".join(f"{name} {value}" for name, value in fields.items())
        bars.update(TaskID(task), **update)  # type: ignore[arg-type]
