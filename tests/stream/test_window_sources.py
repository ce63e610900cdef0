"""Sources: what they read, what they refuse, and that reading goes on after any record."""

import gzip
import json
import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.stream.ledger import Ledger
from evergreen.stream.records import Columns
from evergreen.stream.sources.ahead import read_ahead
from evergreen.stream.sources.folder import FolderSource
from evergreen.stream.sources.source import Piece
from evergreen.stream.sources.table import TableSource
from evergreen.stream.sources.topic import TopicSource, read_messages
from evergreen.stream.window_stream import StreamConfig, run_windows

START = datetime(2026, 3, 1, tzinfo=UTC)
HEADER = "id,timestamp,amount,note\n"
CONFIG = StreamConfig(columns=Columns(id="id"), windows={"size": "1h", "duplicates": ("id",)})


def read_all(source, positions=None):
    """Rows, texts of those that could not be read, and where each split goes on after each row."""
    rows, raws, places = [], [], []
    for item in source.read(positions or {}):
        if isinstance(item, Piece):
            rows += item.batch.to_pylist()
            raws += [None] * item.batch.num_rows if item.raw is None else item.raw.to_pylist()
            places += [(item.split, item.after(count)) for count in range(1, item.batch.num_rows + 1)]
    return rows, raws, places


def goes_on_after_every_row(make):
    """A source read again from after its k-th row gives the rest, for every k."""
    source = make()
    rows, raws, places = read_all(source)
    for count in range(1, len(rows) + 1):
        positions = dict(places[:count])  # of each split the last one
        left_rows, left_raws, _ = read_all(make(), json.loads(json.dumps(positions)))
        assert (left_rows, left_raws) == (rows[count:], raws[count:])
    return rows, raws


# CSV


def test_csv_lines_and_cells_that_do_not_fit_are_told(tmp_path):
    lines = ["1,2026-03-01T10:00Z,1.5,fine", "2,2026-03-01T11:00Z,abc,bad cell", "3,too,many,cells,here"]
    lines += ["4,2026-03-01T12:00Z,,NA", "few,cells", '5,soon,2.5,"a, quoted ""one"""']
    (tmp_path / "a.csv").write_text(HEADER + "\n".join(lines) + "\n")
    make = lambda: FolderSource(tmp_path, {"amount": "double"})  # noqa: E731
    rows, raws = goes_on_after_every_row(make)
    assert make().schema.types == [pa.int64(), pa.string(), pa.float64(), pa.string()]
    assert [row["amount"] for row in rows] == [1.5, None, None, 2.5, None, None]
    assert [row["note"] for row in rows] == ["fine", "bad cell", "NA", 'a, quoted "one"', None, None]
    assert raws == [None, "amount: 'abc' is no double", None, None, "3,too,many,cells,here", "few,cells"]
    summary = run_windows(make(), tmp_path / "out", CONFIG)
    assert (summary.read, summary.accepted) == (6, 2)
    assert summary.quarantined == {"malformed": 3, "no_time": 1}
    aside = pq.read_table(tmp_path / "out" / "quarantine" / "00000001.parquet").to_pylist()
    assert {row["quarantine_raw"] for row in aside} == {*raws}
    assert {row["timestamp"] for row in aside if row["quarantine_reason"] == "no_time"} == {"soon"}


def test_csv_may_be_compressed_and_in_folders(tmp_path):
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "b.csv").write_text(HEADER + "2,2026-03-01T11:00Z,2,x\n")
    (tmp_path / "1.csv.gz").write_bytes(gzip.compress((HEADER + "1,2026-03-01T10:00Z,1,x\n").encode()))
    (tmp_path / ".c.csv.part").write_text("not yet")
    (tmp_path / "_hidden.csv").write_text("not meant")
    rows, _ = goes_on_after_every_row(lambda: FolderSource(tmp_path))
    assert [row["id"] for row in rows] == [1, 2]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no"),
        ({"a.csv": HEADER, "b.parquet": ""}, "holds Parquet and CSV"),
        ({"a.parquet": "nonsense"}, "cannot be read as Parquet"),
        ({"a.csv": HEADER + "1,2,3,4\n", "b.csv": "id,when\n1,2\n"}, r"b\.csv has the columns id, when; expected id"),
    ],
)
def test_folders_that_hold_no_stream_are_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_all(FolderSource(tmp_path))


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="is no folder"):
        FolderSource(tmp_path / "gone")


# Parquet


def test_parquet_goes_on_after_any_row_of_any_row_group(tmp_path):
    for number in range(3):
        table = pa.table({"id": range(number * 7, number * 7 + 7), "timestamp": [START] * 7})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=3)
    rows, _ = goes_on_after_every_row(lambda: FolderSource(tmp_path))
    assert [row["id"] for row in rows] == list(range(21))


