"""The options of `evergreen stream windows`."""

from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path, typer.Option(help="Folder of the windows, corrections, quarantine and ledger.")]
Input = Annotated[
    str | None, typer.Option("--input", help="A folder of Parquet or CSV files, or the SQLAlchemy URL of a database.")
]
Table = Annotated[str | None, typer.Option(help="Of the database: the table to read.")]
OrderBy = Annotated[
    list[str] | None,
    typer.Option(help="Of the table: a column that grows with each row (may be repeated).", show_default=False),
]
Brokers = Annotated[str | None, typer.Option(help="Kafka: HOST:PORT, several with commas.")]
Topic = Annotated[str | None, typer.Option(help="Kafka: the topic, one JSON object a message.")]
Group = Annotated[str, typer.Option(help="Kafka: the consumer group.")]
Follow = Annotated[bool, typer.Option(help="Kafka: wait for more at the end, until Ctrl-C.")]
Window = Annotated[str, typer.Option(help="tumbling, sliding, session or count.")]
Size = Annotated[str, typer.Option(help="Width of a tumbling or sliding window.")]
Slide = Annotated[str, typer.Option(help="From the start of a sliding window to the next.")]
Gap = Annotated[str, typer.Option(help="Silence of a key that ends its session.")]
Rows = Annotated[int, typer.Option(help="Records in a window by count.")]
Disorder = Annotated[
    str, typer.Option(help="How far behind the latest record one may be and still be in time: windows wait.")
]
Lateness = Annotated[str, typer.Option(help="How long after its window closed a record is kept as a correction.")]
Ahead = Annotated[str, typer.Option(help="A record further ahead of the latest is a clock that jumped.")]
Timestamp = Annotated[str, typer.Option(help="Column of the event time.")]
Id = Annotated[str | None, typer.Option("--id", help="Column that tells records apart.")]
Key = Annotated[str | None, typer.Option(help="Column that sessions and partitions go by.")]
Duplicates = Annotated[
    str | None,
    typer.Option(help="id, content, both with a comma, or none. Default: id if --id is given.", show_default=False),
]
Timezone = Annotated[str, typer.Option(help="Of times that name none, e.g. Europe/Rome.")]
Unit = Annotated[str, typer.Option(help="Of times that are numbers: s, ms, us or ns.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help="CSV: a column's type, e.g. amount=double (repeat).", show_default=False),
]
Domain = Annotated[str, typer.Option(help="First part of the windows' names.")]
Partitions = Annotated[int, typer.Option(min=1, help="Shares of the keys, each a stream of its own.")]
Cluster = Annotated[
    str | None, typer.Option(help="Where partitions run: local, or a Dask address.", show_default=False)
]
Workers = Annotated[int, typer.Option(min=1, help="Processes of a local cluster.")]
Ledger = Annotated[str | None, typer.Option(help="SQLAlchemy URL. Default: SQLite in the output.", show_default=False)]
More = Annotated[
    bool, typer.Option(help="Records will follow in a later run: leave windows open until they are complete.")
]
CheckpointRows = Annotated[int, typer.Option(min=1, help="Records from one saved state to the next.")]
