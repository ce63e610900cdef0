"""What following a stream, or replaying its history, came to, on the terminal."""

from pathlib import Path
from typing import Any

from evergreen.files import read_json
from evergreen.images.backtest import RESULT
from evergreen.images.layout import ImageLayout
from flows.console import format_seconds
from flows.tables import print_table


def print_adaptation(result: dict[str, Any]) -> None:
    """A row for each window since the champion's training, and what became of the model."""
    layout = ImageLayout(Path(result["workspace"]))
    record = read_json(layout.metrics / "adapt.json")
    rows = [
        (row["start"][:16], f"{row['rows']:,}", _drift(row), _harm(row), row["action"]) for row in record["windows"]
    ]
    if rows and result["outcome"] != "nothing new":
        print_table(("window", "rows", "drift", "expected fall", "action"), rows)
    print(f"{result['model']}: {_model(result)}")


def _drift(row: dict[str, Any]) -> str:
    return ", ".join(row["moved"][:3]) or "yes" if row["drift"] else "-"


def _harm(row: dict[str, Any]) -> str:
    harm = row["harm"]
    return f"{harm['expected_fall']:.1%}{' harmful' if harm['harmful'] else ''}" if harm else "-"


def _model(result: dict[str, Any]) -> str:
    if result["outcome"] != "judged":
        return str(result["outcome"])
    if result["promoted"]:
        return f"version {result['version']} is the champion: {result['reason']}"
    return f"version {result['champion']} stays champion: {result['reason']}"


def print_backtest(folder: Path) -> None:
    """A row for each policy: accuracy over the replayed windows and on the test sets, what it did, what it cost."""
    result = read_json(folder / RESULT)
    rows = [
        (
            contender["name"],
            _share(contender["mean_accuracy"]),
            _share(contender["test"].get("clean")),
            _share(contender["test"].get("noisy")),
            _share(contender.get("recovered")),
            str(contender["adaptations"]),
            str(contender["promotions"]),
            format_seconds(contender["cpu_seconds"]),
        )
        for contender in result["contenders"]
    ]
    columns = ("policy", "stream", "clean test", "noisy test", "recovered", "adapted", "promoted", "CPU")
    print_table(columns, rows)
    print(f"Figure: {folder / 'timeline.svg'}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
