"""CSV logs: separators, encodings, broken lines and the numbers of rows."""

import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.process import csv_log
from evergreen.process.csv_log import CsvLog
from evergreen.process.event_log import collect

HEADER = "case,activity,timestamp,resource\n"
TIME = "2026-03-01T10:00:00Z"
GOOD = HEADER + f"c,A,{TIME},Ann\n" * 3


def read(path, content, named=None, **rules):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return collect(CsvLog(path, named or {}, **rules).batches(lambda _: None))


def names(log):
    table = log.names(range(len(log)))
    return list(zip(*(table[name].to_pylist() for name in ("case_id", "activity", "resource")), strict=True))


@given(
    st.lists(st.sampled_from(["good", "short", "long", "two lines"]), min_size=1, max_size=60),
    st.integers(80, 200),
)
@settings(max_examples=60, deadline=None)
def test_every_line_is_a_row_with_its_own_number(tmp_path_factory, kinds, block):
    lines = {
        "good": "c{0},A,2026-03-01,r",
        "short": "c{0},A",
        "long": "c{0},A,2026-03-01,r,more",
        "two lines": '"c\n{0}",A,2026-03-01,r',
    }
    text = HEADER + "".join(lines[kind].format(number) + "\n" for number, kind in enumerate(kinds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_log, "BLOCK", block)
        log = read(tmp_path_factory.mktemp("csv") / "log.csv", text)
    expected = [{"good": f"c{n}", "two lines": f"c\n{n}"}.get(kind) for n, kind in enumerate(kinds)]
    assert [case for case, _, _ in names(log)] == expected
    assert log.malformed.tolist() == [kind in ("short", "long") for kind in kinds]
    assert all(log.unread[row].startswith(f"c{row},A") for row in log.malformed.nonzero()[0])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_that_the_header_has_most_of(tmp_path, separator):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerows([["case", "activity", "timestamp", "note"], ["c", "A, then; B", TIME, "x"]])
    assert names(read(tmp_path / "l.csv", file.getvalue())) == [("c", "A, then; B", None)]


def test_a_separator_may_be_named(tmp_path):
    assert names(read(tmp_path / "l.csv", GOOD.replace(",", "#"), separator="#"))[0] == ("c", "A", "Ann")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_that_the_first_bytes_name_are_found(tmp_path, encoding):
    text = GOOD.replace("Ann", "Zoë")
    assert names(read(tmp_path / "l.csv", text.encode(encoding)))[0] == ("c", "A", "Zoë")


def test_other_encodings_must_be_named(tmp_path):
    content = GOOD.replace("Ann", "Zoë").encode("latin-1")
    with pytest.raises(BadInputError, match=r"not in the encoding utf-8.*--encoding latin-1"):
        read(tmp_path / "l.csv", content)
    assert names(read(tmp_path / "l.csv", content, encoding="latin-1"))[0] == ("c", "A", "Zoë")
    with pytest.raises(BadInputError, match="no encoding 'klingon'"):
        read(tmp_path / "l.csv", content, encoding="klingon")
    with pytest.raises(BadInputError, match="not in the encoding ascii"):
        read(tmp_path / "l.csv", content, encoding="ascii")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n1,2\n", r"looks like case_id or activity or timestamp. It has: a, b. Say which is which, e.g. --column"),
        ("case,activity\n1,2\n", r"looks like timestamp. It has: case, activity"),
        (GOOD.replace("resource", "case"), "two columns 'case'"),
    ],
)
def test_files_that_are_no_log_are_refused(tmp_path, content, message):
    with pytest.raises(BadInputError, match=message):
        read(tmp_path / "l.csv", content)


@pytest.mark.parametrize("kept", [40, 200_000])
def test_a_truncated_gzip_is_refused(tmp_path, kept):
    lines = "".join(f"c{n * 7919 % 100_003},a{n * 31 % 97},{TIME},r{n * 17 % 1_009}\n" for n in range(100_000))
    content = gzip.compress((HEADER + lines).encode())
    assert len(content) > kept
    with pytest.raises(BadInputError, match=r"log\.csv\.gz (ends in the middle|cannot be read)"):
        read(tmp_path / "log.csv.gz", content[:kept])


def test_a_header_alone_has_no_rows(tmp_path):
    assert len(read(tmp_path / "l.csv", HEADER)) == 0


def test_columns_are_found_by_known_names_or_named(tmp_path):
    text = GOOD.replace("case,activity,timestamp,resource", "Case ID,Activity,Complete Timestamp,Resource")
    assert names(read(tmp_path / "l.csv", text))[0] == ("c", "A", "Ann")
    text = GOOD.replace("case,activity,timestamp,resource", "a,b,c,d")
    named = {"case_id": "d", "activity": "b", "timestamp": "c"}
    assert names(read(tmp_path / "l.csv", text, named))[0] == ("Ann", "A", None)
