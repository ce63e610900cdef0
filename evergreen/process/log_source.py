"""Where an event log comes from: a file, a table of a database, or a topic of Kafka."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

import pydantic

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import sha256_file
from evergreen.process.csv_log import CsvLog
from evergreen.process.event_log import LogBatch
from evergreen.process.record_log import ParquetLog, SourceLog
from evergreen.process.xes import XesFile
from evergreen.stream.records import Columns

XES, CSV, PARQUET = (".xes", ".xes.gz"), (".csv", ".csv.gz", ".tsv", ".txt"), (".parquet",)


class LogReader(Protocol):
    """A log to be read once from front to back.

    Attributes:
        unit: that progress is counted in.
    """

    unit: str

    @property
    def total(self) -> int:
        """How many units there are; 0 where that is not known."""

    def batches(self, tell: Callable[[int], None]) -> Iterator[LogBatch]:
        """The events in order; ``tell`` is told how many units have been read so far."""


class SourceConfig(Config):
    """The event log.

    Attributes:
        log: a file: .xes, .xes.gz, .csv, .csv.gz, .tsv or .parquet; relative to the workspace.
        sha256: of that file; None to take it as it is.
        database: SQLAlchemy's URL of a database that holds the log in a table.
        table: its name.
        order_by: columns whose values put the table's rows in order.
        brokers: of Kafka, ``host:port``.
        topic: its name.
        group: the consumer group.
        columns: the log's columns by role (case_id, activity, timestamp, resource, lifecycle) where their names do not
            say it; in XES, keys of attributes.
        timezone: of times that name none.
        lifecycle: join each activity with its lifecycle transition, as in ``Accepted-In Progress``.
        separator: between the cells of a CSV file; None to find it out.
        encoding: of a CSV file; None for UTF-8.
    """

    log: Path | None = None
    sha256: str | None = None
    database: str | None = None
    table: str | None = None
    order_by: tuple[str, ...] = ()
    brokers: str | None = None
    topic: str | None = None
    group: str = "evergreen-events"
    columns: dict[str, str] = pydantic.Field(default_factory=dict)
    timezone: str = "UTC"
    lifecycle: bool = False
    separator: str | None = pydantic.Field(None, min_length=1, max_length=1)
    encoding: str | None = None

    @pydantic.field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        return Columns(timezone=name).timezone

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.log, self.table, self.topic)) != 1:
            raise ValueError("one source is needed: a file (--log FILE), a table, or a topic")
        if self.table is not None and (self.database is None or not self.order_by):
            raise ValueError("a table needs its database and order_by, the columns that put its rows in order")
        if self.topic is not None and self.brokers is None:
            raise ValueError("a topic needs brokers, e.g. localhost:9092")
        return self


def open_log(config: SourceConfig, workspace: Path) -> LogReader:
    """Look at a log.

    Raises:
        BadInputError: it is not there, is of no known kind, has changed, or a column is missing.
    """
    if config.log is not None:
        return open_file(workspace / config.log.expanduser(), config)
    rules = (config.columns, config.timezone, config.lifecycle)
    if config.table is not None:
        from evergreen.stream.sources.table import TableSource

        assert config.database is not None
        return SourceLog(TableSource(config.database, config.table, config.order_by), f"Table {config.table}", *rules)
    from evergreen.stream.sources.topic import TopicSource

    assert config.brokers is not None
    assert config.topic is not None
    return SourceLog(TopicSource(config.brokers, config.topic, config.group), f"Topic {config.topic}", *rules)


def open_file(path: Path, config: SourceConfig) -> LogReader:
    """Look at a file.

    Raises:
        BadInputError: as :func:`open_log`.
    """
    if not path.is_file():
        raise BadInputError(f"{path} is no file. Name the event log with --log FILE.")
    if config.sha256 is not None and (found := sha256_file(path)) != config.sha256:
        raise BadInputError(
            f"{path} has changed: its SHA-256 is {found}, params.yaml says {config.sha256}. Run "
            "`evergreen run process --log FILE` to take it in as it is now."
        )
    name, rules = path.name.lower(), (config.columns, config.timezone, config.lifecycle)
    if name.endswith(XES):
        return XesFile(path, *rules)
    if name.endswith(PARQUET):
        return ParquetLog(path, *rules)
    if name.endswith(CSV):
        return CsvLog(path, *rules, separator=config.separator, encoding=config.encoding)
    raise BadInputError(f"{path} is of no known kind. Expected {', '.join((*XES, *CSV, *PARQUET))}.")
