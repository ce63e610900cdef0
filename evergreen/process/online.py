"""The step ``online``: models follow the event log from its first event to its last, and are judged by what they said.

Reads ``data/process/events.parquet``; writes ``predictions.parquet``, ``metrics.json``, ``metrics.timing.json`` and
``drifts.json`` into the workspace, and the model as it is after the last event into ``data/process/models/champion``.
"""

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pydantic

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import remove, write_atomically, write_json
from evergreen.process import bundle, models
from evergreen.process.endings import Endings, default_stream, learned_rules
from evergreen.process.layout import ProcessLayout
from evergreen.process.ledger import ledger_of
from evergreen.process.outcome import Fates, fates, naive_remaining, outcome_auc
from evergreen.process.protocol import RunInput, RunOutput
from evergreen.process.stream import EventStream, published_stream
from evergreen.progress import Progress, track
from evergreen.stream.predictions import PROCESS_SCHEMA


class OnlineConfig(Config):
    """What runs over the log, and how it is judged.

    Attributes:
        mode: ``published`` is the protocol of Pasquadibisceglie et al. 2023, closing events known one second after a
            case's last event; ``default`` what a live system could know, with answers right after the event before.
        models: names, or ``all``.
        seeds: runs of each model, seeds counted up from the domain's.
        outcome: the activities that can be a case's outcome, the last one counts; None: a case's last activity.
        endings: when a case is over, in default mode.
        settings: of models, by name; ``evergreen`` holds for its variants too.
    """

    mode: Literal["default", "published"] = "default"
    models: list[str] | str = pydantic.Field(default_factory=lambda: [models.EVERGREEN])
    seeds: int = pydantic.Field(1, ge=1)
    outcome: tuple[str, ...] | None = None
    endings: Endings = Endings()
    settings: dict[str, dict[str, Any]] = pydantic.Field(default_factory=dict)


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Run the step.

    Args:
        workspace: its folder.
        params: section ``process`` of params.yaml.

    Raises:
        BadInputError: the events are missing, too few to be judged by, or a name is unknown.
    """
    config = OnlineConfig.read(params.get("online", {}), "params.yaml: process.online")
    wanted = models.chosen(config.models)
    stream = read_stream(workspace, config)
    if unknown := [name for name in config.outcome or () if name not in stream.activities]:
        raise BadInputError(f"The log has no activity {unknown[0]!r}. It has: {', '.join(stream.activities[:20])}.")
    if not stream.scored().any():
        raise BadInputError(
            f"The log has {int((stream.event_index >= 0).sum()):,} events, and none after the warm-up follows another "
            "one of its case: nothing can be predicted. Take a longer log."
        )
    champion = ProcessLayout(workspace).data / "models" / "champion"
    remove(champion)
    champion.mkdir(parents=True)
    runs = Runs(workspace, config, stream, int(params.get("seed", 0)), int(params.get("threads", 2)))

    def write(part: Path) -> None:
        total = len(stream) * config.seeds * len(wanted)
        with pq.ParquetWriter(part, PROCESS_SCHEMA) as ledger, track("online", total=total, unit="events") as bar:
            for name in wanted:
                runs.follow(name, champion, ledger, bar)

    write_atomically(workspace / "predictions.parquet", write)
    shown = models.EVERGREEN if models.EVERGREEN in wanted else wanted[0]
    drifts = runs.drifts[shown]
    promoted = sum(record.get("decision") == "promoted" for record in drifts)
    counted = {"model": shown, "count": len(drifts), "promoted": promoted}
    write_json(workspace / "metrics.json", {"mode": config.mode, "models": runs.metrics, "drifts": counted})
    write_json(workspace / "metrics.timing.json", runs.timings)
    write_json(workspace / "drifts.json", drifts)


class Runs:
    """The runs of all models over one stream; what they were worth, by model.

    Args:
        workspace: where the events are.
        config: what runs, and how it is judged.
        stream: that all follow.
        first_seed: of the first run of each model.
        threads: processor threads of each.
    """

    def __init__(self, workspace: Path, config: OnlineConfig, stream: EventStream, first_seed: int, threads: int):
        codes = None if config.outcome is None else [stream.activities.index(name) for name in config.outcome]
        self.workspace = workspace
        self.config = config
        self.stream = stream
        self.seeds = range(first_seed, first_seed + config.seeds)
        self.threads = threads
        self.truth = fates(stream, codes)
        self.metrics: dict[str, dict[str, Any]] = {}
        self.timings: dict[str, dict[str, float]] = {}
        self.drifts: dict[str, list[dict[str, Any]]] = {}

    def follow(self, name: str, champion: Path, ledger: pq.ParquetWriter, progress: Progress) -> None:
        """Run a model with every seed; the first one's answers go to the ledger, its learner may be the champion."""
        outputs, seconds = [], []
        ahead = self.config.mode == "default"
        settings = _settings(name, self.config)
        for seed in self.seeds:
            given = RunInput(self.stream, self.stream.cut, seed, self.threads, settings, progress, ahead=ahead)
            started = time.perf_counter()
            output, learner = models.run_model(name, given)
            seconds.append({**output.seconds, "total": time.perf_counter() - started})
            outputs.append(output)
            ours = name == models.EVERGREEN or not any(champion.iterdir())
            if learner is not None and seed == self.seeds[0] and ours:
                bundle.save(champion, learner, **_facts(self.workspace, name, self.config, self.stream))
        for answers in ledger_of(name, self.stream, outputs[0], ahead):
            ledger.write_table(answers)
        self.metrics[name] = judge(self.stream, self.truth, outputs)
        self.timings[name] = {key: float(np.mean([run[key] for run in seconds])) for key in seconds[0]}
        self.drifts[name] = [_drift(record, self.stream) for record in outputs[0].drifts]


