"""How soon, and how often for nothing, do detectors alarm on event logs whose changes are known?

Eight simulated logs (Ostovar et al. 2020; Ceravolo et al. 2022) are read as streams, events of all cases in the order
of the file. A simple model foresees each case's next activity; its answer to an event is judged, and it learns from it,
when the event arrives. Every event but a case's first is so the label of the answer before it. After an alarm the model
forgets all, and the detector cools down. Signals: the log-loss of the answer, whether it was wrong, the label together
with the activity before it, or all of that. One setting holds for all logs. What it owes to being chosen is measured:
each half of the logs is judged with the settings that do best on the other half.

    EVERGREEN_BENCH_DATA=DIR python benchmarks/drift_logs.py

The folder holds ``process/drift/*.parquet`` (case_id, activity, timestamp), ``process/drift/GROUND_TRUTH.csv`` (file,
change_events) and, for counting alarms only, real logs ``process/*.parquet``.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from next_activity_baseline import Answer, NextActivityModel

from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.progress import Progress, Silent, track
from evergreen.stream.detectors.binned_tests import chi_square
from evergreen.stream.detectors.defaults import (
    default_detector,
    default_label_detector,
    default_performance_detector,
)
from evergreen.stream.detectors.detector import Detector
from evergreen.stream.detectors.labels import Labelled
from evergreen.stream.detectors.outcomes import Outcome
from evergreen.stream.detectors.registry import make_detector
from evergreen.stream.two_sample import holm

RESULT = Path(__file__).parent / "results" / "drift_logs.json"
ALLOWED = 2_000  # events after a change in which an alarm is one of that change
HALF = ("ceravolo_cb", "ceravolo_cp", "ceravolo_lp", "ostovar_atomic_frequency_frequency")
CHOICES = [{"memory": m, "strength": s} for m, s in ((20, 10), (40, 10), (80, 5), (80, 10), (80, 20), (160, 10))]
SHUFFLES = 4
COMMON = {"minimum_evidence": 500, "cool_down": 250}
Signal = Callable[[Answer, Labelled], Any]
SIGNALS: dict[str, Signal] = {
    "loss": lambda answer, _: answer.loss,
    "wrong": lambda answer, _: float(answer.wrong),
    "label": lambda _, labelled: labelled,
    "all": lambda answer, labelled: Outcome(*labelled, answer.loss),
}


@dataclass(frozen=True)
class Log:
    """A stream of events.

    Attributes:
        events: case and activity of each, in order.
        changes: positions of the first events that a changed process started.
    """

    name: str
    events: tuple[tuple[str, str], ...]
    changes: tuple[int, ...] = ()


class Always:
    """Alarms at every event."""

    def update(self, _: object) -> bool:
        return True


class Never:
    """Never alarms."""

    def update(self, _: object) -> bool:
        return False


Fed = Detector[Any] | Always | Never


def competitors() -> dict[str, tuple[str, Callable[[], Fed]]]:
    """Name of each detector: what it is fed, and how to make it."""

    def plain(name: str, **settings: Any) -> Callable[[], Fed]:
        return lambda: make_detector(name, **COMMON, **settings)

    return {
        "default (outcomes)": ("all", default_detector),
        "labels by last activity": ("label", default_label_detector),
        "adwin on loss": ("loss", default_performance_detector),
        "adwin on wrong": ("wrong", default_performance_detector),
        "page_hinkley on loss": ("loss", plain("page_hinkley")),
        "page_hinkley on wrong": ("wrong", plain("page_hinkley")),
        "kswin on loss": ("loss", plain("kswin", clock=10)),
        "kswin on wrong": ("wrong", plain("kswin", clock=10)),
        "ddm on wrong": ("wrong", plain("ddm")),
        "eddm on wrong": ("wrong", plain("eddm")),
        "hddm_a on wrong": ("wrong", plain("hddm_a")),
        "hddm_w on wrong": ("wrong", plain("hddm_w")),
        "always": ("loss", Always),
        "never": ("loss", Never),
    }


def alarms(log: Log, signal: str, detector: Fed, progress: Progress) -> list[int]:
    """Events at which the detector alarms while the model learns the log."""
    model, cases, found = NextActivityModel(), dict[str, list[str]](), []
    needs_model = signal != "label"  # the label follows the activity before it whatever a model says
    take = SIGNALS[signal]
    for position, (case, activity) in enumerate(log.events):
        before = cases.setdefault(case, [])
        if before:
            answer = model.answer(before, activity) if needs_model else Answer(0.0, False)
            if detector.update(take(answer, Labelled(before[-1], activity))):
                found.append(position)
                model.forget()
            if needs_model:
                model.learn(before, activity)
        before.append(activity)
    progress.advance(len(log.events))
    return found


def judge(log: Log, found: Sequence[int]) -> dict[str, Any]:
    """Delay of the first alarm within 2,000 events of each change, and the alarms that belong to none."""
    windows = [[a for a in found if change <= a <= change + ALLOWED] for change in log.changes]
    false = [a for a in found if not any(change <= a <= change + ALLOWED for change in log.changes)]
    delays = [min(hits) - change if hits else None for hits, change in zip(windows, log.changes, strict=True)]
    return {"events": len(log.events), "delays": delays, "false": len(false), "alarms": found[:50]}


def summary(judged: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Over several logs."""
    delays = [delay for result in judged.values() for delay in result["delays"]]
    known = sorted(delay for delay in delays if delay is not None)
    middle = median(float("inf") if delay is None else delay for delay in delays)
    false, events = (sum(result[name] for result in judged.values()) for name in ("false", "events"))
    return {
        "changes": len(delays),
        "found": len(known),
        "median_delay_of_found": median(known) if known else None,
        "median_delay_of_all": None if middle == float("inf") else middle,  # one that is not found counts as infinite
        "largest_delay": known[-1] if known else None,
        "false_alarms": false,
        "false_alarms_per_1000_events": 1000 * false / events,
    }


