"""`evergreen stream`: what works on any stream of records, whatever the domain."""

import sys
from pathlib import Path
from typing import Any

import typer

from evergreen.errors import BadInputError
from flows import stream_options as options

app = typer.Typer(help="Streams of records: cut them into durable windows.", no_args_is_help=True)


@app.callback()
def stream() -> None:
    """Streams of records: cut them into durable windows."""


@app.command()
def windows(
    output: options.Output,
    input_: options.Input = None,
    table: options.Table = None,
    order_by: options.OrderBy = None,
    brokers: options.Brokers = None,
    topic: options.Topic = None,
    group: options.Group = "evergreen",
    follow: options.Follow = False,
    window: options.Window = "tumbling",
    size: options.Size = "1h",
    slide: options.Slide = "10m",
    gap: options.Gap = "30m",
    rows: options.Rows = 10_000,
    disorder: options.Disorder = "0",
    lateness: options.Lateness = "1h",
    ahead: options.Ahead = "30d",
    timestamp: options.Timestamp = "timestamp",
    id_: options.Id = None,
    key: options.Key = None,
    duplicates: options.Duplicates = None,
    timezone: options.Timezone = "UTC",
    unit: options.Unit = "ms",
    type_: options.Types = None,
    domain: options.Domain = "stream",
    partitions: options.Partitions = 1,
    cluster: options.Cluster = None,
    workers: options.Workers = 2,
    ledger: options.Ledger = None,
    more: options.More = False,
    checkpoint_rows: options.CheckpointRows = 1_000_000,
) -> None:
    """Cut a stream of records into durable event-time windows, each exactly once, whatever is killed and restarted.

    A second run goes on where the first one ended. Late records become corrections of their window; duplicates, jumps
    of a clock and unreadable records go to the quarantine with the reason.

    Example: evergreen stream windows --input receipts/ --output windows/ --window tumbling --size 1d --id receipt_id
    """
    source = _source(input_, table, order_by, brokers, topic, group, follow, type_)
    columns = {"timestamp": timestamp, "id": id_, "key": key, "timezone": timezone, "unit": unit}
    shape = {"kind": window, "size": size, "slide": slide, "gap": gap, "rows": rows}
    waits = {"disorder": disorder, "lateness": lateness, "ahead": ahead, "duplicates": _duplicates(duplicates, id_)}
    config = {"columns": columns, "windows": shape | waits, "domain": domain, "checkpoint_rows": checkpoint_rows}
    from evergreen.stream.stored_windows import SourceConfig, check_settings

    SourceConfig.read(source, "The source")
    check_settings(config, partitions)
    if cluster is None:
        result = _here(source, output, config, partitions, ledger, more)
    else:
        result = _on_cluster(source, output, config, partitions, cluster, workers, ledger, more)
    _tell(result, output, more)


def _source(
    input_: str | None,
    table: str | None,
    order_by: list[str] | None,
    brokers: str | None,
    topic: str | None,
    group: str,
    follow: bool,
    types: list[str] | None,
) -> dict[str, Any]:
    """The source in plain values; the rest of its rules are those of its configuration."""
    if (input_ is None) == (brokers is None):
        raise BadInputError("Name one source: --input FOLDER, --input SQLURL --table NAME, or --brokers B --topic T.")
    if brokers is not None:
        return {"brokers": brokers, "topic": topic, "group": group, "follow": follow}
    if follow or topic is not None:
        raise BadInputError("--topic and --follow go with --brokers.")
    if "://" in str(input_):
        return {"database": input_, "table": table, "order_by": order_by or []}
    if table is not None:
        raise BadInputError(f"--table goes with a database URL like sqlite:////path/file.db; --input is {input_!r}.")
    pairs = [pair.partition("=") for pair in types or []]
    if wrong := next((name + found for name, found, kind in pairs if not (name and kind)), None):
        raise BadInputError(f"--type {wrong!r} is not of the form COLUMN=TYPE, e.g. amount=double.")
    return {"folder": input_, "types": {name: kind for name, _, kind in pairs}}


def _duplicates(given: str | None, id_: str | None) -> list[str]:
    if given is None:
        return ["id"] if id_ is not None else []
    return [] if given == "none" else [part.strip() for part in given.split(",")]


def _here(
    source: dict[str, Any], output: Path, config: dict[str, Any], partitions: int, ledger: str | None, more: bool
) -> dict[str, Any]:
    """One partition after the other in this process, with a bar; no Prefect, which takes seconds to start."""
    from evergreen.progress import track
    from evergreen.stream.stored_windows import open_source, stored_windows
    from evergreen.stream.window_stream import StreamConfig, Summary

    looked_at = open_source(source, StreamConfig.read(config, "The stream's settings"))
    total = looked_at.total
    looked_at.close()
    results = []
    with track("windows", total=(total or 0) * partitions, unit="records") as progress:
        for number in range(partitions):
            results.append(stored_windows(source, str(output), config, number, partitions, ledger, more, progress))
    return vars(sum((Summary(**result) for result in results), Summary()))


def _on_cluster(
    source: dict[str, Any],
    output: Path,
    config: dict[str, Any],
    partitions: int,
    cluster: str,
    workers: int,
    ledger: str | None,
    more: bool,
) -> dict[str, Any]:
    from tasks.server import prefect_api
    from tasks.settings import Settings

    settings = Settings.load().apply()
    with prefect_api(settings) as server:
        from flows.console import prefect_off_the_terminal
        from flows.stream_windows import stream_windows

        if server is not None:
            server.wait()
        with prefect_off_the_terminal():
            return stream_windows(
                source=source,
                output=str(output.absolute()),
                config=config,
                partitions=partitions,
                cluster=cluster,
                workers=workers,
                ledger=ledger,
                more=more,
            )


def _tell(result: dict[str, Any], output: Path, more: bool) -> None:
    aside = sum(result["quarantined"].values())
    print(
        f"{result['read']:,} records read: {result['accepted']:,} accepted, {aside:,} quarantined. "
        f"{result['windows']:,} windows, {result['corrections']:,} late records as corrections: {output}"
    )
    if aside:
        reasons = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in result["quarantined"].items())
        print(f"Quarantined: {reasons}; each with its reason in {output / 'quarantine'}.")
    if more and result["waiting"]:
        print(f"{result['waiting']:,} records wait for their windows to close.", file=sys.stderr)
