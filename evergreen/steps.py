"""The steps by name. A step is a function of a configuration and files, and exactly one DVC stage."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evergreen.config import read_yaml
from evergreen.errors import BadInputError

STEPS: dict[str, dict[str, str]] = {
    "images": {
        "ingest": "evergreen.images.ingest",
        "validate": "evergreen.images.validate",
        "windows": "evergreen.images.windows",
        "drift": "evergreen.images.drift",
        "pretrain": "evergreen.images.pretrain",
        "probe": "evergreen.images.probe",
        "finetune": "evergreen.images.finetune",
        "evaluate": "evergreen.images.evaluate",
        "report": "evergreen.report.images",
        "adapt": "evergreen.images.adapt",
    },
    "retail": {
        "ingest": "evergreen.retail.ingest",
        "examples": "evergreen.retail.examples",
        "online": "evergreen.retail.online",
        "explanations": "evergreen.retail.explanations",
        "evaluate": "evergreen.retail.evaluate",
        "report": "evergreen.report.retail",
    },
    "process": {
        "ingest": "evergreen.process.ingest",
        "online": "evergreen.process.online",
        "discovery": "evergreen.process.discovery",
        "evaluate": "evergreen.process.evaluate",
        "report": "evergreen.report.process",
    },
}


def run_step(domain: str, step: str, workspace: Path) -> None:
    """Run one step in a workspace, with the parameters of its params.yaml.

    Raises:
        BadInputError: no such domain or step, or the workspace's parameters do not fit.
    """
    steps = STEPS.get(domain)
    if steps is None:
        raise BadInputError(f"No domain {domain!r}. There are: {', '.join(STEPS)}.")
    if step not in steps:
        raise BadInputError(f"No step {step!r} in {domain}. There are: {', '.join(steps)}.")
    params = read_yaml(workspace / "params.yaml")
    if not isinstance(params.get(domain), dict):
        raise BadInputError(f"{workspace / 'params.yaml'} has no section {domain!r}.")
    run: Callable[[Path, dict[str, Any]], None] = importlib.import_module(steps[step]).run
    run(workspace, params[domain])
