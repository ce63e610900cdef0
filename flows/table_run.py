"""One pass of the churn or the process flow: what both know beside any domain's flow."""

from typing import Any

from flows.console import say
from flows.domain_run import DomainRun
from tasks.bundles import CONFIG, KINDS

NO_MODEL = "No version: the model `evergreen` was not among those that ran, so there is nothing to register."


class TableRun(DomainRun):
    """A run on a workspace of receipts or event logs."""

    @property
    def no_model(self) -> str | None:
        there = (KINDS[self.domain].path(self.workspace) / CONFIG).is_file()
        return None if there else NO_MODEL

    def judge(self) -> dict[str, Any]:
        """Compare the new version with the champion, report, register and promote; what the flow returns."""
        self.fetch_champion()
        self.stage("evaluate")
        self.stage("report")
        if self.no_model is not None:
            say(self.no_model)
            return self.result("no version")
        version = self.register()
        return self.result("judged", **self.promote(version))
