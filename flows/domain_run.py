"""One pass of a domain's flow: what its tasks share, how long each took, and a clean end whatever happens."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import psutil

from evergreen.files import write_json
from flows.console import format_seconds, say
from tasks import record, stage_tasks
from tasks.interrupted import watched_run
from tasks.process import die_with_parent
from tasks.settings import Settings
from tasks.stages import IDENTITY_STAGES, run_key
from tasks.workspace import Workspace, open_workspace

SERVED = "EVERGREEN_SERVED"


@dataclass
class DomainRun:
    """A run on a workspace that it holds. The methods are the boxes of the flow's diagram.

    Attributes:
        settings: the places of this installation.
        workspace: where the stages run.
        run_id: the MLflow run; empty until there is something to record.
        phases: seconds per task, in the order they ran.
        steps: seconds inside the steps themselves.
    """

    of: ClassVar[str]
    """The domain."""
    settings: Settings
    workspace: Workspace
    run_id: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return str(self.workspace.root)

    @property
    def domain(self) -> str:
        return self.workspace.domain

    @property
    def no_model(self) -> str | None:
        """Why the stages, up to date as they are, made no model; None if they made one."""
        return None

    def as_before(self) -> dict[str, Any] | None:
        """What the flow returns if nothing is left to do; None if there is, and then the MLflow run is open."""
        with self.timed("look for news"):
            news = stage_tasks.look_for_news(self.folder, self.domain)
        record.close_killed(self.settings, self.workspace)
        if news["version"] is not None:
            say(f"Nothing new: version {news['version']} was made from exactly this data, code and these parameters.")
            return self.result("nothing new", version=news["version"])
        if news["stale"] == [] and self.no_model is not None:
            say(f"Nothing new. {self.no_model}")
            return self.result("nothing new", version=None)
        if news["stale"]:
            say(f"Changed: {', '.join(news['stale'])}")
        # a run that was cut off goes on only if its inputs are still the present ones
        key = run_key(self.workspace, IDENTITY_STAGES[self.domain]) if news["stale"] == [] else None
        self.run_id = record.start_run(self.settings, self.workspace, key)
        return None

    def stage(self, name: str) -> None:
        """Bring a stage up to date and record it."""
        with self.timed(name):
            result = stage_tasks.run_stage(self.folder, name, self.run_id, self.domain)
        if result["ran"]:
            self.steps[name] = result["step_seconds"]
        say(f"{name:<12} {format_seconds(result['step_seconds']) if result['ran'] else 'up to date'}")

    def checked_stage(self, name: str) -> None:
        """Bring the stage that validates up to date; its result is shown also where it stops the flow."""
        try:
            self.stage(name)
        finally:
            stage_tasks.publish_validation(self.folder, self.domain)

    def fetch_champion(self) -> None:
        """Give the stages the registered champion."""
        with self.timed("fetch champion"):
            stage_tasks.fetch_champion(self.folder, self.domain)

    def register(self) -> str:
        """Make or find the model version."""
        with self.timed("register"):
            return stage_tasks.register(self.folder, self.run_id, self.domain)

    def promote(self, version: str) -> dict[str, Any]:
        """Decide between the version and the champion."""
        with self.timed("promote"):
            return stage_tasks.promote(self.folder, version, self.domain)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the block's seconds to a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[phase] = self.phases.get(phase, 0.0) + time.monotonic() - started

    def result(self, outcome: str, **facts: Any) -> dict[str, Any]:
        """What the flow returns; a run that did something also leaves its timing."""
        if self.run_id:
            self._write_timing()
        return {"outcome": outcome, "workspace": self.folder, "model": self.workspace.model_name} | facts

    def _write_timing(self) -> None:
        """Write ``run.timing.json``: where the seconds went since this process began, and what orchestration cost."""
        total = time.time() - psutil.Process().create_time()
        inside = sum(self.steps.values())
        write_json(
            self.workspace.metrics / "run.timing.json",
            {
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": total,
                "step_seconds": self.steps,
                "phase_seconds": self.phases,
                "orchestration_seconds": total - inside,
                "orchestration_share": (total - inside) / total,
            },
        )


Kind = TypeVar("Kind", bound=DomainRun)


@contextmanager
def domain_run(kind: type[Kind], **place: Any) -> Iterator[Kind]:
    """Open the workspace and hold it; close the MLflow run as what it became, and mend what a killed run left behind.

    Args:
        kind: of run.
        place: as of :func:`tasks.workspace.open_workspace`.
    """
    if os.environ.get(SERVED):
        die_with_parent()
    settings = Settings.load().apply()
    with open_workspace(settings, kind.of, **place) as workspace, watched_run(workspace):
        run = kind(settings, workspace)
        status = "KILLED"  # what a signal leaves
        try:
            yield run
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            if run.run_id:
                record.finish_run(run.run_id, status, settings)
