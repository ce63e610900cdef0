"""The window command and flow, on a real Dask cluster too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from evergreen.errors import BadInputError
from flows.stream_cli import app


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = 2_000
    folder = tmp_path_factory.mktemp("records")
    values = {
        "id": np.arange(rows),
        "key": [f"k{value}" for value in rng.integers(0, 40, rows)],
        "timestamp": 1_700_000_000 + np.arange(rows) + rng.integers(-15, 15, rows),
        "value": rng.normal(size=rows),
    }
    pq.write_table(pa.table(values), folder / "a.parquet", row_group_size=300)
    return folder


def contents(root: Path) -> dict[str, bytes]:
    """Windows, corrections and quarantine of all partitions."""
    kinds = ("windows", "corrections", "quarantine")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*.parquet"))
        if path.parent.name in kinds
    }


SCRIPT = """
from flows.stream_cli import app
if __name__ == "__main__":  # the workers of a local cluster are processes that import this again
    app()
"""


@pytest.mark.slow
def test_partitions_on_a_dask_cluster_make_the_same_windows_as_here(records, tmp_path):
    options = ["--input", str(records), "--unit", "s", "--id", "id", "--key", "key", "--window", "session"]
    options += ["--gap", "20s", "--disorder", "30s", "--partitions", "3", "--checkpoint-rows", "500"]
    here = command(*options, "--output", str(tmp_path / "here"))
    assert here.exit_code == 0, here.output
    script = tmp_path / "command.py"
    script.write_text(SCRIPT)
    outside = {"PREFECT_API_URL", "MLFLOW_TRACKING_URI"}
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    environment["EVERGREEN_HOME"] = str(tmp_path / "home")
    done = subprocess.run(
        [sys.executable, str(script), "windows", *options, "--output", str(tmp_path / "dask"), "--cluster", "local"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == here.output.splitlines()[-1].replace("/here", "/dask")
    expected = contents(tmp_path / "here")
    assert len({name.split("/")[0] for name in expected}) == 3
    assert len(expected) > 50
    assert contents(tmp_path / "dask") == expected


def command(*options):
    return CliRunner().invoke(app, ["windows", *map(str, options)], catch_exceptions=True)


def test_the_command_says_what_became_of_every_record(records, tmp_path):
    options = ["--input", records, "--output", tmp_path, "--unit", "s", "--id", "id"]
    options += ["--size", "1m", "--disorder", "30s"]
    done = command(*options)
    assert done.exit_code == 0, done.output
    assert "2,000 records read: 2,000 accepted, 0 quarantined. 34 windows" in done.output
    assert len(list((tmp_path / "windows").iterdir())) == 34
    again = command(*options)
    assert again.exit_code == 0
    assert "34 windows" in again.output


def test_the_command_reads_csv_and_partitions(records, tmp_path):
    pv.write_csv(pq.read_table(records / "a.parquet"), tmp_path / "a.csv")
    options = ["--input", tmp_path / "a.csv", "--output", tmp_path / "out", "--window", "count", "--rows", "100"]
    done = command(*options, "--unit", "s", "--key", "key", "--partitions", "2", "--disorder", "1m")
    assert done.exit_code == 0, done.output
    assert "2,000 accepted" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p0000of0002", "p0001of0002"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Name one source"),
        (["--input", "x", "--brokers", "b"], "Name one source"),
        (["--input", "nowhere"], "is no folder"),
        (["--input", "nowhere", "--table", "t"], "--table goes with a database URL"),
        (["--input", "sqlite:///x.db"], "a database needs the name of a table"),
        (["--brokers", "b"], "brokers need the name of a topic"),
        (["--input", "x", "--size", "soon"], "windows.size: Value error, no duration"),
        (["--input", "x", "--window", "daily"], "windows.kind"),
        (["--input", "x", "--duplicates", "name"], "windows.duplicates"),
        (["--input", "x", "--duplicates", "id"], "Name it with --id"),
        (["--input", "x", "--partitions", "2"], "Name it with --key"),
        (["--input", "x", "--type", "amount"], "COLUMN=TYPE"),
    ],
)
def test_bad_input_is_one_message_that_says_what_to_do(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("--output", "out", *options)
    assert isinstance(done.exception, BadInputError), done.output
    assert message in str(done.exception)
    assert done.exception.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_help_has_an_example_and_no_heavy_import():
    done = command("--help")
    assert done.exit_code == 0
    assert "Example: evergreen stream windows" in done.output
    heavy = "{'pyarrow', 'prefect', 'sqlalchemy', 'dask'}"
    script = f"import sys, flows.stream_cli; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
