"""Scoring new images with a model, a batch in memory at a time: `evergreen score images`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import remove
from evergreen.images.bundle import Classifier
from evergreen.images.score_source import Batch, Source
from evergreen.progress import Progress

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("path", pa.string()),  # below the input folder, or as the Parquet file has it
        pa.field("prediction", pa.string(), nullable=False),  # the class's name
        pa.field("score", pa.float32(), nullable=False),  # its probability
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("predicted_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""The columns of the output."""

QUARANTINE_SCHEMA = pa.schema(
    [pa.field("path", pa.string()), pa.field("row", pa.int64()), pa.field("reason", pa.string(), nullable=False)]
)
"""The columns of the quarantine: ``row`` counts from 0 in a Parquet input."""


@dataclass(frozen=True)
class Identity:
    """Which model answered, and when."""

    model: str
    version: str
    predicted_at: datetime


@dataclass(frozen=True)
class Scored:
    """What became of the input.

    Attributes:
        read: images found.
        scored: rows in the output.
        refused: kind of reason → how many.
        classes: class → how many images got it.
        quarantine: where the refused ones are listed, None if there are none.
    """

    read: int
    scored: int
    refused: dict[str, int]
    classes: dict[str, int]
    quarantine: Path | None


def score(
    source: Source,
    output: Path,
    classifier: Classifier,
    identity: Identity,
    progress: Progress,
    batch_size: int = 256,
    max_pixels: int = 50_000_000,
) -> Scored:
    """Score every image of a source and write the answers.

    Both files appear whole or not at all; those of an earlier run are replaced.

    Args:
        source: the images.
        output: ``.parquet`` or ``.csv``, with the columns of :data:`PREDICTIONS_SCHEMA`.
        classifier: the model.
        identity: written beside every answer.
        progress: told of every batch.
        batch_size: images in memory at a time.
        max_pixels: files with more are refused before they are decoded.

    Raises:
        BadInputError: the output's suffix is another one, or not one image could be read.
    """
    quarantine = quarantine_path(output)
    refused: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    with _writer(output, PREDICTIONS_SCHEMA) as answers, _writer(quarantine, QUARANTINE_SCHEMA) as refusals:
        for batch in source.batches(batch_size, classifier.image_size, max_pixels):
            table = _answer(batch, classifier, identity)
            answers.write_table(table)
            refusals.write_table(pa.Table.from_pylist([vars(one) for one in batch.refused], schema=QUARANTINE_SCHEMA))
            classes.update(table.column("prediction").to_pylist())
            refused.update(one.reason.split(":")[0] for one in batch.refused)
            progress.advance(len(batch))
        _check_count(source.total, classes.total(), refused.total())
    if not refused:
        remove(quarantine)
    result = Scored(
        read=source.total,
        scored=classes.total(),
        refused=dict(refused.most_common()),
        classes=dict(classes.most_common()),
        quarantine=quarantine if refused else None,
    )
    if refused and not result.scored:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in result.refused.items())
        raise BadInputError(f"None of the {result.read:,} inputs is a readable image ({kinds}). See {quarantine}.")
    return result


def quarantine_path(output: Path) -> Path:
    """Where the refused inputs of an output are listed."""
    return output.with_suffix(".quarantine.parquet")


def _answer(batch: Batch, classifier: Classifier, identity: Identity) -> pa.Table:
    count = len(batch.ids)
    probabilities = _probabilities(batch.images, classifier)
    best = probabilities.argmax(axis=1)
    columns = [
        batch.ids,
        batch.paths,
        [classifier.classes[index] for index in best],
        probabilities[np.arange(count), best],
        [identity.model] * count,
        [identity.version] * count,
        [identity.predicted_at] * count,
    ]
    arrays = [pa.array(column, type=f.type) for column, f in zip(columns, PREDICTIONS_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PREDICTIONS_SCHEMA)


def _probabilities(images: list[NDArray[np.uint8]], classifier: Classifier) -> NDArray[np.float32]:
    if not images:
        return np.empty((0, len(classifier.classes)), dtype=np.float32)
    return classifier.predict_probabilities(np.stack(images), batch_size=len(images))


def _check_count(read: int, scored: int, refused: int) -> None:
    if scored + refused != read:
        raise BadInputError(
            f"The input changed while it was read: {read:,} images were found, {scored:,} scored and {refused:,} "
            "refused. Run again when nothing writes to it."
        )


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[Any]:
    """A writer of tables to a temporary name, which takes its place at the end and is removed on an error."""
    kinds = {".parquet": pq.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}
    if path.suffix not in kinds:
        raise BadInputError(f"--output {path} has the suffix {path.suffix!r}, expected one of {', '.join(kinds)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with kinds[path.suffix](str(part), schema) as writer:
            yield writer
        part.replace(path)
    finally:
        remove(part)
