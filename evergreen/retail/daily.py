"""A new day of a churn stream and nothing else: answers for its customers, labels for earlier answers, drift.

The champion answers every active customer of each new day; what it said of them is kept until the outcome is known. On
each day the mean log-loss of the answers whose outcome became known goes to a detector. An alarm calls for the whole
run, which trains, proves and registers; without one the champion stays, and a day costs seconds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.files import read_json, write_atomically, write_json
from evergreen.retail.bundle import ChurnModel
from evergreen.retail.example_frames import feature_names
from evergreen.stream.detectors.registry import make_detector, restore_detector

FOLDER = Path("data") / "retail" / "daily"
LEAST = 1e-3
"""Risk below which an error costs no more."""
DETECTOR, SETTINGS = "adwin", {"delta": 0.05}
OPEN = pa.schema([pa.field("example_id", pa.string()), pa.field("risk", pa.float64())])


@dataclass(frozen=True)
class DailyState:
    """How far the days were followed.

    Attributes:
        weights_sha256: of the model that followed; another one starts its detector anew.
        scored_until: the last day whose customers were answered, ISO 8601; None before the first.
        detector: its state; None before the first label.
    """

    weights_sha256: str
    scored_until: str | None = None
    detector: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path, weights_sha256: str) -> Self:
        """The state in a folder, as the model with these weights goes on from it."""
        path = folder / "state.json"
        found = cls(**read_json(path)) if path.is_file() else cls(weights_sha256)
        same = found.weights_sha256 == weights_sha256
        return found if same else cls(weights_sha256, found.scored_until)


@dataclass(frozen=True)
class Day:
    """What the new days brought.

    Attributes:
        state: after them.
        answers: example_id, customer_id, generated_on, risk, churn of the customers of the new days.
        labels: example_id, label (``1`` is churn), label_at of earlier answers whose outcome became known.
        open: example_id, risk of all answers that wait for their outcome.
        drift: whether the detector raised an alarm.
        loss: mean log-loss of the answers whose outcome became known; None without any.
    """

    state: DailyState
    answers: pa.Table
    labels: pa.Table
    open: pa.Table
    drift: bool
    loss: float | None


def follow(workspace: Path, model: ChurnModel, state: DailyState) -> Day:
    """Answer what is new and join what became known.

    Args:
        workspace: with examples.parquet of mode ``default``.
        model: the champion.
        state: as of :meth:`DailyState.read`. Before the first day only the last one is answered.
    """
    examples = workspace / "examples.parquet"
    answers = _answers(examples, model, state.scored_until)
    # where several days come at once, the outcome of some new answers is known already
    waiting = pa.concat_tables([_waiting(workspace / FOLDER / "open.parquet"), answers.select(OPEN.names).cast(OPEN)])
    known = _known(examples, waiting)
    losses = _losses(known, waiting)
    drift, detector = _watch(known, losses, state.detector)
    last = pc.max(answers["generated_on"]).as_py()
    after = DailyState(model.weights_sha256, last.isoformat() if last else state.scored_until, detector)
    told = pc.is_in(waiting["example_id"], value_set=known["example_id"])
    labels = pa.table(
        {
            "example_id": known["example_id"],
            "label": pc.if_else(known["label"], "1", "0"),
            "label_at": known["label_at"].cast(pa.timestamp("us", tz="UTC")),
        }
    )
    loss = float(losses.mean()) if len(losses) else None
    return Day(after, answers, labels, waiting.filter(pc.invert(told)), drift, loss)


def keep(workspace: Path, day: Day) -> None:
    """Write the scores of the new days, the open answers and, last, the state: after a kill the days are done again."""
    folder = workspace / FOLDER
    for moment in pc.unique(day.answers["generated_on"]).to_pylist():
        scores = day.answers.filter(pc.equal(day.answers["generated_on"], moment))
        _write(folder / "scores" / f"{moment.isoformat()}.parquet", scores)
    _write(folder / "open.parquet", day.open)
    write_json(folder / "state.json", asdict(day.state))


def _answers(examples: Path, model: ChurnModel, scored_until: str | None) -> pa.Table:
    """The customers at the end of each day after the last one that was answered."""
    names = feature_names(model.periods)
    made = pq.read_table(examples, columns=["generated_on"])["generated_on"]
    last = pc.max(made).as_py()
    after = pc.field("generated_on") == last
    if scored_until is not None:
        after = pc.field("generated_on") > date.fromisoformat(scored_until)
    found = pq.read_table(examples, columns=["example_id", "customer_id", "generated_on", *names], filters=after)
    found = found.filter(pc.ends_with(found["example_id"], "/0"))  # not those in the middle of a day
    features = np.column_stack([found[name].to_numpy().astype(np.float64) for name in names])
    risk = model.probabilities(features) if len(found) else np.zeros(0)
    kept = found.select(["example_id", "customer_id", "generated_on"])
    return kept.append_column("risk", pa.array(risk)).append_column("churn", pa.array(risk >= model.threshold))


def _waiting(path: Path) -> pa.Table:
    return pq.read_table(path, schema=OPEN) if path.is_file() else OPEN.empty_table()


def _known(examples: Path, waiting: pa.Table) -> pa.Table:
    """example_id, day, label, label_at of the waiting answers whose outcome is known by now, by day."""
    wanted = pc.field("label").is_valid() & pc.field("example_id").isin(waiting["example_id"].combine_chunks())
    columns = ["example_id", "day", "label", "label_at"]
    return pq.read_table(examples, columns=columns, filters=wanted).sort_by([("day", "ascending")])


def _losses(known: pa.Table, waiting: pa.Table) -> NDArray[np.float64]:
    """(n,) −log of the probability that was given to what came true, cut and scaled to 0–1."""
    places = pc.index_in(known["example_id"], value_set=waiting["example_id"])
    risk = waiting["risk"].take(places).to_numpy()
    churned = known["label"].to_numpy()
    given = np.where(churned, risk, 1 - risk)
    return np.asarray(np.log(np.maximum(given, LEAST)) / np.log(LEAST))


def _watch(
    known: pa.Table, losses: NDArray[np.float64], state: Mapping[str, Any] | None
) -> tuple[bool, dict[str, Any] | None]:
    """Feed the detector the mean loss of each day; whether one raised an alarm."""
    detector = restore_detector(state) if state else make_detector(DETECTOR, **SETTINGS)
    days = known["day"].cast(pa.int32()).to_numpy()
    alarms = [detector.update(float(losses[days == moment].mean())) for moment in np.unique(days)]
    return any(alarms), detector.state() if state or alarms else None


def _write(path: Path, table: pa.Table) -> None:
    write_atomically(path, lambda part: pq.write_table(table, part))
