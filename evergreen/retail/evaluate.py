"""Step `evaluate`: the new version and the champion on the labels that came after the champion was made."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evergreen.files import read_json, write_json
from evergreen.retail.bundle import CONFIG, ChurnModel, load
from evergreen.retail.example_frames import feature_names
from evergreen.stream.version_gate import Contender, Names, judge_version, names_in, read_version_policy

POLICY = Path("mlflow") / "promotion.yaml"
DOMAIN = "retail"
MODEL = "evergreen"
FOLDER = Path("data") / DOMAIN


def run(workspace: Path, params: Mapping[str, Any]) -> None:
    """Write metrics/evaluate.json.

    Raises:
        BadInputError: the policy does not fit, a model is damaged, or the champion is not the one that was exported.
    """
    policy = read_version_policy(workspace / POLICY, DOMAIN)
    result = workspace / FOLDER / "metrics" / "evaluate.json"
    folder = workspace / FOLDER / "models" / "champion"
    answers = labelled_answers(workspace / "predictions.parquet")
    if not answers.num_rows or not (folder / CONFIG).is_file():
        write_json(result, {"skipped": f"model {MODEL} was not run, so there is no new version"})
        return
    challenger, champion = load(folder), None
    if expected := params["champion"]:
        place = workspace / FOLDER / "champion"
        answers, said = champion_answers(
            load(place, expected_sha256=expected), str(read_json(place / CONFIG)["horizon"]), answers, workspace
        )
        champion = Contender(expected, said)
    new = Contender(challenger.weights_sha256, names_in(answers, "prediction"))
    write_json(result, judge_version(names_in(answers, "label"), new, champion, policy, params["seed"]))


def labelled_answers(path: Path) -> pa.Table:
    """example_id, prediction, label and label_at of the main model's answers whose label is known."""
    columns = ["example_id", "model", "prediction", "label", "label_at"]
    wanted = (pc.field("model") == MODEL) & pc.field("label").is_valid()
    return pq.read_table(path, columns=columns, filters=wanted).drop_columns("model")


def champion_answers(champion: ChurnModel, horizon: str, answers: pa.Table, workspace: Path) -> tuple[pa.Table, Names]:
    """The answers whose labels came after the champion's last day, and what the champion says of the same examples."""
    later = answers.filter(pc.greater(pc.cast(answers["label_at"], pa.date32()), date.fromisoformat(horizon)))
    names = feature_names(champion.periods)
    examples = pq.read_table(workspace / "examples.parquet", columns=["example_id", *names])
    places = pc.index_in(later["example_id"], value_set=examples["example_id"])
    chosen = examples.take(places)
    features = np.column_stack([chosen[name].to_numpy().astype(np.float64) for name in names])
    churns = champion.probabilities(features) >= champion.threshold if len(features) else np.zeros(0, np.bool_)
    return later, np.where(churns, "1", "0").astype(object)
