"""The process model against its rivals, on real logs and on logs whose changes are known.

    EVERGREEN_BENCH_DATA=DIR python benchmarks/process.py [PART ...] [--seeds 3] [--models NAMES | all] [--logs NAMES]

The folder holds ``process/*.parquet`` (case_id, activity, timestamp, resource), ``process/drift/*.parquet`` and
``process/drift/GROUND_TRUTH.csv`` (file, change_events). Every log goes through the steps ``ingest`` and ``online`` of
a workspace of its own, and what is judged are the files that these write. Parts:

    logs     macro-F over everything after the warm-up, as published, beside the best published figures
    changes  alarms and their delays on logs with known changes
    still    alarms on the same logs without their changes: each case starts when another one did
    studies  embeddings and bodies of the network alone, fine-tuning against re-training, contrastive pretraining
    memory   what is left of the old regime after fine-tuning and after re-training
    speed    events per second between two changes of the model, and memory on a long log

Results: benchmarks/results/process.json, one entry a part; part ``logs`` keeps what was measured of other models.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.process import ingest, online
from evergreen.process.learner import BLOCK, EvergreenConfig, EvergreenLearner, Task
from evergreen.process.stream import EventStream, published_stream

RESULTS = Path(__file__).parent / "results" / "process.json"
PUBLISHED = {"BPI20D": 0.425, "BPI20R": 0.360, "BPI20P": 0.457, "Helpdesk": 0.308, "BPI13C": 0.424}
"""Best macro-F of DARWIN and three adaptive tree ensembles (Pasquadibisceglie et al. 2023)."""
MARGIN = 0.03
ALLOWED = 2_000  # events after a change in which an alarm is one of that change
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "process_studies.svg"
STUDIED = ("BPI20R", "Helpdesk")
STUDIES = ("network", "lstm", "transformer", "onehot", "word2vec", "cpc")


def take(log: Path, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Run a log through the steps: metrics, drifts and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        params = {"seed": 0, "threads": 2, "source": {"log": str(log)}, "online": settings}
        ingest.run(workspace, params)
        online.run(workspace, params)
        names = ("metrics.json", "drifts.json", "metrics.timing.json")
        metrics, drifts, seconds = (read_json(workspace / name) for name in names)
    return metrics["models"], drifts, seconds


def save(part: str, seeds: int, found: dict[str, Any]) -> None:
    """Put a part's results among those of the other parts."""
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    versions = {name: version(name) for name in ("numpy", "torch")}
    write_json(RESULTS, {**kept(), part: {**machine, **versions, "seeds": seeds, "result": found}})


def kept() -> dict[str, Any]:
    """The results so far."""
    found: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {}
    return found


def logs(folder: Path, seeds: int, names: list[str] | str, wanted_logs: list[str]) -> dict[str, Any]:
    """Part ``logs``."""
    result: dict[str, Any] = kept().get("logs", {}).get("result", {})
    for log in wanted_logs:
        published = PUBLISHED[log]
        models, _, seconds = take(folder / f"{log}.parquet", mode="published", models=names, seeds=seeds)
        before = result.get(log, {"models": {}, "seconds": {}})
        models, seconds = before["models"] | models, before["seconds"] | seconds
        rivals = [published, *(m["macro_f1"] for name, m in models.items() if name.startswith("markov"))]
        wanted = max(rivals) + MARGIN
        result[log] = {"published": published, "wanted": wanted, "models": models, "seconds": seconds}
        shown = ", ".join(f"{name} {m['macro_f1']:.3f}" for name, m in models.items())
        print(f"{log:9} wanted {wanted:.3f}: {shown}", flush=True)
        save("logs", seeds, result)
    return result