def test_parquet_types_that_fit_without_loss_are_cast_and_others_refused(tmp_path):
    pq.write_table(pa.table({"id": pa.array([1], pa.int64())}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"id": pa.array([2], pa.int32())}), tmp_path / "1.parquet")
    assert [row["id"] for row in read_all(FolderSource(tmp_path))[0]] == [1, 2]
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "2.parquet")
    with pytest.raises(BadInputError, match="not all values fit"):
        read_all(FolderSource(tmp_path))
    pq.write_table(pa.table({"other": [1]}), tmp_path / "2.parquet")
    with pytest.raises(BadInputError, match=r"missing \['id'\], new \['other'\]"):
        read_all(FolderSource(tmp_path))


def test_reading_ahead_keeps_order_and_errors():
    def items():
        yield from range(50)
        raise ValueError("at the end")

    ahead = read_ahead(items())
    assert [next(ahead) for _ in range(50)] == list(range(50))
    with pytest.raises(ValueError, match="at the end"):
        next(ahead)
    before = threading.active_count()
    ahead = read_ahead(iter(range(1000)))
    assert [next(ahead) for _ in range(5)] == list(range(5))
    ahead.close()
    assert threading.active_count() == before


# Tables


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of a database of each kind, empty of tables named `sales`."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    url = request.getfixturevalue("postgres_url")
    yield url
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in sa.inspect(connection).get_table_names():
            connection.execute(sa.text(f"DROP TABLE {table}"))
    engine.dispose()


def fill(url, rows):
    engine = sa.create_engine(url)
    table = sa.Table(
        "sales",
        sa.MetaData(),
        sa.Column("serial", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(10)),
        sa.Column("timestamp", sa.DateTime(timezone=True)),
        sa.Column("amount", sa.Float),
    )
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(table), rows)
    engine.dispose()


def sales(numbers):
    return [
        {"serial": n, "id": f"s{n}", "timestamp": START + timedelta(minutes=7 * n), "amount": n / 4} for n in numbers
    ]


def test_a_table_is_read_from_where_the_last_run_ended(database, tmp_path, monkeypatch):
    monkeypatch.setattr("evergreen.stream.sources.table.BATCH", 7)
    fill(database, sales(range(1, 31)))
    make = lambda: TableSource(database, "sales", ["serial"])  # noqa: E731
    rows, _ = goes_on_after_every_row(make)
    assert [row["id"] for row in rows] == [f"s{n}" for n in range(1, 31)]
    first = run_windows(make(), tmp_path / "out", CONFIG, more=True)
    fill(database, sales(range(31, 61)))
    second = run_windows(make(), tmp_path / "out", CONFIG)
    assert (first.read, second.read, second.accepted) == (30, 60, 60)
    run_windows(make(), tmp_path / "once", CONFIG)
    names = [sorted(path.name for path in (tmp_path / run / "windows").iterdir()) for run in ("out", "once")]
    assert names[0] == names[1]
    assert len(names[0]) == 8  # 7 hours and a bit


