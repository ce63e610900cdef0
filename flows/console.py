"""What a run says, and to whom."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging import get_run_logger
from prefect.logging.handlers import APILogHandler

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
DELIVERY_SECONDS = 5.0


def say(line: str) -> None:
    """Tell whoever watches: in Prefect's log of the run, and on the terminal where Prefect's own lines are off it."""
    get_run_logger().info(line)
    if not logging.getLogger(RUN_LOGGERS[0]).propagate:
        print(line, flush=True)


@contextmanager
def prefect_off_the_terminal() -> Iterator[None]:
    """Keep Prefect's log of runs off the terminal; its server gets all of it, before the block is left."""
    loggers = [logging.getLogger(name) for name in RUN_LOGGERS]
    for logger in loggers:
        logger.propagate = False
    try:
        yield
    finally:
        for handler in (handler for logger in loggers for handler in logger.handlers):
            if isinstance(handler, APILogHandler):
                handler.flush()
        EventsWorker.drain_all(timeout=DELIVERY_SECONDS)


def format_seconds(seconds: float) -> str:
    """Seconds for people.

    >>> format_seconds(4.23), format_seconds(425)
    ('4.2 s', '7 min 05 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
