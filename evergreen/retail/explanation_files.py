"""The files that hold a run's explanations."""

from pathlib import Path

import pandas as pd

from evergreen.files import read_json, write_atomically, write_json
from evergreen.retail.explained_run import Explained

FOLDER = Path("data/retail/explanations")
DECISIONS, RANKS, SUMMARY, CARDS = "decisions.parquet", "ranks.parquet", "summary.json", "drift_cards.json"


def read(folder: Path) -> Explained | None:
    """What :func:`write` wrote; None if it wrote nothing there."""
    if not (folder / SUMMARY).is_file():
        return None
    return Explained(
        pd.read_parquet(folder / DECISIONS),
        pd.read_parquet(folder / RANKS),
        read_json(folder / SUMMARY),
        read_json(folder / CARDS),
    )


def write(folder: Path, found: Explained) -> None:
    """Write the four files in one rename."""

    def fill(part: Path) -> None:
        part.mkdir(parents=True)
        found.decisions.to_parquet(part / DECISIONS, index=False)
        found.ranks.to_parquet(part / RANKS, index=False)
        write_json(part / SUMMARY, found.summary)
        write_json(part / CARDS, found.cards)

    write_atomically(folder, fill)
