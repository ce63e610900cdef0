"""The flows on their schedules."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.domain_run import SERVED

NAME = "nightly"


class FlowRunner(Runner):
    """Prefect's runner, which starts each run as a process, with one way to end: that of Ctrl-C."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Prefect's own handler calls a coroutine that nobody awaits."""
        signal.raise_signal(signal.SIGINT)


@dataclass(frozen=True)
class Deployment:
    """A flow on a schedule.

    Attributes:
        name: of the deployment.
        flow: the Prefect flow.
        workspace: where it runs; its params.yaml says with which parameters.
        cron: when, in UTC.
    """

    name: str
    flow: Flow[..., Any]
    workspace: Path
    cron: str


def image_deployments(workspace: Path, cron: str, adapt_cron: str) -> list[Deployment]:
    """The image flow and the one that follows its stream."""
    from flows.adapt import adapt
    from flows.images import images

    return [Deployment(NAME, images, workspace, cron), Deployment("adapt", adapt, workspace, adapt_cron)]


def table_deployment(domain: str, workspace: Path, cron: str) -> Deployment:
    """The flow of retail or process: it takes in what is new in its source."""
    from flows.daily import daily
    from flows.process import process

    return Deployment(domain, {"retail": daily, "process": process}[domain], workspace, cron)


def serve_flows(deployments: Sequence[Deployment]) -> None:
    """Deploy the flows with their schedules and run what is due, one run at a time, until the process is told to end.

    The schedules rest while nobody serves them.
    """
    # a shell that starts a command in the background lets it ignore Ctrl-C, which is the way to end here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[SERVED] = "1"
    runner = FlowRunner(name=NAME, limit=1, pause_on_shutdown=True)
    for deployment in deployments:
        runner.add_flow(
            deployment.flow,
            name=deployment.name,
            cron=deployment.cron,
            parameters={"workdir": str(deployment.workspace)},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(runner.start(webserver=False))
