"""What sweeps and studies came to, on the terminal."""

from pathlib import Path

from evergreen.files import read_json
from flows.tables import print_table


def print_sweep(folder: Path, study: str) -> None:
    """A row for each setting, and the best one."""
    result = read_json(folder / f"{study}.json")
    rows = [
        (row["trial"], *(percent(row[name]) for name in ("precision", "recall", "f1", "f1_sd")), str(row["seeds"]))
        for row in result["settings"]
    ]
    print_table(("settings", "precision", "recall", "F1", "sd", "seeds"), rows)
    judged = f"{result['n_validation']:,} validation images of {len(result['classes'])} classes"
    print(f"Best on {judged}: {result['best']}. Figure: {folder / f'{study}.svg'}")


def percent(value: float | None) -> str:
    """A fraction as it is shown; a dash where there is none."""
    return "-" if value is None else f"{value:.1%}"
