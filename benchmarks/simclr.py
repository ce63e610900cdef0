"""SimCLR here and in lightly: image pairs per second, and what a linear probe finds after the same time.

    python benchmarks/simclr.py --workspace DIR                      # the images of an ingested workspace; 45 minutes
    python benchmarks/simclr.py --workspace DIR --encoder resnet18
    python benchmarks/simclr.py --minutes 0 --repeats 1 --window 10  # rates alone, on scikit-learn's digits; 3 minutes

Every run is a process of its own with the same encoder, batch, images and threads. Rates: in each round, one after the
other, lightly's default recipe and its best settings, our default profile, our engine with views as large as lightly's,
and the bare forward and backward pass at both sizes; figures are medians over the rounds, ratios are medians of the
ratios within a round, so that a load that comes and goes falls on both sides. lightly's best settings are searched for
first. Accuracy: lightly trains by the clock for --minutes, then we do, with a schedule that the measured rate fits into
a twelfth, a sixth, a third and all of that time. Results: benchmarks/results/simclr.json.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.training.precision import best_device, cpu_capabilities, resolve

RESULT = Path(__file__).parent / "results" / "simclr.json"
FULL, SMALL = 32, 16  # sides of lightly's views and of our default profile's
DEFAULT_ENCODER = "resnet9"
BUDGETS = (1 / 12, 1 / 6, 1 / 3, 1.0)  # of --minutes, for us


class Runner:
    """Starts a process for each run, with what all of them share."""

    def __init__(self, given: argparse.Namespace, scratch: str) -> None:
        self.shared = {
            "encoder": given.encoder,
            "batch": given.batch,
            "threads": given.threads,
            "probe_images": given.probe_images,
            "workspace": str(given.workspace.resolve()) if given.workspace else None,
            "scratch": scratch,
        }
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "OMP_WAIT_POLICY": "PASSIVE"}

    def __call__(self, name: str, **task: Any) -> dict[str, Any]:
        """Run a task; ``{"failed": last line of the error}`` if it does not get through."""
        script = Path(__file__).with_name("simclr_run.py")
        command = [sys.executable, str(script), json.dumps({**self.shared, **task})]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            found: dict[str, Any] = {"failed": lines[-1]}
        else:
            found = json.loads(done.stdout.splitlines()[-1])
        found["load"] = round(os.getloadavg()[0], 1)
        print(f"{name}: {found}", flush=True)
        return found


def search(run: Runner, threads: int, seconds: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Find the fastest settings of lightly: format and layout, then one pass, workers and compilation in turn.

    Returns:
        The settings, and all that was tried.
    """
    tried: list[dict[str, Any]] = []

    def rate(settings: dict[str, Any]) -> float:
        found = run(f"search {settings}", kind="lightly", size=FULL, seconds=seconds, lightly=settings)
        tried.append({"settings": settings, **found})
        return float(found.get("pairs_per_second", 0.0))

    formats = [{"precision": p, "channels_last": last} for p in ("fp32", "bf16") for last in (False, True)]
    fastest, fastest_rate = {"recipe": "tuned", "workers": threads}, 0.0
    changes = (*formats, {"one_pass": True}, *({"workers": n} for n in (0, 1, 2 * threads)), {"compiled": True})
    for change in changes:
        found = rate({**fastest, **change})
        if found > fastest_rate:
            fastest, fastest_rate = {**fastest, **change}, found
    return fastest, tried


def rounds(
    run: Runner, repeats: int, seconds: float, threads: int, best: dict[str, Any]
) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Take all rates, round by round; after each, all runs so far by name."""
    tasks: dict[str, dict[str, Any]] = {
        "lightly_default": {"kind": "lightly", "size": FULL, "lightly": {"workers": threads}},
        "ours_full": {"kind": "ours", "size": FULL},
        "bare_full": {"kind": "bare", "size": FULL},
        "lightly_best": {"kind": "lightly", "size": FULL, "lightly": best},
        "ours_laptop": {"kind": "ours", "size": SMALL},
        "bare_laptop": {"kind": "bare", "size": SMALL},
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in tasks}
    for number in range(repeats):
        for name, task in tasks.items():
            found = run(f"round {number + 1}, {name}", seconds=seconds, **task)
            if "failed" in found:
                raise BadInputError(f"{name} did not get through: {found['failed']}")
            runs[name].append(found)
        yield runs


def compare(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Ratios and medians of the rates."""

    def ratio(above: str, below: str, figure: str = "pairs_per_second") -> float:
        return round(median(a[figure] / b[figure] for a, b in zip(runs[above], runs[below], strict=True)), 3)

    of_peak = (b["gflops_per_second"] / b["matmul_gflops_per_second"][b["precision"]] for b in runs["bare_full"])
    return {
        "speedup": ratio("ours_full", "lightly_default"),
        "speedup_cpu_time": ratio("lightly_default", "ours_full", "cpu_ms_per_pair"),
        "speedup_over_best": ratio("ours_full", "lightly_best"),
        "speedup_over_best_cpu_time": ratio("lightly_best", "ours_full", "cpu_ms_per_pair"),
        "speedup_laptop": ratio("ours_laptop", "lightly_default"),
        "speedup_laptop_cpu_time": ratio("lightly_default", "ours_laptop", "cpu_ms_per_pair"),
        "speedup_laptop_over_best": ratio("ours_laptop", "lightly_best"),
        "share_of_bare": ratio("ours_full", "bare_full"),
        "share_of_bare_cpu_time": ratio("bare_full", "ours_full", "cpu_ms_per_pair"),
        "share_of_bare_laptop": ratio("ours_laptop", "bare_laptop"),
        "share_of_bare_laptop_cpu_time": ratio("bare_laptop", "ours_laptop", "cpu_ms_per_pair"),
        "bare_share_of_matmul": round(median(of_peak), 3),
        "pairs_per_second": {name: median(r["pairs_per_second"] for r in found) for name, found in runs.items()},
        "cpu_ms_per_pair": {name: median(r["cpu_ms_per_pair"] for r in found) for name, found in runs.items()},
        "rounds": runs,
    }


