"""How well each activity was foreseen, over stretches of the stream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from evergreen.process.directly_follows import Codes

COLUMNS = ["event_index", "prediction", "label", "label_at"]


@dataclass(frozen=True)
class Answers:
    """A model's answers whose truth is known, in the order of the stream.

    Attributes:
        classes: names of the activities predicted or true.
        place: (N,) place in the stream of the event that was foreseen, ascending.
        prediction: (N,) codes.
        label: (N,) codes.
    """

    classes: tuple[str, ...]
    place: Codes
    prediction: Codes
    label: Codes


def read_answers(path: Path, model: str, event_index: Codes, micros: Codes) -> Answers | None:
    """Read a model's answers from the ledger.

    Args:
        path: ``predictions.parquet``.
        model: its name.
        event_index: (N,) of the events, in the order of the stream.
        micros: (N,) their moments; an answer about an event that the log lacks (a case's end) is placed by time.

    Returns:
        None if there is no ledger or nothing of this model in it.
    """
    if not path.is_file():
        return None
    found = pq.read_table(path, columns=COLUMNS, filters=[("model", "==", model)]).to_pandas()
    found = found[found["label"].notna()]
    if found.empty:
        return None
    place_of = pd.Series(np.arange(len(event_index)), index=event_index)
    place = found["event_index"].map(place_of).to_numpy(float)
    moment = pd.to_datetime(found["label_at"], utc=True).astype("datetime64[us, UTC]").astype("int64").to_numpy()
    place = np.where(np.isnan(place), np.searchsorted(micros, moment), place)
    order = np.argsort(place, kind="stable")
    names = pd.Index(sorted({*found["label"].astype(str), *found["prediction"].astype(str)}))
    codes = [names.get_indexer(found[column].astype(str)).astype(np.int64)[order] for column in ("prediction", "label")]
    return Answers(tuple(names), place[order].astype(np.int64), codes[0], codes[1])


def f_by_activity(answers: Answers | None, first: int, last: int) -> dict[str, dict[str, float | int]]:
    """F and support of each activity that was predicted or true from place ``first`` to before place ``last``."""
    if answers is None:
        return {}
    low, high = np.searchsorted(answers.place, [first, last])
    size = len(answers.classes)
    prediction, label = answers.prediction[low:high], answers.label[low:high]
    right = np.bincount(label[prediction == label], minlength=size)
    support, said = np.bincount(label, minlength=size), np.bincount(prediction, minlength=size)
    return {
        name: {"f1": float(2 * right[code] / (support[code] + said[code])), "support": int(support[code])}
        for code, name in enumerate(answers.classes)
        if support[code] + said[code]
    }
