"""Every churn model side by side, on the Brazilian and the UK receipts, in both views, over three seeds.

Needs ``EVERGREEN_BENCH_DATA``: the folder with ``retail/brazilian_receipts.parquet`` and
``retail/uk_retail_receipts.parquet``.
The UK table has two columns of time: the published one, with day and month swapped, and the corrected one. The
published view runs on the former from the published first day on, the view at decision time on the latter.

Run: ``make bench-retail``, or ``python benchmarks/retail.py --models evergreen --seeds 1 --out FILE``.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from evergreen.files import read_json, write_json
from evergreen.retail import examples, online

RESULTS = Path(__file__).parent / "results" / "retail.json"


@dataclass(frozen=True)
class Study:
    """A stream in a view.

    Attributes:
        name: of the result.
        file: of receipts.
        time: its column of time.
        mode: of the examples.
        first_day, initial_days: as published; None in the default view, where a rule chooses.
    """

    name: str
    file: str
    time: str
    mode: str
    first_day: str | None = None
    initial_days: int | None = None


BRAZIL, UK = "brazilian_receipts.parquet", "uk_retail_receipts.parquet"
STUDIES = (
    Study("brazilian/published", BRAZIL, "timestamp", "published", "2017-06-06", 93),
    Study("uk/published", UK, "timestamp", "published", "2009-09-12", 7),
    Study("brazilian/default", BRAZIL, "timestamp", "default"),
    Study("uk/default", UK, "timestamp_fixed", "default"),
)


def prepare(study: Study, receipts: Path, workspace: Path) -> None:
    """The receipts as the step `ingest` would leave them: all rows, sorted by time, ties in their order."""
    table = pq.read_table(receipts / study.file)
    columns = {name: table[name] for name in ("receipt_id", "customer_id", "quantity", "amount")}
    columns |= {"timestamp": table[study.time].cast(pa.timestamp("us")), "row": pa.array(range(len(table)))}
    columns["quantity"] = columns["quantity"].cast(pa.float64())
    ordered = pa.table(columns).sort_by([("timestamp", "ascending"), ("row", "ascending")])
    folder = workspace / "data" / "retail"
    folder.mkdir(parents=True)
    pq.write_table(ordered, folder / "receipts.parquet")


def measure(study: Study, receipts: Path, models: list[str], seeds: int, threads: int) -> dict[str, Any]:
    """The figures and seconds of a study."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        prepare(study, receipts, workspace)
        params = {
            "seed": 0,
            "threads": threads,
            "examples": {"mode": study.mode},
            "online": {
                "models": models,
                "seeds": seeds,
                "first_day": study.first_day,
                "initial_days": study.initial_days,
            },
        }
        examples.run(workspace, params)
        started = time.perf_counter()
        online.run(workspace, params)
        seconds = time.perf_counter() - started
        metrics, timing = read_json(workspace / "metrics.json"), read_json(workspace / "metrics.timing.json")
        return {**metrics, "timing": timing, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--studies", default=",".join(study.name for study in STUDIES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    data = os.environ.get("EVERGREEN_BENCH_DATA")
    if not data:
        sys.exit("EVERGREEN_BENCH_DATA is not set: name the folder that holds retail/brazilian_receipts.parquet.")
    found: dict[str, Any] = {
        "command": f"python benchmarks/retail.py --models {args.models} --seeds {args.seeds}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "torch": torch.__version__,
        "studies": {},
    }
    wanted = args.studies.split(",")
    for study in STUDIES:
        if study.name not in wanted:
            continue
        result = measure(study, Path(data) / "retail", args.models.split(","), args.seeds, args.threads)
        found["studies"][study.name] = result
        write_json(args.out, found)
        for name, figures in result["models"].items():
            shown = figures.get("matured", figures)
            print(f"{study.name:20} {name:20} macro-F {shown['macro_f1']:.4f} spread {shown['spread']:.4f}", flush=True)


if __name__ == "__main__":
    main()
