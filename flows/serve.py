"""The image flow on a schedule."""

from pathlib import Path

from prefect.types.entrypoint import EntrypointType

from flows.images import images

NAME = "nightly"


def serve_images(workspace: Path, cron: str) -> None:
    """Deploy the flow with its schedule and run what is due, one run at a time, until the process is told to end.

    Args:
        workspace: where it runs; its params.yaml says with which parameters.
        cron: when, in UTC.
    """
    images.serve(
        name=NAME,
        cron=cron,
        parameters={"workdir": str(workspace)},
        limit=1,
        print_starting_message=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