def changes(folder: Path) -> dict[str, Any]:
    """Part ``changes``."""
    truth = pd.read_csv(folder / "drift" / "GROUND_TRUTH.csv")
    result, delays, false = {}, [], 0
    for name, events in zip(truth["file"], truth["change_events"], strict=True):
        known = [int(event) for event in str(events).split()]
        _, drifts, _ = take(folder / "drift" / name, mode="published")
        alarms = [drift["event_index"] for drift in drifts]
        found = [min((a - c for a in alarms if c <= a <= c + ALLOWED), default=None) for c in known]
        wrong = [a for a in alarms if not any(c <= a <= c + ALLOWED for c in known)]
        delays += found
        false += len(wrong)
        result[name] = {"changes": known, "alarms": alarms, "delays": found, "false": wrong}
        print(f"{name:40} delays {found}, false {wrong}", flush=True)
    hits = [delay for delay in delays if delay is not None]
    summary = {"changes": len(delays), "found": len(hits), "median_delay": median(hits), "false_alarms": false}
    return {"logs": result, "all": summary}


def still(folder: Path) -> dict[str, Any]:
    """Part ``still``."""
    truth = pd.read_csv(folder / "drift" / "GROUND_TRUTH.csv")
    result = {}
    with tempfile.TemporaryDirectory() as place:
        for name in truth["file"]:
            log = Path(place) / name
            shuffled(pd.read_parquet(folder / "drift" / name)).to_parquet(log)
            _, drifts, _ = take(log, mode="published")
            result[name] = [drift["event_index"] for drift in drifts]
            print(f"{name:40} alarms {result[name]}", flush=True)
    return result


