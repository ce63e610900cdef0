"""The ledger of a stream's windows, in SQLite or PostgreSQL: what is in it has happened, and nothing else has."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from evergreen.errors import BadInputError, EvergreenError

METADATA = sa.MetaData()
CHECKPOINTS = sa.Table(
    "evergreen_stream_checkpoints",
    METADATA,
    sa.Column("stream", sa.String(255), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
WINDOWS = sa.Table(
    "evergreen_stream_windows",
    METADATA,
    sa.Column("stream", sa.String(255), primary_key=True),
    sa.Column("window_id", sa.String(255), primary_key=True),
    sa.Column("checkpoint", sa.BigInteger, nullable=False),
    sa.Column("window_start", sa.BigInteger, nullable=False),
    sa.Column("window_end", sa.BigInteger, nullable=False),
    sa.Column("window_key", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Index("evergreen_stream_windows_by_time", "stream", "window_end", "window_start"),
)
ASIDE = sa.Table(
    "evergreen_stream_aside",
    METADATA,
    sa.Column("stream", sa.String(255), primary_key=True),
    sa.Column("checkpoint", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),  # corrections or quarantine
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)


@dataclass(frozen=True)
class WindowEntry:
    """A window in the ledger.

    Attributes:
        window_id: names its domain, start, end and content; its file is ``windows/<window_id>.parquet``.
        start: microseconds since 1970.
        end: not part of the window, except by count.
        key: of a session; empty for others.
        rows: how many.
        content_hash: SHA-256 of its values.
    """

    window_id: str
    start: int
    end: int
    key: str
    rows: int
    content_hash: str


@dataclass(frozen=True)
class AsideEntry:
    """A file of corrections or quarantined records: written with a checkpoint, and named after its number."""

    kind: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """Where a stream has come to: its number, the settings it began with, and the state to go on from."""

    number: int
    settings: dict[str, Any]
    state: dict[str, Any]


class Ledger:
    """The windows of one stream. Everything since the last checkpoint is entered in one transaction, or none of it."""

    def __init__(self, url: str, stream: str) -> None:
        """Open it; make its tables where there are none.

        Args:
            url: SQLAlchemy's, e.g. ``sqlite:////path/ledger.db`` or ``postgresql+psycopg://user@host/name``.
            stream: whose windows; several streams may share a database.

        Raises:
            BadInputError: the database cannot be opened.
        """
        self.stream = stream
        self._engine = open_database(url)
        with readable(url):
            METADATA.create_all(self._engine)

    def checkpoint(self) -> Checkpoint | None:
        """The last one; None for a new stream."""
        query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.stream == self.stream)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Checkpoint(row.number, json.loads(row.settings), json.loads(row.state))

    def commit(self, checkpoint: Checkpoint, windows: Sequence[WindowEntry], aside: Sequence[AsideEntry] = ()) -> None:
        """Enter a checkpoint and what became durable since the one before.

        Raises:
            EvergreenError: another process has entered one meanwhile; nothing was entered.
        """
        row = {
            "number": checkpoint.number,
            "settings": json.dumps(checkpoint.settings, sort_keys=True),
            "state": json.dumps(checkpoint.state, sort_keys=True),
        }
        mine = CHECKPOINTS.c.stream == self.stream
        try:
            with self._engine.begin() as connection:
                before = sa.update(CHECKPOINTS).where(mine, CHECKPOINTS.c.number == checkpoint.number - 1)
                if connection.execute(before.values(row)).rowcount == 0:
                    connection.execute(sa.insert(CHECKPOINTS).values(stream=self.stream, **row))
                place = {"stream": self.stream, "checkpoint": checkpoint.number}
                if windows:
                    connection.execute(sa.insert(WINDOWS), [place | _columns(entry) for entry in windows])
                if aside:
                    connection.execute(sa.insert(ASIDE), [place | vars(entry) for entry in aside])
        except sa.exc.IntegrityError as error:
            raise EvergreenError(
                f"Stream {self.stream!r} went on in another process while this one ran; nothing of this one counts. "
                "Let only one process work on a stream."
            ) from error

    def windows(self) -> Iterator[WindowEntry]:
        """All windows, by end, start and key."""
        columns = WINDOWS.c
        query = (
            sa.select(
                columns.window_id,
                columns.window_start,
                columns.window_end,
                columns.window_key,
                columns.rows,
                columns.content_hash,
            )
            .where(columns.stream == self.stream)
            .order_by(columns.window_end, columns.window_start, columns.window_key, columns.window_id)
        )
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=10_000).execute(query):
                yield WindowEntry(*row)

    def window_ids(self) -> set[str]:
        """Names of all windows."""
        query = sa.select(WINDOWS.c.window_id).where(WINDOWS.c.stream == self.stream)
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def count(self) -> int:
        """How many windows there are."""
        query = sa.select(sa.func.count()).select_from(WINDOWS).where(WINDOWS.c.stream == self.stream)
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def find(self, start: int, end: int) -> list[WindowEntry]:
        """The windows from ``start`` to ``end``: one for each key that had a session then."""
        columns = WINDOWS.c
        query = sa.select(WINDOWS).where(
            columns.stream == self.stream, columns.window_end == end, columns.window_start == start
        )
        with self._engine.connect() as connection:
            return [
                WindowEntry(row.window_id, row.window_start, row.window_end, row.window_key, row.rows, row.content_hash)
                for row in connection.execute(query.order_by(columns.window_key, columns.window_id))
            ]

    def aside(self) -> dict[int, list[AsideEntry]]:
        """Files of corrections and quarantined records, by checkpoint."""
        query = sa.select(ASIDE).where(ASIDE.c.stream == self.stream).order_by(ASIDE.c.checkpoint, ASIDE.c.kind)
        found: dict[int, list[AsideEntry]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                found.setdefault(row.checkpoint, []).append(AsideEntry(row.kind, row.rows, row.sha256))
        return found

    def close(self) -> None:
        """Give its connections back."""
        self._engine.dispose()


def _columns(entry: WindowEntry) -> dict[str, Any]:
    values = vars(entry)
    return {f"window_{name}" if name in ("start", "end", "key") else name: value for name, value in values.items()}


def open_database(url: str) -> sa.Engine:
    """An SQLAlchemy engine; SQLite's file and folder are made where there are none, and wait for each other's locks.

    Raises:
        BadInputError: the URL is none, or its driver is not installed.
    """
    try:
        address = sa.make_url(url)
        if address.drivername == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        return sa.create_engine(address, connect_args={"timeout": 60} if address.drivername == "sqlite" else {})
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
        raise BadInputError(
            f"{_hidden(url)} is no database URL: {error}. Expected sqlite:////path/file.db or "
            "postgresql+psycopg://user:password@host/database."
        ) from error
    except ModuleNotFoundError as error:
        raise BadInputError(
            f"The driver for {_hidden(url)} is not installed ({error.name}). For PostgreSQL: pip install "
            "'evergreen[postgres]' and write postgresql+psycopg://."
        ) from error


@contextmanager
def readable(url: str) -> Iterator[None]:
    """Tell an error of the database as one of the input.

    Raises:
        BadInputError: the database refuses.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise BadInputError(f"The database {_hidden(url)} cannot be used: {str(error.orig).strip()}") from error


def _hidden(url: str) -> str:
    """The URL without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return repr(url)
