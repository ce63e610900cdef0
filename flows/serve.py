"""The flows on their schedules."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.adapt import adapt
from flows.domain_run import SERVED
from flows.images import images

NAME = "nightly"


class FlowRunner(Runner):
    """Prefect's runner, which starts each run as a process, with one way to end: that of Ctrl-C."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Prefect's own handler calls a coroutine that nobody awaits."""
        signal.raise_signal(signal.SIGINT)


def serve_flows(workspace: Path, cron: str, adapt_cron: str) -> None:
    """Deploy the flows with their schedules and run what is due, one run at a time, until the process is told to end.

    The schedules rest while nobody serves them.

    Args:
        workspace: where they run; its params.yaml says with which parameters.
        cron: when the image flow runs, in UTC.
        adapt_cron: when the adaptation flow runs, in UTC.
    """
    os.environ[SERVED] = "1"
    runner = FlowRunner(name=NAME, limit=1, pause_on_shutdown=True)
    for flow, name, when in ((images, NAME, cron), (adapt, "adapt", adapt_cron)):
        runner.add_flow(
            flow,
            name=name,
            cron=when,
            parameters={"workdir": str(workspace)},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(runner.start(webserver=False))
