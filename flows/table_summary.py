"""What a run of the churn or the process flow came to, on the terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evergreen.files import read_json
from flows.console import format_seconds
from flows.image_summary import model_line
from tasks.settings import Settings

SHOWN = {
    "retail": (("macro-F", "macro_f1"), ("F churn", "f1_churn"), ("F non-churn", "f1_non_churn"), ("AUC", "auc")),
    "process": (
        ("macro-F", "macro_f1"),
        ("accuracy", "accuracy"),
        ("days left, MAE", "remaining_time_mae"),
        ("outcome AUC", "outcome_auc"),
    ),
}
"""Domain → (column, key in metrics.json)."""


def print_summary(settings: Settings, domain: str, result: dict[str, Any]) -> None:
    """Print version and champion, the table of the models, drifts, seconds and where to look.

    Args:
        settings: the places of this installation.
        domain: retail or process.
        result: what the flow returned.
    """
    root = Path(result["workspace"])
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 400  # a line stays a line
    metrics = read_json(root / "metrics.json") if (root / "metrics.json").is_file() else {"models": {}}
    console.print()
    console.print(_models(domain, metrics["models"]))
    table = Table.grid(padding=(0, 2))
    for name, text in _rows(settings, root, domain, result):
        table.add_row(name, text)
    console.print(table)


def _models(domain: str, models: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("model", *(column for column, _ in SHOWN[domain]), "scored", "seeds"):
        table.add_column(column)
    for name, scores in models.items():
        values = [_number(scores.get(key)) for _, key in SHOWN[domain]]
        table.add_row(name, *values, f"{scores.get('n_scored', 0):,}", str(scores.get("seeds", 1)))
    return table


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rows(settings: Settings, root: Path, domain: str, result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "model", model_line(result)
    if result["outcome"] != "nothing new":
        drifts = read_json(root / "drifts.json")
        yield (
            "drifts",
            _drifts(drifts),
        )
        timing = read_json(root / "data" / domain / "metrics" / "run.timing.json")
        steps = ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in timing["step_seconds"].items())
        yield "time", format_seconds(timing["seconds"]) + (f": {steps}" if steps else ", no step had to run")
    yield "report", str(root / "report.html")
    yield "record", f"{settings.tracking_uri} (evergreen ui)"


def _drifts(drifts: list[dict[str, Any]]) -> str:
    if not drifts:
        return "none"
    return f"{len(drifts)}, first {drifts[0].get('day') or drifts[0]['timestamp']}"
