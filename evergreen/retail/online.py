"""Step `online`: follow the stream of customers day by day with one model or with all, and keep every answer."""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import write_atomically, write_json
from evergreen.retail.example_frames import NEVER
from evergreen.retail.protocol import RunInput, RunOutput, View
from evergreen.retail.scores import figures, over_seeds
from evergreen.retail.stream import Examples, plan, read_examples

MAIN = "evergreen"
DAY_US = 86_400_000_000
BACKGROUND = 500
ROWS_AT_ONCE = 262_144
LEDGER = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("predicted_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("prediction", pa.string(), nullable=False),
        pa.field("score", pa.float64()),  # risk of churn
        pa.field("label", pa.string()),
        pa.field("label_at", pa.timestamp("us", tz="UTC")),
    ]
)
CLASSES = ("0", "1")
"""Names of the classes in the ledger: 1 is churn."""
Model = Callable[[RunInput], RunOutput]


class OnlineConfig(Config):
    """What runs, on which days.

    Attributes:
        first_day: first day of labels to use; None: the first there is.
        initial_days: days with labels that the first model learns from; None: a rule, see
            :func:`evergreen.retail.stream.plan`.
        models: names, or ``all``.
        seeds: runs of each model, with seeds ``seed``, ``seed + 1``, …; the ledger has the first one's answers.
        evergreen: settings of the model `evergreen`, see :class:`evergreen.retail.evergreen_model.EvergreenConfig`.
        views: ``own``: that of the examples' mode; ``both``: the other view of the same examples too, and the gap.
    """

    first_day: date | None = None
    initial_days: int | None = pydantic.Field(None, ge=1)
    models: tuple[str, ...] | Literal["all"] = (MAIN,)
    seeds: int = pydantic.Field(1, ge=1)
    evergreen: dict[str, Any] = pydantic.Field(default_factory=dict)
    views: Literal["own", "both"] = "own"


class _Definition(Config):
    """What the step must know of the examples; the other keys are the step `examples`' own."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")
    mode: View = "default"
    period_days: int = 120
    churn_days: int = 120


def registry(settings: Mapping[str, Any]) -> dict[str, Model]:
    """All models by name; the settings are those of `evergreen`."""
    from evergreen.retail.baselines import BASELINES
    from evergreen.retail.evergreen_model import EvergreenConfig, run_evergreen
    from evergreen.retail.window_baselines import logistic_window, xgboost_window

    config = EvergreenConfig.read(settings, "params.yaml: retail.online.evergreen")
    own: dict[str, Model] = {MAIN: lambda data: run_evergreen(data, config)}
    return own | BASELINES | {"logistic-window": logistic_window, "xgboost-window": xgboost_window}


def choose(wanted: tuple[str, ...] | Literal["all"], settings: Mapping[str, Any] | None = None) -> dict[str, Model]:
    """The models of these names.

    Raises:
        BadInputError: a name is not known.
    """
    known = registry(settings or {})
    names = tuple(known) if wanted == "all" or "all" in wanted else tuple(dict.fromkeys(wanted))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise BadInputError(f"No model {', '.join(unknown) or 'named'}. There are: all, {', '.join(known)}.")
    return {name: known[name] for name in names}


def run(workspace: Path, params: Mapping[str, Any]) -> None:
    """Write the ledger, the figures, the drifts, and the last model.

    Raises:
        BadInputError: the examples are missing or too few, or a parameter does not fit.
    """
    config = OnlineConfig.read(params.get("online", {}), "params.yaml: retail.online")
    definition = _Definition.read(params.get("examples", {}), "params.yaml: retail.examples")
    models = choose(config.models, config.evergreen)
    seed, threads = int(params.get("seed", 0)), int(params.get("threads", 2))

    def planned(view: View, at: int) -> tuple[Examples, RunInput]:
        examples = read_examples(workspace / "examples.parquet", view)
        spans = config.first_day, config.initial_days, definition.period_days, definition.churn_days
        return examples, plan(examples.stream, view, *spans, at, threads)

    runs = _Runs(workspace)
    for number in range(config.seeds):
        examples, data = planned(definition.mode, seed + number)
        for name, model in models.items():
            runs.add(name, examples, data, model(data), keep=number == 0)
    metrics: dict[str, Any] = {"view": definition.mode, "models": runs.figures(), "drifts": runs.counts()}
    if config.views == "both":
        view: View = "published" if definition.mode == "default" else "default"
        other = _Runs(None)
        for number in range(config.seeds):
            examples, data = planned(view, seed + number)
            for name, model in models.items():
                other.add(name, examples, data, model(data), keep=False)
        metrics["other_view"] = {"view": view, "models": other.figures()}
        metrics["gap"] = _gap(metrics["models"], other.figures(), definition.mode)
    runs.write(metrics)


def _gap(own: Mapping[str, Any], other: Mapping[str, Any], mode: View) -> dict[str, float | None]:
    """Macro-F in the published view minus macro-F at decision time, over examples whose outcome is known either way."""
    published, decided = (own, other) if mode == "published" else (other, own)
    found: dict[str, float | None] = {}
    for name, there in published.items():
        here = decided[name]["matured"]["macro_f1"]
        found[name] = None if here is None or there["macro_f1"] is None else there["macro_f1"] - here
    return found


class _Runs:
    """The results of all models and seeds."""

    def __init__(self, workspace: Path | None) -> None:
        self.workspace = workspace
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.seconds: dict[str, list[dict[str, float]]] = {}
        self.notes: dict[str, Any] = {}
        self.drifts: list[dict[str, Any]] = []
        self.ledgers: list[tuple[str, Examples, RunInput, RunOutput]] = []

    def add(self, name: str, examples: Examples, data: RunInput, output: RunOutput, keep: bool) -> None:
        """Count a run; ``keep`` its answers, drifts and model."""
        self.runs.setdefault(name, []).append(figures(data, output))
        self.seconds.setdefault(name, []).append(output.seconds)
        if keep:
            self.notes[name] = output.notes
            self.drifts += [{"model": name, **entry} for entry in output.drifts]
            self.ledgers.append((name, examples, data, output))

    def figures(self) -> dict[str, Any]:
        return {name: over_seeds(found) for name, found in self.runs.items()}

    def counts(self) -> dict[str, int]:
        """Alarms of each model's first run."""
        return {name: sum(entry["model"] == name for entry in self.drifts) for name in self.runs}

    def write(self, metrics: dict[str, Any]) -> None:
        assert self.workspace is not None
        write_ledger(self.workspace / "predictions.parquet", self.ledgers)
        write_json(self.workspace / "drifts.json", self.drifts)
        models = self.workspace / "data" / "retail" / "models"
        models.mkdir(parents=True, exist_ok=True)
        for name, _, data, output in self.ledgers:
            if name == MAIN:
                save_models(models, data, output)
        write_json(self.workspace / "metrics.json", metrics | {"chosen": self.notes})
        total = {name: [sum(run.values()) for run in runs] for name, runs in self.seconds.items()}
        write_json(self.workspace / "metrics.timing.json", {"total": total, "phases": self.seconds})


