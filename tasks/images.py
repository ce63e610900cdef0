"""The image flow's own Prefect tasks; what it shares with other flows is in :mod:`tasks.stage_tasks`."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact

from evergreen.files import read_json
from evergreen.images.layout import ImageLayout


@task(name="publish drift", persist_result=False)
def publish_drift(folder: str) -> None:
    """Show the drift record of every window as a Prefect artifact."""
    columns = ("start", "rows", "statistic", "p_value", "drift", "window_id")
    record_ = read_json(ImageLayout(Path(folder)).metrics / "drift.json")
    create_table_artifact([{name: row[name] for name in columns} for row in record_], key="images-drift")
