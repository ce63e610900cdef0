"""What a killed run leaves in Prefect: flow and task runs that stay RUNNING, until the next run closes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from evergreen.files import read_json, remove, write_json
from tasks.workspace import Workspace

MESSAGE = "The run was killed. Found out by the next run of its workspace."


@contextmanager
def watched_run(workspace: Workspace) -> Iterator[None]:
    """Leave a note in the workspace while the block runs, and mend what an earlier note tells of.

    The caller holds the workspace, so a note that is still there was left by a run that no longer exists.
    """
    note = workspace.root / ".dvc" / "tmp" / "flow-run.json"
    if note.is_file():
        with get_client(sync_client=True) as client:
            _close(client, UUID(read_json(note)["flow_run_id"]))
    write_json(note, {"flow_run_id": str(flow_run.get_id())})
    try:
        yield
    finally:
        remove(note)


def _close(client: SyncPrefectClient, run_id: UUID) -> None:
    try:
        run = client.read_flow_run(run_id)
    except ObjectNotFound:  # it ran against another server
        return
    if run.state is not None and run.state.is_final():
        return
    client.set_flow_run_state(run_id, Crashed(message=MESSAGE), force=True)
    running = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.RUNNING])))
    for task_run in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])), task_run_filter=running
    ):
        client.set_task_run_state(task_run.id, Crashed(message=MESSAGE), force=True)
