"""Tables for the terminal, and plain columns for anything else."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 10_000  # no terminal: a row stays a line


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under column names."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
