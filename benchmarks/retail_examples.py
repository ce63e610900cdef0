"""Seconds and memory from receipts to labelled churn examples on the disk, for more and more customers.

    EVERGREEN_BENCH_DATA=DIR python benchmarks/retail_examples.py
    EVERGREEN_BENCH_DATA=DIR python benchmarks/retail_examples.py --copies 16 --partitions 1 16

The receipts are those of the UK shop in retail/uk_retail_receipts.parquet, as published; ``--copies`` adds the same
customers again under new names. Every measurement is a process of its own; it starts with reading Parquet and ends with
the file of examples in place; imports are not counted. Its memory is sampled from outside, as proportional set size:
all of it, and the part that is no mapped file and so cannot be dropped. Results:
benchmarks/results/retail_examples.json.
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
import pyarrow.compute as pc
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent / "results" / "retail_examples.json"
SAMPLE_SECONDS = 0.05


def make(source: Path, receipts: Path, copies: int) -> None:
    """The receipts of ``copies`` times the customers, in time."""
    table = pq.read_table(source, columns=["customer_id", "amount", "timestamp"])
    named = [
        table.set_column(0, "customer_id", pc.binary_join_element_wise(table["customer_id"], str(copy), "-"))
        for copy in range(copies)
    ]
    pq.write_table(pa.concat_tables(named).sort_by("timestamp"), receipts)


def measure(receipts: Path, output: Path, mode: Any, partitions: int) -> dict[str, Any]:
    """Make the examples in this process; returns what it took."""
    from evergreen.retail.examples import ExamplesConfig, make_examples

    config = ExamplesConfig(mode=mode, partitions=partitions)
    started, used = time.perf_counter(), time.process_time()
    tally = make_examples(receipts, output, config)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    rows = int(tally.rows.sum()) + tally.pending
    return {
        "receipts": tally.receipts,
        "examples": rows,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "cpu_microseconds_per_example": round(cpu / rows * 1e6, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "output_mib": round(output.stat().st_size / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--partitions", type=int, nargs="+", default=[1])
    parser.add_argument("--modes", nargs="+", choices=["published", "default"], default=["published", "default"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        receipts, output, mode, partitions = given.one
        print(json.dumps(measure(Path(receipts), Path(output), mode, int(partitions))))
        return
    source = Path(os.environ.get("EVERGREEN_BENCH_DATA", "")) / "retail" / "uk_retail_receipts.parquet"
    if not source.is_file():
        parser.exit(2, "EVERGREEN_BENCH_DATA must name the folder that holds retail/uk_retail_receipts.parquet.\n")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        found = {}
        for copies in given.copies:
            receipts = Path(temporary) / "receipts.parquet"
            make(source, receipts, copies)
            for mode in given.modes:
                for partitions in given.partitions:
                    name = f"{mode}, {copies} times the customers, {partitions} partitions"
                    found[name] = [_run(receipts, mode, partitions, name) for _ in range(given.repeats)]
    _table(found)
    _keep(found, load)


def _run(receipts: Path, mode: str, partitions: int, name: str) -> dict[str, Any]:
    output = receipts.with_name("examples.parquet")
    command = [sys.executable, __file__, "--one", str(receipts), str(output), mode, str(partitions)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        pss = anonymous = 0
        while process.poll() is None:
            now = _memory(process.pid)
            pss, anonymous = max(pss, now.get("Pss", 0)), max(anonymous, now.get("Pss_Anon", 0))
            time.sleep(SAMPLE_SECONDS)
        assert process.stdout is not None
        text = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{name}: the measurement failed")
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    result |= {"peak_pss_mib": round(pss / 1024), "peak_anonymous_pss_mib": round(anonymous / 1024)}
    print(f"{name}: {json.dumps(result)}", flush=True)
    return result


def _memory(process: int) -> dict[str, int]:
    """Proportional set sizes in KiB; nothing if the process has just ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _table(found: dict[str, list[dict[str, Any]]]) -> None:
    columns = {
        "examples": "examples",
        "seconds": "seconds",
        "cpu_seconds": "CPU s",
        "cpu_microseconds_per_example": "CPU µs each",
        "peak_pss_mib": "PSS MiB",
        "peak_anonymous_pss_mib": "anonymous MiB",
    }
    print("| median of runs | " + " | ".join(columns.values()) + " |")
    print("|---|" + "---:|" * len(columns))
    for name, runs in found.items():
        middle = [float(np.median([run[column] for run in runs])) for column in columns]
        print(f"| {name} | " + " | ".join(f"{value:,.10g}" for value in middle) + " |")


def _keep(found: dict[str, list[dict[str, Any]]], load: float) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = {
        "cores": os.cpu_count(),
        "load_before": load,
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "numpy": np.__version__,
    }
    for name, runs in found.items():
        results[name] = {"machine": machine, "runs": runs}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
