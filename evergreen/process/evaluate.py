"""Step `evaluate`: the new version and the champion on the events that came after the champion was made."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.process.bundle import Champion, load
from evergreen.process.layout import ProcessLayout
from evergreen.process.online import OnlineConfig, read_stream
from evergreen.process.prefixes import PADDING, LongPrefixes, Window
from evergreen.process.stream import EventStream, Rows
from evergreen.stream.version_gate import Contender, Names, judge_version, names_in, read_version_policy

POLICY = Path("mlflow") / "promotion.yaml"
DOMAIN = "process"
AT_ONCE = 4_096


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Write metrics/evaluate.json.

    Raises:
        BadInputError: the policy does not fit, a model is damaged, or the champion is not the one that was exported.
    """
    layout = ProcessLayout(workspace)
    policy = read_version_policy(workspace / POLICY, DOMAIN)
    result = layout.data / "metrics" / "evaluate.json"
    challenger_folder = layout.data / "models" / "champion"
    if not any(challenger_folder.iterdir()):
        write_json(result, {"skipped": "no model of ours was run, so there is no new version"})
        return
    challenger = load(challenger_folder)
    answers = model_answers(workspace / "predictions.parquet", str(challenger.facts["model"]))
    expected = params["champion"]
    champion = load(layout.data / "champion", expected_sha256=expected) if expected else None
    contenders = [Contender(challenger.weights_sha256, names_in(answers, "prediction"))]
    labels = names_in(answers, "label")
    if champion is not None:
        stream = read_stream(workspace, OnlineConfig.read(params["online"], "params.yaml: process.online"))
        later, said = answers_after(champion, stream, len(answers))
        labels = labels[later]
        contenders = [
            Contender(challenger.weights_sha256, contenders[0].answers[later]),
            Contender(champion.weights_sha256, said),
        ]
    write_json(
        result, judge_version(labels, contenders[0], contenders[1] if champion else None, policy, params["seed"])
    )


def model_answers(path: Path, model: str) -> pa.Table:
    """The rows of predictions.parquet that a model gave, in the order of the stream."""
    names = ["model", "prediction", "label"]
    table = pq.read_table(path, columns=names, read_dictionary=names)
    return table.filter(pc.equal(table["model"], model))


def answers_after(champion: Champion, stream: EventStream, scored: int) -> tuple[Rows, Names]:
    """What a champion, as it was registered, says of the scored events after its own data.

    Returns:
        (n,) positions among the scored events, and (n,) names of its answers.

    Raises:
        BadInputError: the stream is not the one that the predictions are of.
    """
    rows = np.flatnonzero(stream.scored())
    if len(rows) != scored:
        raise BadInputError(
            f"predictions.parquet has {scored:,} answers, the events give {len(rows):,}: run step online again."
        )
    horizon = np.datetime64(champion.facts["horizon"].removesuffix("Z"), "us").astype(np.int64)
    later = np.flatnonzero(stream.time_us[rows] > horizon)
    prefixes, names = LongPrefixes(stream, champion.window), np.array(champion.names, dtype=object)
    found = [names[:0]]
    for start in range(0, len(later), AT_ONCE):
        window = prefixes.before(rows[later[start : start + AT_ONCE]])
        found.append(names[champion.say(translated(window, stream, champion)).classes])
    return later, np.concatenate(found)


def translated(window: Window, stream: EventStream, champion: Champion) -> Window:
    """A stream's window in the codes of a champion; names that it does not know are padding."""
    activity = [champion.activities.get(name, PADDING) for name in stream.activities]
    resource = [champion.resources.get(name, PADDING) for name in stream.resources]
    codes = [np.array([*code, PADDING], np.int32) for code in (activity, resource)]  # −1 finds the last one
    return Window(codes[0][window.activity], codes[1][window.resource], window.numbers)
