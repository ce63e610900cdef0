"""Streams on disk: exactly once, whatever is killed, and the same bytes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.errors import BadInputError, EvergreenError
from evergreen.stream.durable import DurableStream
from evergreen.stream.ledger import Ledger
from evergreen.stream.records import Columns
from evergreen.stream.sources.folder import FolderSource
from evergreen.stream.window_stream import Share, StreamConfig, run_windows

COLUMNS = Columns(id="id", key="key")
KINDS = {
    "tumbling": {"kind": "tumbling", "size": "10s"},
    "sliding": {"kind": "sliding", "size": "10s", "slide": "4s"},
    "session": {"kind": "session", "gap": "40ms"},
    "count": {"kind": "count", "rows": 130},
}


def stream_table(rows=1500, seed=0):
    """Records about 20 ms apart, out of order, with late ones, duplicates, jumps, and some without time or key."""
    rng = np.random.default_rng(seed)
    times = 1_700_000_000_000 + np.arange(rows) * 20 + rng.integers(-300, 300, rows)
    late = rng.choice(rows, rows // 30, replace=False)
    times[late] -= rng.integers(2_000, 90_000, len(late))
    times[rng.choice(rows, 7, replace=False)] += 10**11
    ids = np.arange(rows)
    again = rng.choice(np.arange(1, rows), rows // 40, replace=False)
    ids[again] = ids[again - 1]
    keys = [None if number % 211 == 210 else f"key {value}" for number, value in enumerate(rng.integers(0, 9, rows))]
    stamps = pa.array(times, mask=ids % 97 == 96).cast(pa.timestamp("ms"))
    values = {"value": rng.normal(size=rows), "note": ["né"] * rows}
    return pa.table({"id": ids, "key": keys, "timestamp": stamps, **values})


def write_folder(folder, table, files=3):
    folder.mkdir()
    size = -(-table.num_rows // files)
    for number in range(files):
        part = table.slice(number * size, size)
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=200)
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("records") / "in", stream_table())


def config_of(kind="tumbling", checkpoint_rows=400, **values):
    times = {"disorder": "500ms", "lateness": "1m", "ahead": "1d", "duplicates": ("id", "content")}
    windows = {**times, **KINDS[kind], **values}
    return StreamConfig(columns=COLUMNS, windows=windows, checkpoint_rows=checkpoint_rows)


def contents(root: Path) -> dict[str, bytes]:
    """Every file that the ledger names, and what the ledger says."""
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("windows", "corrections", "quarantine")
        for path in sorted((root / folder).iterdir())
    }
    ledger = Ledger(f"sqlite:///{root / 'ledger.db'}", "stream")
    entries = [vars(entry) for entry in ledger.windows()]
    aside = {number: [vars(entry) for entry in entries] for number, entries in ledger.aside().items()}
    checkpoint = vars(ledger.checkpoint())
    ledger.close()
    return files | {"ledger": json.dumps([entries, aside, checkpoint], sort_keys=True).encode()}


def run(folder, output, config, **options):
    return run_windows(FolderSource(folder), output, config, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_is_in_a_window_a_correction_or_the_quarantine(records, tmp_path, kind):
    table = stream_table()
    summary = run(records, tmp_path, config_of(kind))
    assert summary.read == table.num_rows == summary.accepted + sum(summary.quarantined.values())
    assert set(summary.quarantined) == {"no_time", "no_key", "ahead_of_time", "too_late", "duplicate_id"}
    aside = pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "quarantine").iterdir())])
    assert aside.num_rows == sum(summary.quarantined.values())
    windows = [pq.read_table(path) for path in sorted((tmp_path / "windows").iterdir())]
    corrections = [pq.read_table(path) for path in sorted((tmp_path / "corrections").iterdir())]
    assert summary.windows == len(windows) > 1
    assert summary.corrections == sum(part.num_rows for part in corrections) > 10
    rows = sum(window.num_rows for window in windows) + summary.corrections
    assert rows > summary.accepted if kind == "sliding" else rows == summary.accepted
    found = {value for part in [*windows, *corrections, aside] for value in part["value"].to_pylist()}
    assert found == set(table["value"].to_pylist())
    assert all((np.diff(window["timestamp"].cast(pa.int64())) >= 0).all() for window in windows)


def test_a_correction_names_its_window(records, tmp_path):
    run(records, tmp_path, config_of("tumbling"))
    names = {path.stem for path in (tmp_path / "windows").iterdir()}
    rows = [row for path in (tmp_path / "corrections").iterdir() for row in pq.read_table(path).to_pylist()]
    assert {row["window_id"] for row in rows} <= names | {None}
    assert any(row["window_id"] for row in rows)
    for row in rows:
        assert row["window_start"] <= row["timestamp"] < row["window_end"]
        if row["window_id"]:
            assert f"{row['window_start']:%Y%m%dT%H%M%SZ}-{row['window_end']:%Y%m%dT%H%M%SZ}" in row["window_id"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_run_changes_nothing(records, tmp_path, kind):
    first = run(records, tmp_path, config_of(kind))
    before = contents(tmp_path)
    assert run(records, tmp_path, config_of(kind)) == first
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_come_later_continue_the_stream(tmp_path, kind):
    table = stream_table()
    whole = write_folder(tmp_path / "whole", table)
    run(whole, tmp_path / "once", config_of(kind))
    growing = tmp_path / "growing"
    growing.mkdir()
    for name in ("0.parquet", "1.parquet", "2.parquet"):
        os.link(whole / name, growing / name)
        run(growing, tmp_path / "steps", config_of(kind), more=name != "2.parquet")
    once, steps = contents(tmp_path / "once"), contents(tmp_path / "steps")
    windows = {name for name in once if name.startswith("windows/")}
    assert windows == {name for name in steps if name.startswith("windows/")}
    assert all(once[name] == steps[name] for name in windows)


def test_the_reading_batch_does_not_matter(records, tmp_path, monkeypatch):
    run(records, tmp_path / "large", config_of("sliding"))
    monkeypatch.setattr("evergreen.stream.sources.parquet_file.BATCH", 37)
    run(records, tmp_path / "small", config_of("sliding"))
    assert contents(tmp_path / "large") == contents(tmp_path / "small")


def test_partitions_share_out_the_records(records, tmp_path):
    table, values = stream_table(), []
    for number in range(3):
        config = config_of("tumbling").model_copy(update={"share": Share(number=number, of=3)})
        root = tmp_path / config.share.name
        run(records, root, config)
        files = [path for kind in ("windows", "corrections", "quarantine") for path in (root / kind).iterdir()]
        parts = [pq.read_table(path, columns=["key", "value"]) for path in files]
        values.append({(row["key"], row["value"]) for part in parts for row in part.to_pylist()})
    assert sum(len(part) for part in values) == table.num_rows
    keys = [{key for key, _ in part if key is not None} for part in values]
    assert keys[0] | keys[1] | keys[2] == {f"key {n}" for n in range(9)}
    assert sum(len(part) for part in keys) == 9


def test_other_settings_are_refused_by_name(records, tmp_path):
    run(records, tmp_path, config_of("tumbling"))
    with pytest.raises(BadInputError, match=r"windows\.size was '10s', is '20s'"):
        run(records, tmp_path, config_of("tumbling", size="20s"))


def test_two_processes_do_not_share_a_folder(records, tmp_path):
    with DurableStream(tmp_path, "stream"), pytest.raises(BadInputError, match="Another process"):
        run(records, tmp_path, config_of())


def test_too_many_waiting_records_end_the_run_with_a_message(records, tmp_path):
    config = config_of("tumbling", size="1d").model_copy(update={"most_held": 100})
    with pytest.raises(EvergreenError, match="wait for their windows"):
        run(records, tmp_path, config)


def test_a_disk_that_refuses_is_told_and_costs_nothing(records, tmp_path, monkeypatch):
    from evergreen.stream import durable

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_durably", full)
        with pytest.raises(EvergreenError, match="No space left on device"):
            run(records, tmp_path / "out", config_of())
    run(records, tmp_path / "out", config_of())
    run(records, tmp_path / "once", config_of())
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


def test_a_changed_file_is_refused(tmp_path):
    folder = write_folder(tmp_path / "in", stream_table(600))
    run(folder, tmp_path / "out", config_of(), more=True)
    pq.write_table(stream_table(50), folder / "0.parquet")
    with pytest.raises(BadInputError, match=r"0\.parquet has changed"):
        run(folder, tmp_path / "out", config_of())


KILLABLE = '''
import os, signal, sys, json
from pathlib import Path
from evergreen.stream import durable, ledger
from evergreen.stream.window_stream import StreamConfig, run_windows
from evergreen.stream.sources.folder import FolderSource
import evergreen.stream.sources.parquet_file as parquet_file
import pyarrow.parquet, sqlalchemy.dialects.sqlite.pysqlite

def run(folder, output, config, at):
    """Run a stream; die at the at-th write to the disk, or never."""
    count = [0]
    def dies(function):
        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            return result
        return call
    os.fsync, os.replace = dies(os.fsync), dies(os.replace)
    durable.remove = dies(durable.remove)
    ledger.Ledger.commit = dies(ledger.Ledger.commit)
    run_windows(FolderSource(Path(folder)), Path(output), StreamConfig.model_validate(config))
    return count[0]

for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if pid == 0:
        count = run(**task)
        print(count, flush=True)
        os._exit(0)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print("died" if os.WIFSIGNALED(status) else f"ended {os.WEXITSTATUS(status)}", flush=True)
'''


class Killable:
    """A process that forks one run after the other, so that starting one costs nothing."""

    def __init__(self, folder):
        script = folder / "killable.py"
        script.write_text(KILLABLE)
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder, output, config, at=0, after=None):
        """Run; die at the at-th write, or ``after`` seconds. Returns whether it died, and its writes if it did not."""
        task = {"folder": str(folder), "output": str(output), "config": config.model_dump(mode="json"), "at": at}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if after is not None:
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(pid, signal.SIGKILL)
        line = self.process.stdout.readline().strip()
        if line == "died":
            return True, 0
        assert self.process.stdout.readline().strip() == "ended 0"
        return False, int(line)


@pytest.fixture(scope="module")
def killable(tmp_path_factory):
    made = Killable(tmp_path_factory.mktemp("killable"))
    yield made
    made.process.stdin.close()
    made.process.wait()


@pytest.mark.parametrize("kind", ["sliding", "count"])
def test_a_kill_at_any_write_changes_nothing(records, tmp_path, killable, kind):
    config = config_of(kind, checkpoint_rows=600)
    died, writes = killable.run(records, tmp_path / "whole", config)
    assert not died
    assert writes > 30
    expected = contents(tmp_path / "whole")
    rng = random.Random(0)
    for at in sorted(rng.sample(range(1, writes + 1), 8)):
        output = tmp_path / f"at {at}"
        assert killable.run(records, output, config, at)[0]
        assert not killable.run(records, output, config)[0]
        assert contents(output) == expected, at


def test_kills_at_random_moments_one_after_the_other_change_nothing(records, tmp_path, killable):
    config = config_of("tumbling", checkpoint_rows=100)
    killable.run(records, tmp_path / "whole", config)
    rng, kills, died = random.Random(1), 0, True
    while died and kills < 12:
        died, _ = killable.run(records, tmp_path / "killed", config, after=rng.uniform(0.01, 0.4))
        kills += died
    if died:
        killable.run(records, tmp_path / "killed", config)
    assert kills > 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