def read_log(path: Path, changes: tuple[int, ...] = ()) -> Log:
    """A log in the order of the file."""
    frame = pd.read_parquet(path, columns=["case_id", "activity"])
    events = zip(frame["case_id"].astype(str), frame["activity"].astype(str), strict=True)
    return Log(path.stem, tuple(events), changes)


def shuffled(path: Path, seed: int) -> Log:
    """The log without its changes: each case keeps its events and their distances, but starts when another one did."""
    frame = pd.read_parquet(path, columns=["case_id", "activity", "timestamp"])
    moment = frame["timestamp"].astype("int64")
    start = moment.groupby(frame["case_id"], sort=False).transform("min")
    starts = start.groupby(frame["case_id"], sort=False).first()
    drawn = pd.Series(np.random.default_rng(seed).permutation(starts.to_numpy()), index=starts.index)
    order = np.argsort((frame["case_id"].map(drawn) + moment - start).to_numpy(), kind="stable")
    frame = frame.iloc[order]
    return Log(path.stem, tuple(zip(frame["case_id"].astype(str), frame["activity"].astype(str), strict=True)))


def visible(log: Log) -> list[float]:
    """For each change, how surely the activities that follow differ between its two sides, with all events known.

    A χ² test for each context of one to three last activities, the smallest p-value after Holm: what no statistic of
    the next activity can see, no detector will.
    """
    bounds = (0, *log.changes, len(log.events))
    return [_difference(log, bounds[number], change, bounds[number + 2]) for number, change in enumerate(log.changes)]


def _difference(log: Log, start: int, change: int, end: int) -> float:
    names = sorted({activity for _, activity in log.events})
    code = {name: number for number, name in enumerate(names)}
    sides: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})
    for position, before, activity in _followed(log):
        if start <= position < end:
            for length in range(1, min(3, len(before)) + 1):
                row = sides[position >= change].setdefault(tuple(before[-length:]), np.zeros(len(names), dtype=int))
                row[code[activity]] += 1
    shared = sides[0].keys() & sides[1].keys()
    return min(holm([chi_square(sides[0][context], sides[1][context]).p_value for context in shared]))


def _followed(log: Log) -> Iterator[tuple[int, list[str], str]]:
    cases: dict[str, list[str]] = {}
    for position, (case, activity) in enumerate(log.events):
        before = cases.setdefault(case, [])
        if before:
            yield position, before, activity
        before.append(activity)


def _folder() -> Path:
    root = os.environ.get("EVERGREEN_BENCH_DATA")
    if not root or not (folder := Path(root) / "process").is_dir():
        raise BadInputError("EVERGREEN_BENCH_DATA must name the folder that holds process/drift/GROUND_TRUTH.csv.")
    return folder


