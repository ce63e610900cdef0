"""Which files of a stage are recorded: those with numbers, and those for people to read."""

from pathlib import Path

from tasks.workspace import IMAGES, Workspace

Numbers = list[tuple[Path, str]]
Artifacts = list[tuple[Path, str | None]]


def numbers(workspace: Workspace, stage: str) -> Numbers:
    """(JSON file, prefix of its numbers) of what a stage may have written."""
    found = [
        (workspace.metrics / f"{stage}.json", stage),
        (workspace.metrics / f"{stage}.timing.json", f"{stage}/timing"),
        (workspace.data / "plots" / f"{stage}.json", f"{stage}/curve"),
    ]
    if stage == ("validate" if workspace.domain == IMAGES else "ingest"):
        found.append((workspace.data / "validation" / "result.json", "validate"))
    if stage == "online":
        found += [
            (workspace.root / "metrics.json", "online"),
            (workspace.root / "metrics.timing.json", "online/timing"),
        ]
    return found


def artifacts(workspace: Workspace, stage: str) -> Artifacts:
    """(file or folder, artifact folder) of what a stage leaves for people to read; dvc.lock grows with every stage."""
    data = workspace.data
    found: Artifacts = [
        (workspace.root / "dvc.lock", None),
        (workspace.metrics / f"{stage}.json", "metrics"),
        (workspace.metrics / f"{stage}.timing.json", "metrics"),
        (data / "plots" / f"{stage}.json", "plots"),
    ]
    validation: Artifacts = [
        (data / "validation" / "result.json", "validation"),
        (data / "validation" / "docs", "validation/docs"),
    ]
    report = data / "report.html" if workspace.domain == IMAGES else workspace.root / "report.html"
    extra: dict[str, Artifacts] = {
        "ingest": [] if workspace.domain == IMAGES else validation,
        "validate": validation,
        "windows": [(data / "training_windows.json", None)],
        "online": [(workspace.root / name, None) for name in ("metrics.json", "metrics.timing.json", "drifts.json")],
        "report": [(report, None)],
        "adapt": [(data / "adaptation" / "predictions.parquet", "adaptation")],
    }
    return found + extra.get(stage, [])