def read_stream(workspace: Path, config: OnlineConfig) -> EventStream:
    """The log's events, with the closing events of the mode."""
    path = ProcessLayout(workspace).events
    if not path.is_file():
        raise BadInputError(f"{path} is missing. Run the step ingest first: `evergreen step process ingest`.")
    events = pq.read_table(path)
    return published_stream(events) if config.mode == "published" else default_stream(events, config.endings)


def judge(stream: EventStream, truth: Fates, outputs: list[RunOutput]) -> dict[str, Any]:
    """Metrics of a model: means over its seeds; macro-F over the classes that occur or are answered, all of one run."""
    from sklearn.metrics import f1_score

    scores, right, errors, areas = [], [], [], []
    rows = outputs[0].rows
    label, fate = stream.activity[rows], truth.remaining_days[rows]
    ended = ~np.isnan(fate)
    for output in outputs:
        scores.append(float(f1_score(label, output.predictions, average="macro", zero_division=0)))
        right.append(float((label == output.predictions).mean()))
        if output.remaining_days is not None and ended.any():
            errors.append(float(np.abs(output.remaining_days[ended] - fate[ended]).mean()))
        if output.outcome is not None:
            area = outcome_auc(truth.outcome[rows], output.outcome, output.outcome_codes)
            areas.extend([] if area is None else [area])
    naive = np.abs(naive_remaining(stream, truth, rows)[ended] - fate[ended])
    return {
        "macro_f1": float(np.mean(scores)),
        "accuracy": float(np.mean(right)),
        "remaining_time_mae": float(np.mean(errors)) if errors else None,
        "remaining_time_mae_naive": float(naive.mean()) if errors else None,
        "outcome_auc": float(np.mean(areas)) if areas else None,
        "n_scored": len(rows),
        "seeds": len(outputs),
        "spread": float(np.std(scores)),
        "macro_f1_by_seed": scores,
    }


def _settings(name: str, config: OnlineConfig) -> dict[str, Any]:
    ours = name in models.VARIANTS or name in models.ADAPTATIONS
    found = dict(config.settings.get(name, config.settings.get(models.EVERGREEN, {}) if ours else {}))
    if ours and config.outcome is not None:
        found["model"] = {**found.get("model", {}), "outcomes": config.outcome}
    return found


def _facts(workspace: Path, name: str, config: OnlineConfig, stream: EventStream) -> dict[str, Any]:
    """What a bundle says of itself beside the model."""
    return {"model": name, "mode": config.mode, "endings": _rules(workspace, config), **_horizon(stream)}


def _horizon(stream: EventStream) -> dict[str, Any]:
    """How far the data of a champion reach."""
    last = str(np.datetime64(int(stream.time_us[-1]), "us")) + "Z"
    return {"events": int((stream.event_index >= 0).sum()), "horizon": last}


def _rules(workspace: Path, config: OnlineConfig) -> dict[str, Any]:
    """What ends a case for whoever asks the champion about open ones: as learned from the whole log."""
    events = pq.read_table(ProcessLayout(workspace).events)
    return learned_rules(events, config.endings)


def _drift(record: dict[str, Any], stream: EventStream) -> dict[str, Any]:
    """A drift by rows of the input file: closing events have none, so the event before them stands for them."""
    rows = {"event_index": record["row"], "change_event_index": record.get("change_row", record["row"])}
    found = {name: _event_before(stream, row) for name, row in rows.items()}
    return {**found, **{key: value for key, value in record.items() if not key.endswith("row")}}


def _event_before(stream: EventStream, row: int) -> int:
    real = np.flatnonzero(stream.event_index[: row + 1] >= 0)
    return int(stream.event_index[real[-1]]) if len(real) else 0
