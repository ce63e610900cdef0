"""The window flow: a stream of records in, durable windows out, in one process or on a Dask cluster."""

from typing import Any

from prefect import flow, task
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from evergreen.errors import BadInputError
from evergreen.stream.stored_windows import SourceConfig, check_settings, stored_windows
from evergreen.stream.window_stream import Summary
from flows.console import say
from flows.stopped import tells_once


@task(name="window partition", persist_result=False)
def window_partition(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """One partition, whole; an error of the input comes back as a value, told once and without traceback."""
    try:
        return stored_windows(*arguments)
    except BadInputError as error:
        return {"bad_input": str(error)}


@flow(name="stream-windows", persist_result=False)
@tells_once
def stream_partitions(
    source: dict[str, Any], output: str, config: dict[str, Any], partitions: int, ledger: str | None, more: bool
) -> dict[str, Any]:
    """The partitions of a stream, on the task runner that the flow was given."""
    SourceConfig.read(source, "The source")
    check_settings(config, partitions)
    given = [(source, output, config, number, partitions, ledger, more) for number in range(partitions)]
    futures = [window_partition.submit(arguments) for arguments in given]
    results = [future.result() for future in futures]
    if bad := next((result["bad_input"] for result in results if "bad_input" in result), None):
        raise BadInputError(bad)
    total = sum((Summary(**result) for result in results), Summary())
    say(f"{total.read:,} records in {partitions} partitions, {total.windows:,} windows")
    return vars(total)


def stream_windows(
    source: dict[str, Any],
    output: str,
    config: dict[str, Any] | None = None,
    partitions: int = 1,
    cluster: str | None = None,
    workers: int = 2,
    ledger: str | None = None,
    more: bool = False,
) -> dict[str, Any]:
    """Cut a stream into durable windows.

    Args:
        source: as of :class:`evergreen.stream.stored_windows.SourceConfig`.
        output: folder; with several partitions each has a sub-folder. On a cluster a path that all its workers share.
        config: as of :class:`evergreen.stream.window_stream.StreamConfig`, without ``share``.
        partitions: shares of the keys, each a stream with its own watermark, windows and ledger.
        cluster: None for this process, one partition after the other; ``local`` for Dask workers on this machine; or
            the address of a Dask scheduler. The windows are the same, to the byte.
        workers: of a ``local`` cluster.
        ledger: URL of a ledger that the partitions share; by default a SQLite file beside the windows of each.
        more: records will follow, so windows stay open until the watermark closes them.

    Returns:
        read, accepted, quarantined by reason, windows, corrections, waiting: of all partitions.

    Raises:
        BadInputError: the source or the settings do not fit.
    """
    chosen = stream_partitions.with_options(task_runner=_task_runner(cluster, min(workers, partitions)))
    result: dict[str, Any] = chosen(source, output, config or {}, partitions, ledger, more)
    return result


def _task_runner(cluster: str | None, workers: int) -> TaskRunner[Any]:
    if cluster is None:
        return ThreadPoolTaskRunner(max_workers=1)
    from prefect_dask import DaskTaskRunner

    if cluster != "local":
        return DaskTaskRunner(address=cluster)
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 40}
    return DaskTaskRunner(cluster_kwargs=local)
