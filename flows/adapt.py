"""The adaptation flow: follow the stream with the champion, and change it where that is proven to help."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.adapt_run import NO_CHAMPION, AdaptRun
from flows.console import say
from flows.domain_run import domain_run
from flows.stopped import tells_once
from tasks.user_source import folder_values


@flow(name="adapt", persist_result=False)
@tells_once
def adapt(
    workdir: str | None = None,
    profile: str | None = None,
    folder: str | None = None,
    model_name: str | None = None,
    policy: str | None = None,
    trigger: str | None = None,
) -> dict[str, Any]:
    """Take in what is new, score it, look for harmful drift, and adapt.

    Args:
        workdir: the workspace; by default the checkout, or for another profile than laptop one in the home.
        profile: parameters under profiles/images to write into it.
        folder: a folder of images to take in instead of the source in params.yaml.
        model_name: name in the model registry.
        policy: none, head, finetune, retrain or replay.
        trigger: harm, drift, always or never.

    Returns:
        outcome (``nothing new``, ``no champion``, ``champion stays`` or ``judged``), workspace, model, and for a judged
        challenger version, promoted, reason, champion and previous.
    """
    values = folder_values(Path(folder)) if folder else {}
    if loop := {name: value for name, value in (("policy", policy), ("trigger", trigger)) if value}:
        values["adapt"] = {"loop": loop}
    place = {"workdir": Path(workdir) if workdir else None, "profile": profile, "model_name": model_name}
    with domain_run(AdaptRun, **place, values=values) as run:
        run.fetch_champion()
        if run.is_up_to_date():
            say("Nothing new: every window was answered, and nothing has changed since.")
            return run.result("nothing new")

        run.stage("ingest")
        run.checked_stage("validate")
        run.stage("windows")
        run.stage("adapt")
        found = run.publish()

        if found["skipped"]:
            say(NO_CHAMPION)
            return run.result("no champion")
        if found["weights_sha256"] is None:
            say(f"The champion stays: {found['last_action'] or 'there is no new window'}.")
            return run.result("champion stays")
        version = run.register_adapted()
        decision = run.promote_adapted(version)
        say(f"Version {version}: {decision['reason']}")
        return run.result("judged", **decision)
