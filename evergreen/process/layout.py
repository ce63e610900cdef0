"""Where the process domain keeps its event log in a workspace."""

from pathlib import Path


class ProcessLayout:
    """Paths under ``data/process`` of a workspace."""

    def __init__(self, workspace: Path) -> None:
        self.data = workspace / "data" / "process"
        self.events = self.data / "events.parquet"
        self.quarantine = self.data / "quarantine" / "events.parquet"
        self.validation = self.data / "validation"
        self.metrics = self.data / "metrics"
