"""`evergreen stream`: what works on any stream of records, whatever the domain."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from evergreen.errors import BadInputError

app = typer.Typer(help="Streams of records: cut them into durable windows.", no_args_is_help=True)

Text = Annotated[str | None, typer.Option(show_default=False)]


@app.callback()
def stream() -> None:
    """Streams of records: cut them into durable windows."""


@app.command()
def windows(
    output: Annotated[Path, typer.Option(help="Folder of the windows, corrections, quarantine and ledger.")],
    input_: Annotated[
        str | None,
        typer.Option("--input", help="A folder of Parquet or CSV files, or the SQLAlchemy URL of a database."),
    ] = None,
    table: Annotated[str | None, typer.Option(help="Of the database: the table to read.")] = None,
    order_by: Annotated[
        list[str] | None,
        typer.Option(help="Of the table: a column that grows with each row (may be repeated).", show_default=False),
    ] = None,
    brokers: Annotated[str | None, typer.Option(help="Kafka: HOST:PORT, several with commas.")] = None,
    topic: Annotated[str | None, typer.Option(help="Kafka: the topic, one JSON object a message.")] = None,
    group: Annotated[str, typer.Option(help="Kafka: the consumer group.")] = "evergreen",
    follow: Annotated[bool, typer.Option(help="Kafka: wait for more at the end, until Ctrl-C.")] = False,
    window: Annotated[str, typer.Option(help="tumbling, sliding, session or count.")] = "tumbling",
    size: Annotated[str, typer.Option(help="Width of a tumbling or sliding window.")] = "1h",
    slide: Annotated[str, typer.Option(help="From the start of a sliding window to the next.")] = "10m",
    gap: Annotated[str, typer.Option(help="Silence of a key that ends its session.")] = "30m",
    rows: Annotated[int, typer.Option(help="Records in a window by count.")] = 10_000,
    disorder: Annotated[
        str, typer.Option(help="How far behind the latest record one may be and still be in time: windows wait.")
    ] = "0",
    lateness: Annotated[
        str, typer.Option(help="How long after its window closed a record is kept as a correction.")
    ] = "1h",
    ahead: Annotated[str, typer.Option(help="A record further ahead of the latest is a clock that jumped.")] = "30d",
    timestamp: Annotated[str, typer.Option(help="Column of the event time.")] = "timestamp",
    id_: Annotated[str | None, typer.Option("--id", help="Column that tells records apart.")] = None,
    key: Annotated[str | None, typer.Option(help="Column that sessions and partitions go by.")] = None,
    duplicates: Annotated[
        str | None,
        typer.Option(help="id, content, both with a comma, or none. Default: id if --id is given.", show_default=False),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of times that name none, e.g. Europe/Rome.")] = "UTC",
    unit: Annotated[str, typer.Option(help="Of times that are numbers: s, ms, us or ns.")] = "ms",
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", help="CSV: a column's type, e.g. amount=double (repeat).", show_default=False),
    ] = None,
    domain: Annotated[str, typer.Option(help="First part of the windows' names.")] = "stream",
    partitions: Annotated[int, typer.Option(min=1, help="Shares of the keys, each a stream of its own.")] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(help="Where partitions run: local, or a Dask address.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of a local cluster.")] = 2,
    ledger: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URL. Default: SQLite in the output.", show_default=False),
    ] = None,
    more: Annotated[
        bool, typer.Option(help="Records will follow in a later run: leave windows open until they are complete.")
    ] = False,
    checkpoint_rows: Annotated[int, typer.Option(min=1, help="Records from one saved state to the next.")] = 1_000_000,
) -> None:
    """Cut a stream of records into durable event-time windows, each exactly once, whatever is killed and restarted.

    A second run goes on where the first one ended. Late records become corrections of their window; duplicates, jumps
    of a clock and unreadable records go to the quarantine with the reason.

    Example: evergreen stream windows --input receipts/ --output windows/ --window tumbling --size 1d --id receipt_id
    """
    source = _source(input_, table, order_by, brokers, topic, group, follow, type_)
    config = {
        "columns": {"timestamp": timestamp, "id": id_, "key": key, "timezone": timezone, "unit": unit},
        "windows": {
            "kind": window,
            "size": size,
            "slide": slide,
            "gap": gap,
            "rows": rows,
            "disorder": disorder,
            "lateness": lateness,
            "ahead": ahead,
            "duplicates": _duplicates(duplicates, id_),
        },
        "domain": domain,
        "checkpoint_rows": checkpoint_rows,
    }
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
