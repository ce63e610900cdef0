"""What the image pipeline left behind, read for its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from evergreen.images.arrays import read_index
from evergreen.images.layout import ImageLayout
from evergreen.images.windows import Window, read_windows
from evergreen.report.run_files import read_needed

Record = Mapping[str, Any]
"""An object of a JSON file."""


@dataclass(frozen=True)
class Inputs:
    """The results of one run of the image pipeline.

    ``windows`` are in time order and ``index`` has the rows of all of them, with the window's number in ``window``.
    ``refused`` counts what ingest could not read, by reason. ``skipped`` says why there is no probe, if there is none.
    """

    layout: ImageLayout
    params: Record
    windows: Sequence[Window]
    training: Sequence[Record]
    index: pd.DataFrame
    hidden: int
    gate: int
    days: pd.DataFrame
    validation: Record
    refused: Mapping[str, int]
    drift: Sequence[Record]
    pretrain: Record
    epochs: Sequence[Record]
    probe: Record
    finetune: Sequence[Record]
    evaluate: Record
    predictions: pd.DataFrame

    @property
    def noise_start(self) -> datetime | None:
        """When the simulated stream turns noisy, None if it does not or if the images are a user's own."""
        ingest = self.params["ingest"]
        if ingest.get("source") == "folder" or ingest.get("noise_from_day") is None:
            return None
        first = datetime.fromisoformat(str(ingest["first_day"]))
        return first + timedelta(days=int(ingest["noise_from_day"]))


def read_inputs(layout: ImageLayout, params: Record) -> Inputs:
    """Read the files of all earlier steps.

    Raises:
        BadInputError: one is missing; the message names the step that writes it.
    """
    windows = read_windows(layout.windows)
    index = _index(layout, windows)
    hidden = _ids(layout.hidden_labels)
    gate = _ids(layout.gate_labels)
    needed = partial(read_needed, domain="images")
    return Inputs(
        layout=layout,
        params=params,
        windows=windows,
        training=needed(layout.training_windows, "windows")["windows"],
        index=index,
        hidden=len(hidden),
        gate=len(gate),
        days=labels_by_day(index, hidden, gate),
        validation=needed(layout.validation / "result.json", "validate"),
        refused=_refused(layout.quarantine / "ingest" / "reasons.parquet"),
        drift=sorted(needed(layout.metrics / "drift.json", "drift"), key=lambda record: str(record["start"])),
        pretrain=needed(layout.metrics / "pretrain.json", "pretrain"),
        epochs=needed(layout.plots / "pretrain.json", "pretrain"),
        probe=needed(layout.metrics / "probe.json", "probe"),
        finetune=needed(layout.metrics / "finetune.json", "finetune"),
        evaluate=needed(layout.metrics / "evaluate.json", "evaluate"),
        predictions=_predictions(layout.predictions / "test.parquet"),
    )


def labels_by_day(index: pd.DataFrame, hidden: set[str], gate: set[str]) -> pd.DataFrame:
    """Count the images of each day of arrival by what is known about their label.

    Args:
        index: columns arrived_at, label (null where not known) and image_id.
        hidden: ids of images whose label exists but is not known.
        gate: ids of images whose label only the promotion gate reads.

    Returns:
        One row a day (UTC, ascending), columns day, images, known, gate, hidden, none; the last four add up to images.
    """
    kinds = pd.Series("none", index=index.index)
    kinds[index["image_id"].isin(hidden)] = "hidden"
    kinds[index["image_id"].isin(gate)] = "gate"
    kinds[index["label"].notna()] = "known"
    days = index["arrived_at"].dt.floor("D").rename("day")
    counts = pd.crosstab(days, kinds).reindex(columns=["known", "gate", "hidden", "none"], fill_value=0)
    counts.insert(0, "images", counts.sum(axis=1))
    return counts.rename_axis(columns=None).reset_index()


def _index(layout: ImageLayout, windows: Sequence[Window]) -> pd.DataFrame:
    frames = [read_index(layout.windows / window.window_id) for window in windows]
    return pd.concat([frame.assign(window=number) for number, frame in enumerate(frames)], ignore_index=True)


def _ids(path: Path) -> set[str]:
    """Which images have such a label. The labels themselves stay unread: they are not the report's business."""
    return set(pd.read_parquet(path, columns=["image_id"])["image_id"])


def _refused(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    kinds = pd.read_parquet(path, columns=["reason"])["reason"].str.split(":").str[0]  # "kind: details of this file"
    counts = kinds.value_counts()
    return {str(reason): int(number) for reason, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}


def _predictions(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=["image_id", "label", "prediction", "score", "supervised"])
    return pd.read_parquet(path)
