"""What every validation ends with, whatever was validated."""

from pathlib import Path

import pytest

from evergreen.errors import EvergreenError, StoppedError
from evergreen.files import read_json
from evergreen.stream.suites import BrokenExpectationError
from evergreen.stream.validation_result import DOCS, check_counts, facts_of, stop, write_result

SUMMARY = {"rows_read": 10, "rows_accepted": 7, "rows_quarantined": 3, "reasons": {"too dark": 3}, "failed": ["dim"]}


def test_a_lost_row_is_a_defect() -> None:
    check_counts(SUMMARY, 3)
    for quarantined in (2, 4):
        with pytest.raises(EvergreenError, match=rf"7 accepted \+ {quarantined} quarantined are not the 10 rows read"):
            check_counts(SUMMARY, quarantined)


def test_facts_name_the_rows_and_the_reasons() -> None:
    assert facts_of(SUMMARY) == {"read": 10, "accepted": 7, "quarantined": 3, "refused: too dark": 3}
    assert list(facts_of(SUMMARY, "lines"))[:3] == ["lines read", "lines accepted", "lines quarantined"]


def test_result_and_docs_are_written(tmp_path: Path) -> None:
    write_result(tmp_path / "found", "Validation of things", [], SUMMARY, facts_of(SUMMARY))
    assert read_json(tmp_path / "found" / "result.json") == SUMMARY
    docs = (tmp_path / "found" / DOCS).read_text()
    assert "Stopped" in docs
    assert "too dark" in docs


def test_a_broken_check_comes_before_a_failed_one_and_nothing_stops_without_either(tmp_path: Path) -> None:
    stop("stream", (), (), tmp_path, "Mend it.")
    with pytest.raises(
        StoppedError, match=r"(?s)stopped the stream.*  a\n  b\nDetails: .*index\.html\nMend it\."
    ) as stopped:
        stop("stream", (), ("a", "b"), tmp_path, "Mend it.")
    assert stopped.value.exit_code == 2
    with pytest.raises(BrokenExpectationError, match=r"(?s)1 checks could not be evaluated:\n  c\nDetails") as broken:
        stop("stream", ("c",), ("a", "b"), tmp_path, "Mend it.")
    assert broken.value.exit_code == 1
