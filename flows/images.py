"""The image flow: a stream of mostly unlabelled images in, a registered champion out."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.console import say
from flows.domain_run import domain_run
from flows.image_run import NO_LABELS, ImageRun
from flows.stopped import tells_once
from tasks.images import publish_drift
from tasks.user_source import folder_values


@flow(name="images", persist_result=False)
@tells_once
def images(
    workdir: str | None = None, profile: str | None = None, folder: str | None = None, model_name: str | None = None
) -> dict[str, Any]:
    """Bring a workspace's model up to date with its stream of images.

    Args:
        workdir: the workspace; by default the checkout, or for another profile than laptop one in the home.
        profile: parameters under profiles/images to write into it.
        folder: a folder of images to take in instead of the source in params.yaml.
        model_name: name in the model registry.

    Returns:
        outcome (``nothing new``, ``no labels`` or ``judged``), workspace, model, version, and for a judged one
        promoted, reason, champion and previous.
    """
    place = Path(workdir) if workdir else None
    values = folder_values(Path(folder)) if folder else None
    with domain_run(ImageRun, workdir=place, profile=profile, model_name=model_name, values=values) as run:
        if (before := run.as_before()) is not None:
            return before

        run.stage("ingest")
        run.checked_stage("validate")
        run.stage("windows")
        run.fetch_champion()
        run.stage("drift")
        publish_drift(run.folder)
        run.stage("pretrain")
        run.stage("probe")
        run.stage("finetune")
        run.stage("evaluate")
        run.stage("report")

        if not run.has_classifier:
            say(NO_LABELS)
            return run.result("no labels")
        version = run.register()
        decision = run.promote(version)
        return run.result("judged", **decision)
