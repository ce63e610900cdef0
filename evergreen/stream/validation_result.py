"""What follows a validation, whatever was validated: its result on disk, the proof that no row is lost, the stop."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evergreen.errors import EvergreenError, StoppedError
from evergreen.files import write_json
from evergreen.stream.data_docs import write_data_docs
from evergreen.stream.suites import BrokenExpectationError, SuiteRun

DOCS = Path("docs") / "index.html"


def facts_of(summary: Mapping[str, Any], rows: str = "") -> dict[str, object]:
    """What the overview of the Data Docs says first.

    Args:
        summary: the content of result.json.
        rows: what the rows are called.
    """
    facts: dict[str, object] = {
        f"{rows} {name}".strip(): summary[f"rows_{name}"] for name in ("read", "accepted", "quarantined")
    }
    return facts | {f"refused: {reason}": count for reason, count in summary["reasons"].items()}


def write_result(
    folder: Path, title: str, runs: Sequence[SuiteRun], summary: Mapping[str, Any], facts: Mapping[str, object]
) -> None:
    """Make a folder of result.json and the Data Docs.

    Args:
        folder: to make.
        title: of the overview.
        runs: the suites' results.
        summary: the content of result.json.
        facts: shown at the top of the overview, by name.
    """
    (folder / "docs").mkdir(parents=True)
    write_json(folder / "result.json", summary)
    write_data_docs(folder / "docs", title, runs, facts, summary["failed"])


def check_counts(summary: Mapping[str, Any], quarantined: int) -> None:
    """Make sure that no row is lost.

    Raises:
        EvergreenError: the accepted rows and those that were quarantined are not those that were read.
    """
    read, accepted = summary["rows_read"], summary["rows_accepted"]
    if accepted + quarantined != read:
        counts = f"{accepted} accepted + {quarantined} quarantined"
        raise EvergreenError(f"{counts} are not the {read} rows read: a defect of the validation.")


def stop(what: str, broken: Sequence[str], failed: Sequence[str], folder: Path, advice: str) -> None:
    """Stop, if there is a reason.

    Args:
        what: would go on.
        broken: checks that could not be evaluated, a line each.
        failed: what stops it, a line each.
        folder: of the result.
        advice: what the user can do.

    Raises:
        StoppedError: there is a line in ``failed``.
        BrokenExpectationError: there is one in ``broken``.
    """
    details = f"Details: {folder / DOCS}"
    if broken:
        lines = "\n".join(f"  {line}" for line in broken)
        raise BrokenExpectationError(f"{len(broken)} checks could not be evaluated:\n{lines}\n{details}")
    if failed:
        lines = "\n".join(f"  {line}" for line in failed)
        raise StoppedError(f"Validation stopped the {what}. Failed expectations:\n{lines}\n{details}\n{advice}")
