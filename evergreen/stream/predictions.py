"""The prediction ledger: every answer when it is given, its label when that arrives, in SQLite or PostgreSQL.

Answers and labels are two tables, joined when read: a label belongs to an example, not to an answer, so it may arrive
before, after or without one, and serves every model that answered. What is entered stays: entering it again changes
nothing, contradicting it is an error.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from evergreen.errors import BadInputError
from evergreen.files import write_atomically
from evergreen.stream.ledger import open_database, readable

AT_ONCE = 5_000  # rows of a statement: far below what either database takes as parameters
READ_AT_ONCE = 50_000

METADATA = sa.MetaData()
PREDICTIONS = sa.Table(
    "evergreen_predictions",
    METADATA,
    sa.Column("domain", sa.String(50), primary_key=True),
    sa.Column("example_id", sa.String(255), primary_key=True),
    sa.Column("model", sa.String(255), primary_key=True),
    sa.Column("model_version", sa.String(255), primary_key=True),
    sa.Column("predicted_at", sa.BigInteger, nullable=False),  # microseconds since 1970, as all times here
    sa.Column("prediction", sa.Text, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("event_index", sa.BigInteger),
    sa.Column("case_id", sa.Text),
    sa.Index("evergreen_predictions_by_time", "domain", "predicted_at", "example_id", "model", "model_version"),
)
LABELS = sa.Table(
    "evergreen_labels",
    METADATA,
    sa.Column("domain", sa.String(50), primary_key=True),
    sa.Column("example_id", sa.String(255), primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("label_at", sa.BigInteger, nullable=False),
)
REQUIRED = ("example_id", "model", "model_version", "predicted_at", "prediction")
OPTIONAL = ("score", "event_index", "case_id")
TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("model", pa.string()),
        ("model_version", pa.string()),
        ("predicted_at", TIME),
        ("prediction", pa.string()),
        ("score", pa.float64()),
        ("label", pa.string()),
        ("label_at", TIME),
    ]
)
PROCESS_SCHEMA = pa.schema([*SCHEMA, ("event_index", pa.int64()), ("case_id", pa.string())])


class PredictionLedger:
    """The answers and labels of one domain."""

    def __init__(self, url: str, domain: str) -> None:
        """Open it; make its tables where there are none.

        Args:
            url: SQLAlchemy's, e.g. ``sqlite:////path/ledger.db`` or ``postgresql+psycopg://user@host/name``.
            domain: ``images``, ``retail`` or ``process``; domains share a database and see nothing of each other.

        Raises:
            BadInputError: the database cannot be opened.
        """
        self.domain = domain
        self._engine = open_database(url)
        with readable(url):
            METADATA.create_all(self._engine)

    def record(self, predictions: pd.DataFrame) -> int:
        """Enter answers; all of them or, after an error, none.

        Args:
            predictions: columns example_id, model, model_version, predicted_at (with a time zone) and prediction;
                score, event_index and case_id where there are any. ``prediction`` is the answer's name; a number
                is written as text.

        Returns:
            How many were not there yet.

        Raises:
            BadInputError: a column is missing or empty, or the same model version answered the example otherwise.
        """
        rows = _columns(predictions, REQUIRED, OPTIONAL, "predictions")
        return self._enter(PREDICTIONS, rows, ("example_id", "model", "model_version"))

    def add_labels(self, labels: pd.DataFrame) -> int:
        """Enter labels; all of them or, after an error, none. Their answers may come later, or never.

        Args:
            labels: columns example_id, label, and label_at, when it became known (with a time zone).

        Returns:
            How many were not there yet.

        Raises:
            BadInputError: a column is missing or empty, or the example has another label.
        """
        rows = _columns(labels, ("example_id", "label", "label_at"), (), "labels")
        return self._enter(LABELS, rows, ("example_id",))

    def read(
        self,
        *,
        model: str | None = None,
        model_version: str | None = None,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        known_at: pd.Timestamp | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Yield answers with their labels, by time, in frames of bounded size.

        Args:
            model: only this one's.
            model_version: only this one's.
            start: only answers given from then on.
            end: only answers given before.
            known_at: the ledger as it was then: later answers are not there and later labels not known.
        """
        answered = PREDICTIONS.c
        join = sa.and_(LABELS.c.domain == answered.domain, LABELS.c.example_id == answered.example_id)
        conditions = [answered.domain == self.domain]
        conditions += [answered.model == model] if model is not None else []
        conditions += [answered.model_version == model_version] if model_version is not None else []
        conditions += [answered.predicted_at >= microseconds(start)] if start is not None else []
        conditions += [answered.predicted_at < microseconds(end)] if end is not None else []
        if known_at is not None:
            conditions.append(answered.predicted_at <= microseconds(known_at))
            join = sa.and_(join, LABELS.c.label_at <= microseconds(known_at))
        query = (
            sa.select(*(PROCESS_SCHEMA_COLUMNS[name] for name in PROCESS_SCHEMA.names))
            .select_from(PREDICTIONS.outerjoin(LABELS, join))
            .where(*conditions)
            .order_by(answered.predicted_at, answered.example_id, answered.model, answered.model_version)
        )
        with self._engine.connect() as connection:
            result = connection.execution_options(yield_per=READ_AT_ONCE).execute(query)
            for part in result.partitions():
                yield _table(part).to_pandas()

    def export(self, path: Path, **filters: Any) -> int:
        """Write answers with their labels to a Parquet file; the domain process has event_index and case_id too.

        Args:
            path: of the file, replaced if it is there.
            filters: as for :meth:`read`.

        Returns:
            How many rows.
        """
        schema = PROCESS_SCHEMA if self.domain == "process" else SCHEMA
        count = 0

        def write(part: Path) -> None:
            nonlocal count
            with pq.ParquetWriter(part, schema) as writer:
                for frame in self.read(**filters):
                    writer.write_table(pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False))
                    count += len(frame)

        write_atomically(path, write)
        return count

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _enter(self, table: sa.Table, columns: dict[str, list[Any]], key: tuple[str, ...]) -> int:
        rows = [
            {"domain": self.domain, **dict(zip(columns, values, strict=True))}
            for values in zip(*columns.values(), strict=True)
        ]
        insert = _insert_or_ignore(self._engine.dialect.name)(table)
        entered = 0
        with self._engine.begin() as connection:
            connection = connection.execution_options(preserve_rowcount=True)
            for begin in range(0, len(rows), AT_ONCE):
                part = rows[begin : begin + AT_ONCE]
                new = connection.execute(insert, part).rowcount
                entered += new
                if new < len(part):  # the others were there: are they the same?
                    _compare(connection, table, part, key)
        return entered