def shuffled(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """A log without its changes: each case keeps its events and their distances, but starts when another one did."""
    moment = frame["timestamp"].astype("datetime64[us, UTC]").astype("int64")
    start = moment.groupby(frame["case_id"], sort=False).transform("min")
    starts = start.groupby(frame["case_id"], sort=False).first()
    drawn = pd.Series(np.random.default_rng(seed).permutation(starts.to_numpy()), index=starts.index)
    moved = (frame["case_id"].map(drawn) + moment - start).to_numpy()
    frame = frame.assign(timestamp=pd.to_datetime(moved, unit="us", utc=True))
    return frame.sort_values("timestamp", kind="stable").reset_index(drop=True)


def studies(folder: Path, seeds: int) -> dict[str, Any]:
    """Part ``studies``."""
    result: dict[str, Any] = {}
    for log in STUDIED:
        path = folder / f"{log}.parquet"
        names = ["evergreen", "evergreen-retrain", "evergreen-static", "evergreen-counts"]
        names += [f"evergreen-{study}" for study in STUDIES]
        found, _, _ = take(path, mode="published", models=names, seeds=seeds)
        for embedding in ("onehot", "word2vec"):
            settings = {f"evergreen-{embedding}": {"adaptation": {"policy": "retrain"}}}
            again, _, _ = take(
                path, mode="published", models=[f"evergreen-{embedding}"], seeds=seeds, settings=settings
            )
            found[f"evergreen-{embedding} retrain"] = again[f"evergreen-{embedding}"]
        result[log] = found
        for name, model in found.items():
            print(f"{log:9} {name:28} {model['macro_f1']:.3f} ± {model['spread']:.3f}", flush=True)
    draw_studies(result, FIGURE)
    return result


def draw_studies(result: dict[str, Any], path: Path) -> None:
    """Macro-F of every variant, a row each, a colour for each log."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    names = list(next(iter(result.values())))
    figure = Figure(figsize=(7, 0.3 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    for log, models in result.items():
        axes.plot([models[name]["macro_f1"] for name in names], names, "o", label=log)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("macro-F, published protocol")
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Date": None})


def memory(folder: Path) -> dict[str, Any]:
    """Part ``memory``: accuracy on both sides of each known change, before and after adapting to what follows it."""
    truth = pd.read_csv(folder / "drift" / "GROUND_TRUTH.csv")
    result = {}
    for name, events in zip(truth["file"], truth["change_events"], strict=True):
        stream = published_stream(pq.read_table(folder / "drift" / name))
        change = int(np.flatnonzero(stream.event_index >= int(str(events).split()[0]))[0])
        rows = np.flatnonzero(stream.asked)
        place = int(np.searchsorted(rows, change))
        old, new = rows[place - 1_000 : place], rows[place + 800 : place + 1_800]
        model = warmed(stream, rows[: place - 1_000])
        answers = {"before": model}
        for policy in ("finetune", "retrain"):
            answers[policy], _ = model.adapt(policy, rows[place : place + 800])
        result[name] = {
            label: {side: accuracy(one, stream, part) for side, part in (("old", old), ("new", new))}
            for label, one in answers.items()
        }
        print(f"{name:40} {result[name]}", flush=True)
    return result


def warmed(stream: EventStream, rows: "np.ndarray[Any, np.dtype[np.int64]]") -> EvergreenLearner:
    """A model that has learned some rows."""
    model = EvergreenLearner(Task.of(stream, stream.cut, None), EvergreenConfig(), 0)
    for start in range(0, len(rows), BLOCK):
        model.learn(rows[start : start + BLOCK])
    model.finish_warm_up()
    return model


def accuracy(model: EvergreenLearner, stream: EventStream, rows: "np.ndarray[Any, np.dtype[np.int64]]") -> float:
    """Share of rows whose likeliest answer is right."""
    return float((model.answer(rows).argmax(1) == stream.activity[rows]).mean())


def speed(folder: Path, thousands: list[int]) -> dict[str, Any]:
    """Part ``speed``."""
    stream = published_stream(pq.read_table(folder / "BPI20D.parquet"))
    rows = np.flatnonzero(stream.asked)
    model = warmed(stream, rows[:10_000])
    asked = rows[10_000:50_000]
    started = time.perf_counter(), time.process_time()
    model.say(asked)
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    result: dict[str, Any] = {"answers_per_second": len(asked) / wall, "answers_per_cpu_second": len(asked) / cpu}
    result["long_logs"] = []
    for count in sorted(thousands):
        with tempfile.TemporaryDirectory() as place:
            log = Path(place) / "long.parquet"
            long_log(folder / "BPI20D.parquet", log, count)
            _, _, seconds = take(log, mode="published")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        result["long_logs"].append({"thousand_events": count, "seconds": seconds["evergreen"], "peak_mib": peak})
    print(json.dumps(result, indent=1), flush=True)
    return result


def long_log(source: Path, target: Path, thousands: int) -> None:
    """A log one copy after the other, the cases renamed, until it is as long as wanted."""
    frame = pd.read_parquet(source)
    moment = frame["timestamp"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    span = int(moment[-1] - moment[0]) + 1_000_000
    missing, copy = thousands * 1_000, 0
    writer = None
    while missing > 0:
        part = pa.table(
            {
                "case_id": pa.array(f"{copy}/" + frame["case_id"].astype(str)),
                "activity": pa.array(frame["activity"].astype(str)),
                "timestamp": pa.array((moment + copy * span) // 1_000 * 1_000).cast(pa.timestamp("us", "UTC")),
                "resource": pa.array(frame["resource"]),
            }
        ).slice(0, missing)
        writer = writer or pq.ParquetWriter(target, part.schema)
        writer.write_table(part)
        missing, copy = missing - len(part), copy + 1
    if writer is not None:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="all if none is named")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default="evergreen,markov,markov-undivided")
    parser.add_argument("--logs", default=",".join(PUBLISHED), help="of part logs")
    parser.add_argument("--thousands", default="100,400", help="events of the long logs of part speed, in thousands")
    given = parser.parse_args()
    root = os.environ.get("EVERGREEN_BENCH_DATA")
    if not root or not (folder := Path(root) / "process").is_dir():
        raise BadInputError("EVERGREEN_BENCH_DATA must name the folder that holds process/*.parquet.")
    names = "all" if given.models == "all" else given.models.split(",")
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "logs": lambda: logs(folder, given.seeds, names, given.logs.split(",")),
        "changes": lambda: changes(folder),
        "still": lambda: still(folder),
        "studies": lambda: studies(folder, given.seeds),
        "memory": lambda: memory(folder),
        "speed": lambda: speed(folder, [int(count) for count in given.thousands.split(",")]),
    }
    if unknown := [part for part in given.parts if part not in parts]:
        sys.exit(f"There is no part {unknown[0]!r}. Parts: {', '.join(parts)}.")
    for part in given.parts or parts:
        save(part, given.seeds, parts[part]())


if __name__ == "__main__":
    main()
