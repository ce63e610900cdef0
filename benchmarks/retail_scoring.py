"""Seconds that a day's scores take, reasons included, once the champion and the receipts are in memory.

    EVERGREEN_BENCH_DATA=DIR python benchmarks/retail_scoring.py --customers 6000 --repeats 7

The receipts are those of the UK shop (corrected dates), its customers again under new names and with other amounts
until as many as wanted are active on the last day: no two customers are equal because of it. The champion has the
default shape and its first training. A score is what `evergreen score retail` writes: risk, class and three reasons for
each customer, the greatest risk first.
Results: benchmarks/results/retail_scoring.json.
"""

import argparse
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from retail import STUDIES, prepare

from evergreen.files import write_json
from evergreen.retail import examples
from evergreen.retail.active import active_customers
from evergreen.retail.bundle import ChurnModel
from evergreen.retail.diary import Diary
from evergreen.retail.features import Encoder
from evergreen.retail.learner import ChurnLearner, LearnerConfig
from evergreen.retail.score import score_day, write_scores
from evergreen.retail.stream import plan, read_examples

RESULTS = Path(__file__).parent / "results" / "retail_scoring.json"
PERIOD_DAYS, PERIODS, CHURN_DAYS = 120, 3, 120
BACKGROUND = 500


def champion(workspace: Path, threads: int) -> ChurnModel:
    """A model after its first training, on the examples of the workspace's receipts."""
    examples.run(workspace, {"examples": {"mode": "default"}})
    stream = read_examples(workspace / "examples.parquet", "default").stream
    data = plan(stream, "default", None, None, PERIOD_DAYS, CHURN_DAYS, 0, threads)
    learner = ChurnLearner(
        Diary(data), Encoder.fit(stream.features[data.initial], PERIOD_DAYS, CHURN_DAYS), LearnerConfig(), 0
    )
    learner.start(data.initial)
    model = learner.frozen()
    model.background = stream.features[np.random.default_rng(0).choice(data.initial, BACKGROUND, replace=False)]
    return model


def enlarged(receipts: pa.Table, customers: int) -> pa.Table:
    """The receipts of exactly so many active customers."""
    found: list[pa.Table] = []
    missing = customers
    while missing:
        names = pc.binary_join_element_wise(receipts["customer_id"], str(len(found)), "-")
        copy = receipts.set_column(receipts.column_names.index("customer_id"), "customer_id", names)
        amounts = pc.multiply(copy["amount"], 1 + len(found) / 100)
        copy = copy.set_column(copy.column_names.index("amount"), "amount", amounts)
        active = active_customers(copy, None, PERIOD_DAYS, PERIODS, CHURN_DAYS).customers[:missing]
        found.append(copy.filter(pc.is_in(copy["customer_id"], active)))
        missing -= len(active)
    return pa.concat_tables(found).sort_by("timestamp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    study = next(study for study in STUDIES if study.name == "uk/default")
    source = Path(os.environ.get("EVERGREEN_BENCH_DATA", "")) / "retail"
    if not (source / study.file).is_file():
        parser.exit(2, f"EVERGREEN_BENCH_DATA must name the folder that holds retail/{study.file}.\n")
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Path(temporary)
        prepare(study, source, workspace)
        model = champion(workspace, given.threads)
        receipts = enlarged(pq.read_table(workspace / "data" / "retail" / "receipts.parquet"), given.customers)
        load, seconds, used = os.getloadavg()[0], [], []
        for _ in range(given.repeats):
            started, cpu = time.perf_counter(), time.process_time()
            scores = score_day(receipts, None, model, "retail-churn", "1", datetime.now(UTC))
            write_scores(workspace / "scores.parquet", scores)
            seconds.append(round(time.perf_counter() - started, 3))
            used.append(round(time.process_time() - cpu, 3))
    found = {
        "customers": len(scores),
        "receipts": len(receipts),
        "seconds": seconds,
        "cpu_seconds": used,
        "median": float(np.median(seconds)),
        "cpu_median": float(np.median(used)),
        "threads": given.threads,
        "cores": os.cpu_count(),
        "load_before": load,
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    write_json(RESULTS, found)
    print(f"{len(scores)} customers: median {found['median']:.2f} s, of a processor {found['cpu_median']:.2f} s")


if __name__ == "__main__":
    main()