PROCESS_SCHEMA_COLUMNS: dict[str, sa.Column[Any]] = {
    name: (LABELS if name in ("label", "label_at") else PREDICTIONS).c[name] for name in PROCESS_SCHEMA.names
}


def microseconds(time: pd.Timestamp) -> int:
    """Microseconds since 1970 of a time with a zone.

    Raises:
        BadInputError: it has no zone.
    """
    if time.tzinfo is None:
        raise BadInputError(f"{time} has no time zone, expected one, e.g. {time}+00:00.")
    return (time - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1)


def _insert_or_ignore(dialect: str) -> Callable[[sa.Table], Any]:
    if dialect == "sqlite":
        return lambda table: sqlite.insert(table).on_conflict_do_nothing()
    if dialect == "postgresql":
        return lambda table: postgresql.insert(table).on_conflict_do_nothing()
    raise BadInputError(f"The ledger is in SQLite or PostgreSQL; {dialect} is neither.")


def _compare(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]], key: tuple[str, ...]) -> None:
    """Every row must be in the table as it is.

    Raises:
        BadInputError: one is there with other values.
    """
    wanted = [row["example_id"] for row in rows]
    names = list(rows[0])
    query = sa.select(*(table.c[name] for name in names)).where(
        table.c.domain == rows[0]["domain"], table.c.example_id.in_(wanted)
    )
    there = {tuple(row[name] for name in key): dict(row) for row in connection.execute(query).mappings()}
    for row in rows:
        found = there[tuple(row[name] for name in key)]
        if found != row:
            different = [name for name in names if found[name] != row[name]]
            what = ", ".join(f"{name} {found[name]!r}, now {row[name]!r}" for name in different)
            raise BadInputError(
                f"{table.name.removeprefix('evergreen_')}: {row['example_id']!r} is already there with {what}. "
                "What was entered stays: enter it the same way, or under another model version."
            )


def _columns(frame: pd.DataFrame, required: Sequence[str], optional: Sequence[str], what: str) -> dict[str, list[Any]]:
    """The frame's columns as lists of plain values, None where there is nothing."""
    if missing := [name for name in required if name not in frame]:
        raise BadInputError(f"The {what} lack {', '.join(missing)}; found {', '.join(map(str, frame.columns))}.")
    if unknown := [str(name) for name in frame if name not in (*required, *optional)]:
        raise BadInputError(f"The {what} have unknown columns {', '.join(unknown)}.")
    if not len(frame):
        return {name: [] for name in required}
    if empty := [name for name in required if frame[name].isna().any()]:
        raise BadInputError(f"The {what} have empty values in {', '.join(empty)}: every row needs one.")
    return {name: _plain(frame[name], name) for name in (*required, *(n for n in optional if n in frame))}


def _plain(column: pd.Series, name: str) -> list[Any]:
    if name in ("predicted_at", "label_at"):
        if not isinstance(column.dtype, pd.DatetimeTZDtype):
            raise BadInputError(f"{name} is {column.dtype}, expected times with a zone.")
        return [int(value) for value in column.dt.tz_convert("UTC").dt.as_unit("us").astype("int64")]
    if name == "score":
        numbers = column.astype(float)
        if np.isinf(numbers).any():
            raise BadInputError("score holds infinity, expected finite numbers or nothing.")
        return [None if value != value else value for value in numbers.tolist()]
    if name == "event_index":
        return [None if pd.isna(value) else int(value) for value in column]
    return [None if value is None or value != value else str(value) for value in column.tolist()]


def _table(rows: Sequence[Any]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, PROCESS_SCHEMA, strict=True)],
        schema=PROCESS_SCHEMA,
    )
