"""The whole step over small logs: what is kept, what is refused and why, and what stops."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BadInputError, StoppedError
from evergreen.process.event_log import EVENT_SCHEMA
from evergreen.process.ingest import run

START = datetime(2026, 3, 1, tzinfo=UTC)


def csv(events, header="case,activity,timestamp,resource"):
    """(case, activity, minutes or text, resource) each, as the lines of a file."""
    cells = [
        [case, name, START + timedelta(minutes=at) if isinstance(at, int) else at, who]
        for case, name, at, who in events
    ]
    return "\n".join([header, *(",".join(str(cell) for cell in row) for row in cells)]) + "\n"


def good(cases=30):
    return [(f"c{n}", name, 60 * n + at, "r") for n in range(cases) for at, name in ((0, "A"), (7, "B"), (9, "C"))]


def ingest(folder, text, mode="default", source=None, **validate):
    (folder / "log.csv").write_text(text)
    params = {"source": {"log": "log.csv", **(source or {})}, "validate": validate, "online": {"mode": mode}}
    run(folder, params)
    return results(folder)


def results(folder):
    data = folder / "data" / "process"
    read = lambda name: json.loads((data / name).read_text())  # noqa: E731
    events = pq.read_table(data / "events.parquet") if (data / "events.parquet").exists() else None
    aside = pq.read_table(data / "quarantine" / "events.parquet").to_pylist()
    return events, aside, read("validation/result.json"), read("metrics/ingest.json") if events is not None else None


def test_a_log_in_any_order_comes_out_in_time_with_its_own_rows(tmp_path):
    given = good()[::-1]
    events, aside, result, metrics = ingest(tmp_path, csv(given))
    assert events.schema == EVENT_SCHEMA
    assert aside == []
    rows = events.to_pylist()
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    for row in rows:
        case, name, minutes, who = given[row["event_index"]]
        assert (row["case_id"], row["activity"], row["resource"]) == (case, name, who)
        assert row["timestamp"] == START + timedelta(minutes=minutes)
    back = next(check for check in result["expectations"] if check["check"] == "time running backwards")
    assert (back["unexpected_count"], back["success"]) == (60, True)
    assert metrics["log"]["variants"] == 1
    assert metrics["log"]["mean_length"] == 3


def test_events_of_one_time_keep_the_order_of_the_file(tmp_path):
    events, *_ = ingest(tmp_path, csv([(f"c{n % 3}", f"a{n % 7}", n // 10, "r") for n in range(60)]))
    assert events["event_index"].to_pylist() == list(range(60))


BAD = [
    ("", "A", 1, "r", "missing case"),
    ("  ", "A", 1, "r", "missing case"),
    ("c", "", 1, "r", "missing activity"),
    ("c", "A", "", "r", "broken time stamp"),
    ("c", "A", "yesterday", "r", "broken time stamp"),
    ("c", "A", "0202-03-01T00:00:00Z", "r", "implausible time"),
    ("c0", "A", 0, "r", "duplicate event"),
    ("c", "A,B", 1, "r", "unreadable row"),
]


def test_bad_rows_are_refused_with_reasons_and_nothing_is_lost(tmp_path):
    given = [*good(), *[row[:4] for row in BAD]]
    events, aside, result, metrics = ingest(tmp_path, csv(given))
    assert [row["event_index"] for row in aside] == list(range(90, 98))
    assert [row["reason"] for row in aside] == [row[4] for row in BAD]
    assert aside[4]["timestamp"] == "yesterday"
    assert aside[5]["timestamp"].startswith("0202-03-01")
    assert aside[7]["row_text"].startswith("c,A,B,")
    assert sorted(events["event_index"].to_pylist()) == list(range(90))
    assert (metrics["read"], metrics["accepted"], metrics["quarantined"]) == (98, 90, 8)
    assert (result["rows_read"], result["rows_accepted"], result["rows_quarantined"]) == (98, 90, 8)
    assert result["passed"]
    assert (tmp_path / "data/process/validation/docs/index.html").exists()


def test_published_mode_reports_and_leaves_out_only_what_cannot_be_used(tmp_path):
    events, aside, result, metrics = ingest(
        tmp_path, csv([*good(), *[row[:4] for row in BAD]]), "published", max_quarantined_fraction=0
    )
    kept = [90 + number for number, row in enumerate(BAD) if row[4] in ("duplicate event", "implausible time")]
    assert sorted(events["event_index"].to_pylist()) == [*range(90), *kept]
    assert len(events) + len(aside) == metrics["read"] == 98
    assert {line.split(":")[1].strip().split(" (")[0] for line in result["failed"][:-2]} == {row[4] for row in BAD}
    assert result["failed"][-2].startswith("times that could not be understood: 'yesterday' …; expected ISO 8601")
    assert result["passed"]


def test_more_bad_rows_than_allowed_stop_and_say_which(tmp_path):
    text = csv([*good(4), *[("", "A", n, "r") for n in range(5)]])
    with pytest.raises(StoppedError, match=r"missing case \(case_id\): 5 unexpected, 29\.41%, allowed 20\.00%"):
        ingest(tmp_path, text)
    events, aside, result, _ = results(tmp_path)
    assert events is None
    assert len(aside) == 5
    assert not result["passed"]


def test_many_small_kinds_of_bad_rows_stop_together(tmp_path):
    given = [*good(10), *[("", "A", 1, "r")] * 3, *[("c", "", 1, "r")] * 3, *[("c", "A", "x", "r")] * 3]
    with pytest.raises(StoppedError, match=r"9 of 39 events refused, at most 20\.00% allowed"):
        ingest(tmp_path, csv(given))


def test_times_that_cannot_be_understood_are_shown(tmp_path):
    with pytest.raises(
        StoppedError, match=r"not be understood: '31\.12\.2026 10:00', '31\.12\.2026 10:00', .* ISO 8601"
    ):
        ingest(tmp_path, csv([("c", "A", "31.12.2026 10:00", "r")] * 9))


def test_an_exploding_number_of_activities_stops(tmp_path):
    given = [(f"c{n % 50}", f"order {n}", n, "r") for n in range(400)]
    with pytest.raises(StoppedError, match="exploding number of activities: found 400"):
        ingest(tmp_path, csv(given))
    ingest(tmp_path, csv(given), max_activity_fraction=1)


def test_five_thousand_activities_are_taken_where_there_are_events_enough(tmp_path):
    events, *_ = ingest(tmp_path, csv([(f"c{n % 500}", f"a{n % 5_000}", n, "r") for n in range(50_000)]))
    assert len(set(events["activity"].to_pylist())) == 5_000


def test_no_row_that_can_be_used_stops_in_both_modes(tmp_path):
    for mode in ("default", "published"):
        with pytest.raises(StoppedError, match="no event was accepted"):
            ingest(tmp_path, csv([("", "A", 1, "r")] * 3), mode)


@pytest.mark.parametrize(
    "events",
    [
        [("c", "A", 1, "r")],
        [("c", f"a{n % 3}", n, "r") for n in range(40)],
        [(f"c{n}", "A", n, "r") for n in range(40)],
        [("c", f"a{n % 9}", n, "r") for n in range(10_000)],
    ],
    ids=["one event", "one case", "one activity", "a case of 10,000 events"],
)
def test_small_and_odd_logs_are_taken_in(tmp_path, events):
    found, *_, metrics = ingest(tmp_path, csv(events))
    assert len(found) == len(events)
    assert metrics["log"]["traces"] == len({event[0] for event in events})


def test_a_log_without_events_says_so(tmp_path):
    with pytest.raises(BadInputError, match=r"log\.csv holds no event"):
        ingest(tmp_path, csv([]))


def test_a_second_run_writes_the_same_bytes(tmp_path):
    def content():
        ingest(tmp_path, csv([*good(), *[row[:4] for row in BAD]]))
        files = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file() and "timing" not in path.name)
        return {path: path.read_bytes() for path in files}

    assert content() == content()


def test_a_file_that_has_changed_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="has changed: its SHA-256 is"):
        ingest(tmp_path, csv(good()), source={"sha256": "0" * 64})


def test_unknown_parameters_and_sources_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="one source is needed"):
        run(tmp_path, {"source": {}})
    with pytest.raises(BadInputError, match="Known keys: log"):
        run(tmp_path, {"source": {"file": "x"}})
    with pytest.raises(BadInputError, match="no such time zone"):
        run(tmp_path, {"source": {"log": "x", "timezone": "Mars"}})


def test_the_same_log_is_the_same_in_every_format(tmp_path):
    text = csv(good())
    table = pd.read_csv(pd.io.common.StringIO(text))
    expected, *_ = ingest(tmp_path, text)
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "log.tsv").write_text(text.replace(",", "\t"))
    pq.write_table(pa.Table.from_pandas(table), tmp_path / "log.parquet")
    for name in ("log.csv.gz", "log.tsv", "log.parquet"):
        run(tmp_path, {"source": {"log": name}})
        assert results(tmp_path)[0].equals(expected), name
