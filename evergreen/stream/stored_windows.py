"""A stream by its description in plain values: what commands, flows and workers of a cluster run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from evergreen.config import Config
from evergreen.progress import Progress
from evergreen.stream.sources.source import Source
from evergreen.stream.window_stream import StreamConfig, begun_with, run_windows


class SourceConfig(Config):
    """Where the records are: a folder, a table, or a topic.

    Attributes:
        folder: of Parquet or CSV files.
        types: of CSV columns whose first lines do not show them.
        database: an SQLAlchemy URL.
        table: in the database.
        order_by: columns that order the table, see :class:`evergreen.stream.sources.table.TableSource`; by default the
            timestamp and the id.
        brokers: of Kafka.
        topic: of Kafka.
        group: consumer group; with several partitions each has its own, named after it.
        follow: of Kafka: wait for more at the end.
        kafka: further settings of librdkafka.
    """

    folder: str | None = None
    types: dict[str, str] = Field(default_factory=dict)
    database: str | None = None
    table: str | None = None
    order_by: list[str] = Field(default_factory=list)
    brokers: str | None = None
    topic: str | None = None
    group: str = "evergreen"
    follow: bool = False
    kafka: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> Self:
        named = [name for name in ("folder", "database", "brokers") if getattr(self, name)]
        if len(named) != 1:
            raise ValueError(f"name one source: folder, database or brokers (found {', '.join(named) or 'none'})")
        if self.database and not self.table:
            raise ValueError("a database needs the name of a table")
        if self.brokers and not self.topic:
            raise ValueError("brokers need the name of a topic")
        return self

    @property
    def kind(self) -> Literal["folder", "table", "topic"]:
        """Which of the three it is."""
        if self.folder:
            return "folder"
        return "table" if self.database else "topic"


def check_settings(config: Mapping[str, Any], partitions: int) -> None:
    """Check a stream's settings before anything is opened.

    Raises:
        BadInputError: they do not fit.
    """
    share = {"number": partitions - 1, "of": partitions}
    StreamConfig.read({**config, "share": share}, "The stream's settings").check()


def open_source(source: Mapping[str, Any], config: StreamConfig, schema: pa.Schema | None = None) -> Source:
    """Open what plain values describe.

    Args:
        source: as of :class:`SourceConfig`.
        config: of the stream.
        schema: that a stream was begun with; None to find it out where the source does not say it.

    Raises:
        BadInputError: it cannot be read.
    """
    where, columns = SourceConfig.read(source, "The source"), config.columns
    if where.kind == "folder":
        from evergreen.stream.sources.folder import FolderSource

        return FolderSource(Path(str(where.folder)), where.types, columns.timestamp, schema)
    if where.kind == "table":
        from evergreen.stream.sources.table import TableSource

        order = where.order_by or [name for name in (columns.timestamp, columns.id) if name is not None]
        return TableSource(str(where.database), str(where.table), order)
    from evergreen.stream.sources.topic import TopicSource

    group = f"{where.group}-{config.share.name}" if config.share.name else where.group
    return TopicSource(
        str(where.brokers),
        str(where.topic),
        group,
        schema=schema,
        follow=where.follow,
        settings=where.kafka,
    )


def stored_windows(
    source: Mapping[str, Any],
    output: str,
    config: Mapping[str, Any],
    number: int = 0,
    of: int = 1,
    ledger: str | None = None,
    more: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Cut one partition of a stream into durable windows, on whichever machine this runs.

    Args:
        source: as of :class:`SourceConfig`.
        output: folder of the stream; with several partitions each has a sub-folder.
        config: as of :class:`evergreen.stream.window_stream.StreamConfig`, without ``share``.
        number: of the partition, from 0.
        of: partitions.
        ledger: URL of another ledger than the SQLite file beside the windows; partitions may share it.
        more: records will follow, so windows stay open until the watermark closes them.
        progress: told of every record of the source.

    Returns:
        As :class:`evergreen.stream.window_stream.Summary`.

    Raises:
        BadInputError: the source or the settings do not fit.
    """
    settings = StreamConfig.read({**config, "share": {"number": number, "of": of}}, "The stream's settings")
    root = Path(output) / settings.share.name if settings.share.name else Path(output)
    opened = open_source(source, settings, begun_with(root, settings, ledger))
    try:
        return vars(run_windows(opened, root, settings, ledger_url=ledger, more=more, progress=progress))
    finally:
        opened.close()
