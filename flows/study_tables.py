"""What sweeps and studies came to, on the terminal."""

from pathlib import Path
from typing import Any

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


def print_label_efficiency(folder: Path) -> None:
    """A row for each number of labels, a column for each way to learn."""
    points = read_json(folder / "label-efficiency.json")["points"]
    methods = list(dict.fromkeys(point["method"] for point in points))
    rows: dict[int, list[str]] = {}
    for point in points:
        rows.setdefault(point["labels"], [f"{point['labels']:,}", f"{point['label_fraction']:.2%}"])
        rows[point["labels"]].append(_with_spread(point, "accuracy"))
    print_table(("labels", "share", *(method.replace("_", " ") for method in methods)), rows.values())
    print(f"Accuracy on the test set, mean ± sd over the seeds. Figure: {folder / 'label-efficiency.svg'}")


def print_transfer(folder: Path) -> None:
    """A row for each option."""
    options = read_json(folder / "transfer.json")["options"]
    names = ("precision", "recall", "f1", "accuracy")
    rows = [
        (row["option"], f"{row['labels']:,}", *(_with_spread(row, name) for name in names), str(row["seeds"]))
        for row in options
    ]
    print_table(("option", "labels", "precision", "recall", "F1", "accuracy", "seeds"), rows)
    print(f"On the test set, mean ± sd over the seeds. Table: {folder / 'transfer.csv'}")


def print_retrieval(folder: Path) -> None:
    """A row for each method."""
    result = read_json(folder / "retrieval.json")
    print_table(("method", "accuracy"), [(row["name"], _with_spread(row, "accuracy")) for row in result["methods"]])
    print(f"{result['images']:,} images from {result['labelled']} labelled ones, mean ± sd over the draws.")


def print_distil(folder: Path) -> None:
    """Teacher and student."""
    result = read_json(folder / "distil.json")
    rows = [(who, percent(result[f"{who}_accuracy"])) for who in ("teacher", "student")]
    print_table(("network", "accuracy"), rows)
    share = f"{percent(result['flops_ratio'])} of the teacher's operations"
    print(f"They agree on {percent(result['agreement'])} of the validation images; the student needs {share}.")


def _with_spread(row: dict[str, Any], name: str) -> str:
    spread = row[f"{name}_sd"]
    return percent(row[name]) + (f" ± {spread:.1%}" if spread is not None else "")