def test_a_table_ordered_by_time_and_id(database):
    rows = sales(range(1, 20))
    for row in rows:
        row["timestamp"] = START + timedelta(minutes=row["serial"] // 4)
    fill(database, rows)
    found, _ = goes_on_after_every_row(lambda: TableSource(database, "sales", ["timestamp", "id"]))
    assert [row["id"] for row in found] == [row["id"] for row in sorted(rows, key=lambda r: (r["timestamp"], r["id"]))]


def test_odd_values_in_a_table_are_set_aside(tmp_path):
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    fill(url, sales(range(1, 4)))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE sales SET amount = 'a lot' WHERE serial = 2"))
        connection.execute(sa.text("UPDATE sales SET timestamp = 'yesterday' WHERE serial = 3"))
    summary = run_windows(TableSource(url, "sales", ["serial"]), tmp_path / "out", CONFIG)
    assert summary.quarantined == {"malformed": 1, "no_time": 1}


def test_tables_that_hold_no_stream_are_refused(database, tmp_path):
    fill(database, sales(range(1, 4)))
    with pytest.raises(BadInputError, match=r"no table 'sale'\. Tables: .*sales"):
        TableSource(database, "sale", ["serial"])
    with pytest.raises(BadInputError, match="no column 'number'"):
        TableSource(database, "sales", ["number"])
    fill(database, [{"serial": 9, "id": None, "timestamp": None, "amount": 1.0}])
    with pytest.raises(BadInputError, match="1 rows of table 'sales' have no value in timestamp"):
        TableSource(database, "sales", ["timestamp", "id"])
    with pytest.raises(BadInputError, match="no database URL"):
        TableSource("no://where", "sales", ["serial"])


def test_partitions_share_a_ledger(database, tmp_path):
    fill(database, sales(range(1, 31)))
    ledger = database if database.startswith("postgresql") else f"sqlite:///{tmp_path / 'ledger.db'}"
    for number in range(2):
        config = StreamConfig(columns=Columns(id="id", key="id"), share={"number": number, "of": 2})
        source = TableSource(database, "sales", ["serial"])
        run_windows(source, tmp_path / str(number), config, ledger_url=ledger)
        entries = Ledger(ledger, config.stream)
        assert entries.window_ids() == {path.stem for path in (tmp_path / str(number) / "windows").iterdir()}
        entries.close()


# Topics


def produce(brokers, topic, values, partitions=2):
    """One message after the other: round-robin, or where a value says (partition, value)."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    if topic not in admin.list_topics(timeout=10).topics:
        for future in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
            future.result()
    # batches of one: the broker used here reports the end of a partition as the last batch's first offset plus one
    producer = Producer({"bootstrap.servers": brokers, "batch.num.messages": 1, "linger.ms": 0, "log_level": 0})
    for number, value in enumerate(values):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(topic, data, partition=number % partitions)
    assert producer.flush(30) == 0


def messages(numbers):
    return [{"id": n, "timestamp": f"{START + timedelta(minutes=n):%Y-%m-%dT%H:%MZ}", "amount": n / 4} for n in numbers]


def test_a_topic_is_read_once_and_its_offsets_are_committed_after_the_windows(brokers, tmp_path):
    produce(brokers, "sales", messages(range(300)))
    committed = []

    class Watched(TopicSource):
        def durable(self, positions):
            ledger = Ledger(f"sqlite:///{tmp_path / 'out' / 'ledger.db'}", "stream")
            committed.append((dict(positions), ledger.checkpoint().state["positions"]["splits"]))
            ledger.close()
            super().durable(positions)

    def run(more):
        source = Watched(brokers, "sales", "shop")
        try:
            return run_windows(source, tmp_path / "out", CONFIG, more=more)
        finally:
            source.close()

    first = run(more=True)
    assert first.read == 300
    produce(brokers, "sales", messages(range(300, 400)))
    second = run(more=False)
    assert (second.read, second.accepted, second.windows) == (400, 400, 7)
    assert committed[-1] == ({"0": 200, "1": 200}, {"0": 200, "1": 200})
    rows = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "out" / "windows").iterdir()])
    assert sorted(rows["id"].to_pylist()) == list(range(400))
    source = TopicSource(brokers, "sales", "shop")
    asked = source._starts({})  # a stream without a checkpoint begins where the group is
    source.close()
    assert asked == {0: 200, 1: 200}


def test_partitions_wait_for_the_slowest_one(brokers, tmp_path):
    """Each partition is in order, one of them an hour behind: nothing is late."""
    rows = messages(range(240))
    interleaved = [row for pair in zip(rows[:120], rows[120:], strict=True) for row in pair]
    produce(brokers, "uneven", interleaved)
    source = TopicSource(brokers, "uneven", "group")
    summary = run_windows(source, tmp_path, CONFIG)
    source.close()
    assert (summary.accepted, summary.windows, summary.corrections) == (240, 4, 0)


def test_messages_that_are_no_records_are_set_aside(brokers, tmp_path):
    values = [*messages(range(4)), b"{broken", b"[1]", {"id": "x", "timestamp": 5, "amount": 1}, b"\n", *messages([9])]
    produce(brokers, "odd", values, partitions=1)
    schema = pa.schema([("id", pa.int64()), ("timestamp", pa.string()), ("amount", pa.float64())])
    source = TopicSource(brokers, "odd", "group", schema=schema)
    summary = run_windows(source, tmp_path, CONFIG)
    source.close()
    assert (summary.read, summary.accepted, summary.quarantined) == (9, 5, {"malformed": 4})
    aside = pq.read_table(tmp_path / "quarantine" / "00000001.parquet")["quarantine_raw"].to_pylist()
    assert aside == ["{broken", "[1]", "id: 'x' is no int64", "\n"]


def test_brokers_and_topics_that_are_not_there_are_refused(brokers, monkeypatch):
    monkeypatch.setattr("evergreen.stream.sources.topic.CONNECT_SECONDS", 1.0)
    with pytest.raises(BadInputError, match="has no topic 'nothing'"):
        TopicSource(brokers, "nothing", "group")
    with pytest.raises(BadInputError, match="No Kafka broker answers"):
        TopicSource("127.0.0.1:1", "sales", "group")


VALUES = st.one_of(st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.none())


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "amount", "note", "more"]), VALUES).map(lambda v: json.dumps(v).encode())
        | st.sampled_from([b"", b"\n", b"{", b"[]", b'{"id": 1}\n', b'{"id": 1} {"id": 2}', b"\xff"]),
        max_size=8,
    )
)
def test_messages_are_read_as_one_by_one(values):
    schema = pa.schema([("id", pa.int64()), ("amount", pa.float64()), ("note", pa.string())])
    batch, raw = read_messages(values, schema)
    single = [read_messages([value], schema) for value in values]
    assert batch.num_rows == len(values)
    assert batch.to_pylist() == [row for part, _ in single for row in part.to_pylist()]
    texts = [None] * len(values) if raw is None else raw.to_pylist()
    assert texts == [note.to_pylist()[0] if note is not None else None for _, note in single]
