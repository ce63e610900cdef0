"""Records per second and memory of the window engine, from Parquet to durable windows.

    python benchmarks/windowing.py                    # 10 million records
    python benchmarks/windowing.py --millions 100     # ten times as many: the same memory, ten times the time

Each record is an id, a key, a timestamp, four floats and a string; windows hold 10,000, each reaches the disk before it
counts. The stream is made in a temporary folder, with records out of order, late ones and duplicates in it. Every
measurement is a process of its own, so that its peak memory is its own. Results: benchmarks/results/windowing.json.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent / "results" / "windowing.json"
MILLION = 1_000_000
STEP = 1_000  # microseconds between two records: a thousand a second
WINDOWS: dict[str, dict[str, Any]] = {
    "count": {"kind": "count", "rows": 10_000},
    "tumbling": {"kind": "tumbling", "size": "10s"},  # 10,000 records too
    "sliding": {"kind": "sliding", "size": "10s", "slide": "5s"},
}


def make(folder: Path, millions: int) -> None:
    """One file a million records, row groups of a hundred thousand."""
    for number in range(millions):
        rng = np.random.default_rng(number)
        rows = np.arange(number * MILLION, (number + 1) * MILLION)
        times = 1_700_000_000_000_000 + rows * STEP + rng.integers(-50_000, 50_000, MILLION)  # 100 ms out of order
        ids = rows.copy()
        again = rng.integers(1, MILLION, 1_000)  # one in a thousand comes twice
        ids[again], times[again] = ids[again - 1], times[again - 1]
        late = rng.integers(0, MILLION, 1_000)
        times[late] -= 60_000_000
        keys = rng.integers(0, 50_000, MILLION)
        words = pa.array([f"station {value:05d} reports" for value in range(50_000)])
        columns = {
            "id": ids,
            "key": keys,
            "timestamp": pa.array(times).cast(pa.timestamp("us", "UTC")),
            **{f"value_{letter}": rng.normal(size=MILLION) for letter in "abcd"},
            "text": words.take(pa.array(keys)),
        }
        pq.write_table(pa.table(columns), folder / f"{number:05d}.parquet", row_group_size=100_000)


def measure(folder: Path, output: Path, windows: dict[str, Any], profile: bool) -> dict[str, Any]:
    """Window the folder in this process; returns what it took."""
    from evergreen.stream.records import Columns
    from evergreen.stream.sources.folder import FolderSource
    from evergreen.stream.window_stream import StreamConfig, run_windows

    settings = {"disorder": "200ms", "lateness": "10m", "duplicates": ("id",), **windows}
    config = StreamConfig(columns=Columns(id="id", key="key"), windows=settings)
    started, used = time.perf_counter(), time.process_time()
    if profile:
        import cProfile
        import pstats

        with cProfile.Profile() as profiler:
            summary = run_windows(FolderSource(folder), output, config)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    else:
        summary = run_windows(FolderSource(folder), output, config)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    return {
        "records": summary.read,
        "windows": summary.windows,
        "corrections": summary.corrections,
        "quarantined": summary.quarantined,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "records_per_second": round(summary.read / seconds),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "output_mib": round(sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 2**20),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--windows", nargs="+", choices=list(WINDOWS), default=list(WINDOWS))
    parser.add_argument("--profile", action="store_true", help="print where the time goes; changes no results")
    parser.add_argument("--temporary", type=Path, help="where the stream is made; by default the system's place")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        folder, output, name = given.one
        print(json.dumps(measure(Path(folder), Path(output), WINDOWS[name], given.profile)))
        return
    with tempfile.TemporaryDirectory(dir=given.temporary) as temporary:
        folder = Path(temporary) / "in"
        folder.mkdir()
        make(folder, given.millions)
        found = {
            name: [_run(folder, Path(temporary), name, given) for _ in range(given.repeats)] for name in given.windows
        }
    if not given.profile:
        _keep(given.millions, found)


def _run(folder: Path, temporary: Path, name: str, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=temporary) as output:
        command = [sys.executable, __file__, "--one", str(folder), output, name]
        command += ["--profile"] if given.profile else []
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    *lines, last = text.splitlines()
    print("\n".join([*lines, f"{name}: {last}"]), flush=True)
    result: dict[str, Any] = json.loads(last)
    return result


def _keep(millions: int, found: dict[str, list[dict[str, Any]]]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = {
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "numpy": np.__version__,
    }
    for name, runs in found.items():
        results[f"{name}, {millions} million"] = {"machine": machine, "runs": runs}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
