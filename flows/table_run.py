"""One pass of the churn or the process flow: what both know beside any domain's flow."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from flows.console import say
from flows.domain_run import DomainRun, domain_run
from tasks.bundles import CONFIG, KINDS
from tasks.user_source import source_values

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


Kind = TypeVar("Kind", bound=TableRun)


def table_run(
    kind: type[Kind], workdir: str | None, source: str | None, model_name: str | None
) -> AbstractContextManager[Kind]:
    """A run as :func:`flows.domain_run.domain_run` opens it.

    Args:
        kind: of run.
        workdir: the workspace; by default one in the home.
        source: what to take in instead of the source in params.yaml.
        model_name: name in the model registry.
    """
    values = {"source": source_values(kind.of, source)} if source else None
    return domain_run(kind, workdir=Path(workdir) if workdir else None, model_name=model_name, values=values)