def accuracies(run: Runner, minutes: float, threads: int, best: dict[str, Any], rate: float) -> dict[str, Any]:
    """What lightly knows after ``minutes``, when we know as much, and what we know after the same time.

    ``time_to_accuracy_ratio`` is lightly's time by that of the shortest of our runs that is at least as accurate.
    """
    seconds = 60 * minutes
    lightly = {
        name: run(name, kind="lightly", size=FULL, seconds=seconds, accuracy=True, lightly=settings)
        for name, settings in (("lightly_default", {"workers": threads}), ("lightly_best", best))
    }
    ours = []
    for part in BUDGETS:
        pairs = max(2 * run.shared["batch"], round(part * seconds * rate))
        ours.append(run(f"ours, {part:.0%} of the time", kind="ours", size=SMALL, seconds=part * seconds, pairs=pairs))
    failed = [r["failed"] for r in (*lightly.values(), *ours) if "failed" in r]
    if failed:
        raise BadInputError(f"A run did not get through: {failed[0]}")
    found: dict[str, Any] = {"minutes": minutes, "ours_laptop": ours, **lightly}
    for suffix, theirs in (("", lightly["lightly_default"]), ("_over_best", lightly["lightly_best"])):
        reached = [o["seconds"] for o in ours if o["linear_accuracy"] >= theirs["linear_accuracy"]]
        found[f"time_to_accuracy_ratio{suffix}"] = round(theirs["seconds"] / min(reached), 2) if reached else None
        found[f"linear_gain{suffix}"] = round(ours[-1]["linear_accuracy"] - theirs["linear_accuracy"], 4)
    return found


def machine(threads: int) -> dict[str, Any]:
    """Where it ran; ``load`` is that before the first run."""
    return {
        "cores": os.cpu_count(),
        "threads": threads,
        "processor": platform.processor() or platform.machine(),
        "capabilities": cpu_capabilities(),
        "auto_precision": resolve("auto", best_device()),
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in ("torch", "torchvision", "lightly")},
    }


def keep(encoder: str, result: dict[str, Any]) -> None:
    """Write the result of one encoder; those of others stay, below their names."""
    old = read_json(RESULT) if RESULT.exists() else {}
    others = old.get("other_encoders", {})
    if encoder == DEFAULT_ENCODER:
        write_json(RESULT, {**result, "other_encoders": others})
    else:
        write_json(RESULT, {**old, "other_encoders": {**others, encoder: result}})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, help="its windows of images; without it the digits")
    parser.add_argument("--encoder", choices=("resnet9", "resnet18"), default=DEFAULT_ENCODER)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the rates")
    parser.add_argument("--window", type=float, default=30.0, help="seconds that a rate is taken over")
    parser.add_argument("--minutes", type=float, default=6.0, help="of training before the probe; 0 leaves it out")
    parser.add_argument("--probe-images", type=int, help="labelled images of the probe; all by default")
    parser.add_argument("--lightly", type=json.loads, help="its best settings as JSON, instead of the search")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if importlib.util.find_spec("lightly") is None:
        print(
            "lightly is not installed: it belongs to this benchmark alone. `make bench-simclr` installs it, or "
            "`pip install --no-deps -r requirements-bench.lock`.",
            file=sys.stderr,
        )
        return 2
    where = machine(given.threads)
    units = "amx_bf16" in where["capabilities"]
    if not units:
        print("This processor has no bf16 matrix units: what follows is what it can do, not what the engine aims at.")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run = Runner(given, scratch)
            best, tried = (given.lightly, []) if given.lightly else search(run, given.threads, given.window / 3)
            best = {"recipe": "tuned", "workers": given.threads, **best}
            about = {
                **dict.fromkeys(("time_to_accuracy_ratio", "linear_gain", "accuracy")),
                "matrix_units": units,
                "machine": where,
                **{name: run.shared[name] for name in ("encoder", "batch")},
                "window_seconds": given.window,
                "lightly_best": best,
                "lightly_tried": tried,
            }
            for runs in rounds(run, given.repeats, given.window, given.threads, best):
                result = {**compare(runs), **about}
                keep(given.encoder, result)  # a run that is cut off leaves its whole rounds
            if given.minutes:
                rate = result["pairs_per_second"]["ours_laptop"]
                found = accuracies(run, given.minutes, given.threads, best, rate)
                result |= {name: v for name, v in found.items() if name.startswith(("time_to", "linear_gain"))}
                result["accuracy"] = found
                keep(given.encoder, result)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({name: v for name, v in result.items() if isinstance(v, bool | float | None)}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
