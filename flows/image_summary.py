"""What a run of the image flow came to, on the terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evergreen.files import read_json
from evergreen.images.layout import ImageLayout
from flows.console import format_seconds
from tasks.settings import Settings


def print_summary(settings: Settings, result: dict[str, Any]) -> None:
    """Print version and champion, scores, drift, seconds and where to look. Plain lines where there is no terminal.

    Args:
        settings: the places of this installation.
        result: what the flow returned.
    """
    layout = ImageLayout(Path(result["workspace"]))
    table = Table.grid(padding=(0, 2))
    for name, text in _rows(settings, layout, result):
        table.add_row(name, text)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 400  # a line stays a line
    console.print()
    console.print(table)


def _rows(settings: Settings, layout: ImageLayout, result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "model", model_line(result)
    if result["outcome"] != "nothing new":
        yield from _scores(layout.metrics)
        yield "drift", _drift(layout.metrics / "drift.json")
        yield from _seconds(layout.metrics / "run.timing.json")
    yield "report", str(layout.report)
    yield "record", f"{settings.tracking_uri} (evergreen ui)"


def model_line(result: dict[str, Any]) -> str:
    """Which version there is and what became of it, in a line."""
    name, version = result["model"], result.get("version")
    if version is None:
        return f"{name}: no version{'' if result['outcome'] == 'no version' else ', for want of labels'}"
    if result["outcome"] == "nothing new":
        return f"{name} version {version}, as before"
    if result["champion"] == version:
        return f"{name} version {version} is the champion: {result['reason']}"
    kept = f"version {result['champion']} stays champion" if result["champion"] else "there is no champion yet"
    return f"{name} version {version} is not promoted, {kept}: {result['reason']}"


def _scores(metrics: Path) -> Iterator[tuple[str, str]]:
    probe = read_json(metrics / "probe.json")
    if "skipped" in probe:
        yield "probe", f"skipped: {probe['skipped']}"
    else:
        accuracies = f"linear {probe['linear_accuracy']:.1%}, kNN {probe['knn_accuracy']:.1%}"
        yield "probe", f"{accuracies} of {probe['n_test']:,} test images"
    rows = read_json(metrics / "finetune.json")
    for row in rows if isinstance(rows, list) else []:
        share = f"{row['label_fraction']:.0%} of the labels"
        if "accuracy" in row:
            rivals = f"linear head {row['linear_accuracy']:.1%}, from scratch {row['supervised_accuracy']:.1%}"
            yield "fine-tune", f"{row['accuracy']:.1%} with {share}, {rivals}"
        else:
            yield "fine-tune", f"{share}; there is no test set to measure on"


def _drift(path: Path) -> str:
    rows = read_json(path)
    alarms = [row for row in rows if row["drift"]]
    if not alarms:
        return f"none in {len(rows)} windows"
    return f"in {len(alarms)} of {len(rows)} windows, first {alarms[0]['start']}"


def _seconds(path: Path) -> Iterator[tuple[str, str]]:
    timing = read_json(path)
    steps = ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in timing["step_seconds"].items())
    yield "time", format_seconds(timing["seconds"]) + (f": {steps}" if steps else ", no step had to run")
    cost, share = format_seconds(timing["orchestration_seconds"]), timing["orchestration_share"]
    yield "of which", f"{cost} ({share:.0%}) orchestration: Prefect, DVC, MLflow and starting processes"