def save_models(folder: Path, data: RunInput, output: RunOutput) -> None:
    """The model after the last day as ``champion``, and all its versions."""
    from evergreen.retail.bundle import save
    from evergreen.retail.versions import save_versions

    diary, stream = output.bundle, data.stream
    last = diary.serving.frozen()
    rows = np.concatenate([data.initial, *(block.tell for block in data.blocks)])
    drawn = np.random.default_rng(data.seed).choice(rows, min(BACKGROUND, len(rows)), replace=False)
    last.background = stream.features[np.sort(drawn)]
    horizon = int(stream.told[stream.told < NEVER].max())
    save(folder / "champion", last, horizon=str(np.datetime64(horizon, "D")), seed=data.seed, view=data.view)
    save_versions(folder, diary.archive)


def write_ledger(path: Path, ledgers: list[tuple[str, Examples, RunInput, RunOutput]]) -> None:
    """All answers of all models, each model's in the order of the stream."""

    def fill(part: Path) -> None:
        with pq.ParquetWriter(part, LEDGER) as writer:
            for name, examples, data, output in ledgers:
                asked = np.flatnonzero(output.predictions >= 0)
                for start in range(0, len(asked), ROWS_AT_ONCE):
                    writer.write_table(_entries(name, examples, data, output, asked[start : start + ROWS_AT_ONCE]))

    write_atomically(path, fill)


def _entries(name: str, examples: Examples, data: RunInput, output: RunOutput, rows: NDArray[np.int64]) -> pa.Table:
    stream, taken = data.stream, pa.array(rows)
    unknown = stream.told[rows] >= NEVER
    label_at = examples.label_at.take(taken).cast(pa.timestamp("us"))
    # published: when the day of the label begins; else when the example's day ends, or its label comes before that
    at = stream.asked[rows] * DAY_US
    if data.view == "default":
        known_at = label_at.cast(pa.int64()).fill_null(np.iinfo(np.int64).max).to_numpy()
        at = np.minimum(at + DAY_US - 1, known_at)
    names = np.asarray(CLASSES, object)
    scores = output.scores[rows]
    return pa.table(
        {
            "example_id": examples.ids.take(taken).cast(pa.string()),
            "model": pa.array([name] * len(rows)),
            "model_version": pa.array(output.versions[rows]).cast(pa.string()),
            "predicted_at": pa.array(at).cast(pa.timestamp("us", tz="UTC")),
            "prediction": pa.array(names[output.predictions[rows].astype(int)], pa.string()),
            "score": pa.array(scores, mask=np.isnan(scores)),
            "label": pa.array(names[stream.labels[rows].astype(int)], pa.string(), mask=unknown),
            "label_at": label_at.cast(pa.timestamp("us", tz="UTC")),
        },
        schema=LEDGER,
    )
