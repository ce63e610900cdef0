"""Records in a table of a database."""

import datetime
import decimal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from evergreen.errors import BadInputError
from evergreen.stream.ledger import open_database, readable
from evergreen.stream.sources.cells import fit_values, merge_notes
from evergreen.stream.sources.source import Drained, Piece, Position, Positions

SPLIT = "table"
BATCH = 20_000


class TableSource:
    """The rows of a table in the order of one or two columns; later runs read the rows that are beyond the last one.

    Order by a column that grows with every insertion, such as a serial number: a row that comes with a smaller value
    than the last row read is never seen. Where only the event time is there, rows must be inserted in its order, and
    the id decides between rows of one moment.
    """

    def __init__(self, url: str, table: str, order: Sequence[str]) -> None:
        """Look at the table.

        Args:
            url: SQLAlchemy's.
            table: its name, with the schema before a dot where it needs one.
            order: one or two columns whose values together are unique and never null.

        Raises:
            BadInputError: the database, the table or a column is not there, or a row has nothing to be ordered by.
        """
        self.url, self.name = url, table
        self._engine = open_database(url)
        space, _, plain = table.rpartition(".")
        with readable(url):
            inspector = sa.inspect(self._engine)
            if not (inspector.has_table(plain, schema=space or None)):
                there = ", ".join(sorted(inspector.get_table_names(schema=space or None))) or "none"
                raise BadInputError(f"There is no table {table!r}. Tables: {there}. Name one with --table.")
            columns = inspector.get_columns(plain, schema=space or None)
        names = [column["name"] for column in columns]
        if unknown := [name for name in order if name not in names]:
            raise BadInputError(f"Table {table!r} has no column {unknown[0]!r}. It has: {', '.join(names)}.")
        sqlite = self._engine.dialect.name == "sqlite"
        self.schema = pa.schema([(column["name"], _arrow_type(column["type"], sqlite)) for column in columns])
        self.order = list(dict.fromkeys(order))
        # untyped columns: the driver's own values, so that one odd value does not end the run
        self._table = sa.table(plain, *[sa.column(name) for name in names], schema=space or None)
        self._keys = [self._table.c[name] for name in self.order]
        self.total: int | None = self._count()

    def _count(self) -> int:
        count = sa.select(sa.func.count()).select_from(self._table)
        with readable(self.url), self._engine.connect() as connection:
            unplaced = int(connection.scalar(count.where(sa.or_(*[key.is_(None) for key in self._keys]))) or 0)
            if unplaced:
                raise BadInputError(
                    f"{unplaced:,} rows of table {self.name!r} have no value in {' or '.join(self.order)}, so they "
                    "have no place in the stream. Fill it in, or name other columns with --order-by."
                )
            return int(connection.scalar(count) or 0)

    def settings(self) -> dict[str, Any]:
        return {"kind": "table", "table": self.name, "order": self.order}

    def splits(self) -> list[str]:
        return [SPLIT]

    def read(self, positions: Positions) -> Iterator[Piece | Drained]:
        position = positions.get(SPLIT)
        while rows := self._next(position):
            values = [[row[name] for row in rows] for name in self.schema.names]
            fitted = [fit_values(column, field) for column, field in zip(values, self.schema, strict=True)]
            batch = pa.record_batch([column for column, _ in fitted], schema=self.schema)
            places = [[row[name] for name in self.order] for row in rows]
            yield Piece(SPLIT, batch, _after(places), merge_notes([note for _, note in fitted]))
            position = _spell(places[-1])
        yield Drained(SPLIT)

    def _next(self, position: Position) -> list[dict[str, Any]]:
        query = sa.select(*self._table.c).order_by(*self._keys).limit(BATCH)
        if position is not None:
            query = query.where(_beyond(self._keys, [_read(value) for value in position]))
        with readable(self.url), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def durable(self, positions: Positions) -> None:
        """Nothing to tell a table."""

    def close(self) -> None:
        self._engine.dispose()


def _beyond(keys: list[Any], values: list[Any]) -> Any:
    """``(a, b) > (x, y)`` without row values, which not every database has."""
    first = keys[0] > values[0]
    if len(keys) == 1:
        return first
    return sa.or_(first, sa.and_(keys[0] == values[0], _beyond(keys[1:], values[1:])))


def _after(places: list[list[Any]]) -> Callable[[int], Position]:
    return lambda rows: _spell(places[rows - 1])


def _spell(values: list[Any]) -> Position:
    """Values as JSON holds them, with those that it does not know marked."""
    spelled: list[Any] = []
    for value in values:
        if isinstance(value, datetime.datetime):
            spelled.append({"datetime": value.isoformat()})
        elif isinstance(value, datetime.date):
            spelled.append({"date": value.isoformat()})
        elif isinstance(value, decimal.Decimal):
            spelled.append({"decimal": str(value)})
        elif isinstance(value, int | float | str):
            spelled.append(value)
        else:
            spelled.append({"text": str(value)})
    return spelled


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    makers: dict[str, Callable[[str], Any]] = {
        "datetime": datetime.datetime.fromisoformat,
        "date": datetime.date.fromisoformat,
        "decimal": decimal.Decimal,
        "text": str,
    }
    return makers[kind](text)


def _arrow_type(kind: Any, sqlite: bool) -> pa.DataType:
    """The Arrow type of a column; times stay text in SQLite, which has no type for them."""
    if isinstance(kind, sa.Boolean):
        return pa.int64() if sqlite else pa.bool_()
    if isinstance(kind, sa.Integer):
        return pa.int64()
    if isinstance(kind, sa.Float) or (isinstance(kind, sa.Numeric) and not kind.asdecimal):
        return pa.float64()
    if isinstance(kind, sa.Numeric):
        return pa.float64() if sqlite else pa.decimal128(38, kind.scale or 9)
    if isinstance(kind, sa.DateTime):
        return pa.string() if sqlite else pa.timestamp("us", "UTC" if kind.timezone else None)
    if isinstance(kind, sa.Date):
        return pa.string() if sqlite else pa.date32()
    if isinstance(kind, sa.LargeBinary):
        return pa.binary()
    return pa.string()
