"""The image flow on a schedule."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.image_run import SERVED
from flows.images import images

NAME = "nightly"


class ImageRunner(Runner):
    """Prefect's runner, which starts each run as a process, with one way to end: that of Ctrl-C."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Prefect's own handler calls a coroutine that nobody awaits."""
        signal.raise_signal(signal.SIGINT)


def serve_images(workspace: Path, cron: str) -> None:
    """Deploy the flow with its schedule and run what is due, one run at a time, until the process is told to end.

    The schedule rests while nobody serves it.

    Args:
        workspace: where it runs; its params.yaml says with which parameters.
        cron: when, in UTC.
    """
    os.environ[SERVED] = "1"
    runner = ImageRunner(name=NAME, limit=1, pause_on_shutdown=True)
    runner.add_flow(
        images,
        name=NAME,
        cron=cron,
        parameters={"workdir": str(workspace)},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(runner.start(webserver=False))
