"""Receipts in a table of a database."""

import os

import pandas as pd

from evergreen.errors import BadInputError
from evergreen.retail.raw_lines import RawLines


def read_sql_table(url: str, name: str | None) -> RawLines:
    """Read a whole table, in the order of its primary key or, without one, of its values.

    Args:
        url: as SQLAlchemy takes it, e.g. ``sqlite:///shop.db``; environment variables in it are put in.
        name: of the table or view, with its schema as ``schema.table`` if need be.

    Raises:
        BadInputError: the database cannot be reached, or has no such table.
    """
    import sqlalchemy as sa

    try:
        engine = sa.create_engine(os.path.expandvars(url))
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise BadInputError(f"The URL of the database cannot be used: {error}") from error
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            schema, _, table_name = (name or "").rpartition(".")
            inspector = sa.inspect(connection)
            there = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
            if table_name not in there:
                asked = f"has no table {name!r}" if name else "needs the name of a table"
                raise BadInputError(
                    f"{shown} {asked}. Its tables: {', '.join(sorted(there)) or 'none'}. Name one with --table."
                )
            table = sa.Table(table_name, sa.MetaData(), schema=schema or None, autoload_with=connection)
            order = list(table.primary_key.columns) or list(table.columns)
            frame = pd.read_sql_query(sa.select(table).order_by(*order), connection)
    except sa.exc.SQLAlchemyError as error:
        raise BadInputError(f"{shown} cannot be read: {type(error).__name__}. Check the URL and the server.") from error
    finally:
        engine.dispose()
    return RawLines(frame, facts={"database": shown, "table": name})
