"""Sources of logs: kinds of files, tables of databases, and types of columns."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from evergreen.errors import BadInputError
from evergreen.process.event_log import NO_TIME, collect
from evergreen.process.log_source import SourceConfig, open_log

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(folder, **source):
    return collect(open_log(SourceConfig.read(source, "source"), folder).batches(lambda _: None))


def cells(log):
    table = log.names(range(len(log)))
    return [table[name].to_pylist() for name in ("case_id", "activity", "resource")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([NOON], pa.timestamp("ns", "UTC")), NOON),
        (pa.array([NOON.astimezone(timezone(timedelta(hours=3)))], pa.timestamp("ms", "Asia/Aden")), NOON),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("s")), NOON),
        (pa.array([date(2026, 3, 1)]), NOON.replace(hour=0)),
        (pa.array(["2026-03-01 12:00"]), NOON),
        (pa.array([int(NOON.timestamp()) * 1000]), NOON),
        (pa.array(["noon"]), None),
        (pa.array([None], pa.timestamp("us")), None),
        (pa.nulls(1), None),
    ],
)
def test_times_of_any_type_become_utc(tmp_path, values, expected):
    pq.write_table(pa.table({"case": [1], "activity": ["A"], "time": values}), tmp_path / "log.parquet")
    found = int(read(tmp_path, log="log.parquet").time_us[0])
    assert found == (NO_TIME if expected is None else round(expected.timestamp() * 1e6))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([7, 8]), ["7", "8"]),
        (pa.array([7.0, None]), ["7", None]),
        (pa.array([7.5, 8.0]), ["7.5", "8"]),
        (pa.array(["a", " "]), ["a", None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    ],
)
def test_names_of_any_type_become_text(tmp_path, values, expected):
    table = pa.table({"case": values, "activity": ["A", "B"], "time": [NOON, NOON]})
    pq.write_table(table, tmp_path / "log.parquet")
    assert cells(read(tmp_path, log="log.parquet"))[0] == expected


def test_a_table_of_a_database_is_read_in_its_order(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("create table events (n integer, case_id text, activity text, at text, who text)"))
        rows = [
            {"n": n, "c": f"c{n % 2}", "a": f"a{n}", "t": f"2026-03-0{5 - n}T00:00:00Z", "w": "r"} for n in range(4)
        ]
        connection.execute(sa.text("insert into events values (:n, :c, :a, :t, :w)"), rows[::-1])
    source = {"database": str(engine.url), "table": "events", "order_by": ["n"]}
    log = read(tmp_path, **source, columns={"timestamp": "at", "resource": "who"})
    assert cells(log) == [["c0", "c1", "c0", "c1"], ["a0", "a1", "a2", "a3"], ["r"] * 4]
    with pytest.raises(BadInputError, match="Table events has no column that looks like timestamp"):
        read(tmp_path, **source)
    with pytest.raises(BadInputError, match="There is no table 'gone'"):
        read(tmp_path, **{**source, "table": "gone"})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"log": "gone.csv"}, "gone.csv is no file. Name the event log with --log"),
        ({"log": "notes.docx"}, r"notes\.docx is of no known kind. Expected \.xes, \.xes\.gz, \.csv"),
        ({}, "one source is needed"),
        ({"log": "a.csv", "table": "t"}, "one source is needed"),
        ({"table": "t"}, "a table needs its database and order_by"),
        ({"topic": "t"}, "a topic needs brokers"),
        ({"log": "notes.docx", "separator": "ab"}, "separator"),
    ],
)
def test_sources_that_cannot_be_are_refused(tmp_path, source, message):
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(BadInputError, match=message):
        read(tmp_path, **source)


def test_a_damaged_parquet_file_is_refused(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(BadInputError, match="cannot be read as Parquet"):
        read(tmp_path, log="log.parquet")


def test_progress_is_told_up_to_the_total(tmp_path):
    text = "case,activity,time\n" + "c,A,2026-03-01\n" * 5
    xes = '<log><trace><string key="concept:name" value="c"/></trace></log>'
    (tmp_path / "log.csv").write_text(text)
    (tmp_path / "log.xes").write_text(xes)
    pq.write_table(pa.table({"case": [1], "activity": ["A"], "time": [NOON]}), tmp_path / "log.parquet")
    for name in ("log.csv", "log.xes", "log.parquet"):
        told = []
        reader = open_log(SourceConfig(log=Path(name)), tmp_path)
        list(reader.batches(told.append))
        assert told[-1] == reader.total, name
