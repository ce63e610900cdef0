import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import urlparse

import great_expectations.expectations as gxe
import pandas as pd
import pytest

from evergreen.stream.data_docs import write_data_docs
from evergreen.stream.suites import Check, run_suite

HOSTILE = "<script>alert('x')</script>"


def frame():
    return pd.DataFrame(
        {
            "name": pd.Series(["a", None, HOSTILE, "b"], dtype=object),
            "kind": ["x", "y", "x", "z"],
            "size": [3.0, 1.0, 2.0, 4.0],
        }
    ).set_index(pd.Index([10, 11, 12, 13]))


def checks():
    return [
        Check("order", "dataset", gxe.ExpectColumnValuesToBeIncreasing(column="size")),
        Check("strange name", "row", gxe.ExpectColumnValuesToBeInSet(column="name", value_set=["a", "b"], mostly=0.5)),
        Check("lost column", "row", gxe.ExpectColumnValuesToBeNull(column="nowhere")),
        Check(
            "named x",
            "row",
            gxe.ExpectColumnValuesToBeNull(column="name", row_condition='kind == "x"', condition_parser="pandas"),
        ),
        Check("mean", "dataset", gxe.ExpectColumnMeanToBeBetween(column="size", min_value=0, max_value=2)),
        Check("columns", "dataset", gxe.ExpectTableColumnsToMatchOrderedList(column_list=["name", "kind", "size"])),
    ]


@pytest.fixture(scope="module")
def finished():
    return run_suite("things", checks(), frame())


def test_outcomes_come_in_the_order_of_the_checks_with_the_positions_of_bad_rows(finished):
    assert [(o.check, o.success, o.rows) for o in finished.outcomes] == [
        ("order", False, (1,)),
        ("strange name", True, (2,)),
        ("lost column", False, ()),
        ("named x", False, (0, 2)),
        ("mean", False, ()),
        ("columns", True, ()),
    ]


def test_counts_shares_and_limits_are_plain_numbers(finished):
    strange = finished.outcomes[1]
    assert (strange.unexpected_count, strange.limit) == (1, 0.5)
    assert strange.unexpected_fraction == pytest.approx(1 / 3)  # of the names that are there
    assert finished.outcomes[4].observed == 2.5
    summaries = [outcome.summary() for outcome in finished.outcomes]
    assert json.loads(json.dumps(summaries, allow_nan=False)) == summaries


def test_a_check_that_cannot_be_evaluated_is_broken_and_bad_data_is_not(finished):
    assert [o.check for o in finished.outcomes if o.broken] == ["lost column"]
    assert "nowhere" in finished.outcomes[2].broken
    assert "broke" in finished.outcomes[2].message()


def test_messages_say_what_where_and_how_much(finished):
    assert (
        finished.outcomes[3]
        .message()
        .startswith("things: named x (name): 2 unexpected, 100.00%, allowed 0.00%; found ['a',")
    )


def test_a_run_writes_no_file_and_says_nothing(tmp_path, monkeypatch, capfd):
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run_suite("things", checks()[:2], frame())
    assert list(tmp_path.rglob("*")) == []
    assert capfd.readouterr() == ("", "")


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.targets = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.targets += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


def docs(folder, run):
    folder.mkdir()
    write_data_docs(folder, "Things", [run], {"rows": 4, HOSTILE: HOSTILE}, [f"failed: {HOSTILE}"])
    return {page.name: page.read_text() for page in folder.iterdir()}


def test_pages_need_no_network_and_run_no_script(finished, tmp_path):
    pages = docs(tmp_path / "docs", finished)
    assert sorted(pages) == ["index.html", "suite-things.html"]
    for text in pages.values():
        found = Links()
        found.feed(text)
        assert found.tags.isdisjoint({"script", "link", "iframe", "img", "object", "embed", "base"})
        assert all(not urlparse(target).netloc and (tmp_path / "docs" / target).is_file() for target in found.targets)
        assert "url(" not in text
        assert "@import" not in text


def test_what_the_data_say_is_shown_as_text(finished, tmp_path):
    pages = docs(tmp_path / "docs", finished)
    for text in pages.values():
        assert HOSTILE not in text
        assert "&lt;script&gt;alert" in text


def test_pages_show_each_expectation_with_its_status(finished, tmp_path):
    page = docs(tmp_path / "docs", finished)["suite-things.html"]
    assert page.count("fa-check-circle") == 2 + 1  # once in the style
    assert page.count("fa-times") == 3 + 1
    assert page.count("fa-exclamation-triangle") == 1 + 1
    assert "values must be greater than or equal to previous values" in page


def test_the_same_results_make_the_same_pages(finished, tmp_path):
    again = run_suite("things", checks(), frame())
    assert docs(tmp_path / "one", finished) == docs(tmp_path / "two", again)


@pytest.mark.slow
def test_the_pages_do_not_depend_on_the_hash_seed(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import test_suites as t;"
        "evaluable = [check for check in t.checks() if check.name != 'lost column'];"
        "t.docs(Path(sys.argv[2]), t.run_suite('things', evaluable, t.frame()))"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", script, os.path.dirname(__file__), str(tmp_path / seed)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
    for page in (tmp_path / "1").iterdir():
        assert page.read_bytes() == (tmp_path / "2" / page.name).read_bytes()