def run(progress: Progress | None = None) -> dict[str, Any]:
    """Run every detector over every log; plain values, the same each time.

    Raises:
        BadInputError: the data are not there.
    """
    progress = progress or Silent()
    folder = _folder()
    truth = pd.read_csv(folder / "drift" / "GROUND_TRUTH.csv")
    logs = [
        read_log(folder / "drift" / name, tuple(int(event) for event in str(events).split()))
        for name, events in zip(truth["file"], truth["change_events"], strict=True)
    ]
    detectors = {}
    for name, (signal, make) in competitors().items():
        judged = _judged(logs, signal, make, progress)
        detectors[name] = {"signal": signal, "all": summary(judged), "logs": judged}
    return {
        "detectors": detectors,
        "default_chosen_on_the_other_half": _chosen_on_the_other_half(logs, progress),
        "smallest_p_value_of_each_change": {log.name: visible(log) for log in logs},
        "without_changes": _without_changes(folder, logs, progress),
        "real_logs": _real_logs(folder, progress),
        "allowed_delay": ALLOWED,
        "versions": {name: version(name) for name in ("numpy", "river", "scipy")}
        | {"python": platform.python_version()},
    }


def _judged(logs: Sequence[Log], signal: str, make: Callable[[], Fed], progress: Progress) -> dict[str, dict[str, Any]]:
    return {log.name: judge(log, alarms(log, signal, make(), progress)) for log in logs}


def _chosen_on_the_other_half(logs: Sequence[Log], progress: Progress) -> dict[str, Any]:
    """The default with the settings of fewest false alarms, then most changes, then least delay on the other half."""
    tried = [
        _judged(logs, "all", lambda choice=choice: make_detector("outcomes", **choice), progress) for choice in CHOICES
    ]
    judged, chosen = {}, {}
    for half in (True, False):
        scores = []
        for results in tried:
            there = summary({name: result for name, result in results.items() if (name in HALF) == half})
            scores.append((there["false_alarms"], -there["found"], there["median_delay_of_found"]))
        best = scores.index(min(scores))
        chosen["second" if half else "first"] = CHOICES[best]
        judged |= {name: result for name, result in tried[best].items() if (name in HALF) != half}
    return {
        "all": summary(judged),
        "logs": judged,
        "chosen_for_half": chosen,
        "tried": [{**choice, **summary(results)} for choice, results in zip(CHOICES, tried, strict=True)],
    }


def _without_changes(folder: Path, logs: Sequence[Log], progress: Progress) -> dict[str, Any]:
    """The default's alarms on shuffled logs: all of them false."""
    found = events = 0
    for log in logs:
        for seed in range(SHUFFLES):
            still = shuffled(folder / "drift" / f"{log.name}.parquet", seed)
            events += len(still.events)
            found += len(alarms(still, "all", default_detector(), progress))
    return {"events": events, "alarms": found, "per_1000_events": 1000 * found / events}


def _real_logs(folder: Path, progress: Progress) -> dict[str, Any]:
    """The default's alarms on logs of which no change is known."""
    logs = [read_log(path) for path in sorted(folder.glob("*.parquet"))]
    return {
        log.name: {"events": len(log.events), "alarms": alarms(log, "all", default_detector(), progress)}
        for log in logs
    }


def work(folder: Path) -> int:
    """Events that :func:`run` looks at."""
    once = pd.read_csv(folder / "drift" / "GROUND_TRUTH.csv")["events"].sum()
    real = sum(len(pd.read_parquet(path, columns=["case_id"])) for path in folder.glob("*.parquet"))
    return int(once * (len(competitors()) + len(CHOICES) + SHUFFLES) + real)


def table(result: dict[str, Any]) -> str:
    """The detectors' results, a line each."""
    lines = [f"{'detector':24} {'found':>7} {'median':>7} {'worst':>6} {'false':>6} {'/1000':>8}"]
    for name, detector in result["detectors"].items():
        found = detector["all"]
        delays = [found["median_delay_of_found"], found["largest_delay"]]
        shown = [f"{delay:.0f}" if delay is not None else "–" for delay in delays]
        lines.append(
            f"{name:24} {found['found']:>3}/{found['changes']:<3} {shown[0]:>7} {shown[1]:>6} "
            f"{found['false_alarms']:>6} {found['false_alarms_per_1000_events']:>8.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    folder = _folder()
    with track("logs", total=work(folder), unit="events") as progress:
        result = run(progress)
    write_json(RESULT, result)
    print(table(result))
    print("the default, chosen on the other half:", result["default_chosen_on_the_other_half"]["all"])
    print("without changes:", result["without_changes"])


if __name__ == "__main__":
    main()
