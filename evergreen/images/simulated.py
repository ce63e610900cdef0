"""A benchmark as a stream: its images arrive day by day, few labels are known, and one day the camera gets noisy."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.images.arrays import pixel_sha256
from evergreen.images.benchmark import Benchmark
from evergreen.images.corruption import noisy
from evergreen.images.ingest_config import IngestConfig
from evergreen.images.labels import draw_known
from evergreen.images.splits import split_of

DAY_MICROSECONDS = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class Day:
    """One day's arrivals.

    Attributes:
        name: ``YYYY-MM-DD``.
        images: uint8 (n, size, size, 3).
        index: n rows as in an index.parquet, in order of arrival.
        hidden: image_id, label of the train and val images whose label is not known.
        gate: image_id, label of the gate's images.
    """

    name: str
    images: NDArray[np.uint8]
    index: pd.DataFrame
    hidden: pd.DataFrame
    gate: pd.DataFrame


def days(data: Benchmark, config: IngestConfig, seed: int) -> Iterator[Day]:
    """Let a benchmark's images arrive: in seeded order, evenly spread over each day, from midnight UTC on.

    A day depends on (seed, config) but not on how many days there are.

    Raises:
        BadInputError: the data set has fewer images than the days ask for.
    """
    wanted = config.days * config.images_per_day
    if wanted > len(data.images):
        raise BadInputError(
            f"images.ingest asks for {config.days} days of {config.images_per_day:,} images, {wanted:,} in all, but "
            f"{data.name} has {len(data.images):,}. Lower days or images_per_day."
        )
    order = np.random.default_rng(seed).permutation(len(data.images))
    for number in range(config.days):
        start = number * config.images_per_day
        yield _day(data, order[start : start + config.images_per_day], number, config, seed)


def _day(data: Benchmark, members: NDArray[np.integer], number: int, config: IngestConfig, seed: int) -> Day:
    day = config.first_day + timedelta(days=number)
    ids = [data.image_id(member) for member in members]
    images = data.images[members]
    if config.noise_from_day is not None and number >= config.noise_from_day:
        images = noisy(images, ids, config.noise_severity, seed)
    hashes = [pixel_sha256(image) for image in images]
    splits = np.array([split_of(h, seed, test=0, gate=config.gate_fraction, val=config.val_fraction) for h in hashes])
    known = draw_known(splits, config.known_fraction, seed, number)
    labels = pd.DataFrame({"image_id": ids, "label": [data.classes[data.labels[member]] for member in members]})
    offsets = np.arange(len(members)) * (DAY_MICROSECONDS // len(members))
    midnight = np.datetime64(day, "us")
    index = pd.DataFrame(
        {
            "image_id": ids,
            "arrived_at": pd.DatetimeIndex(midnight + offsets.astype("timedelta64[us]")).tz_localize("UTC"),
            "label": labels["label"].where(known, None),
            "split": splits,
            "sha256": hashes,
        }
    )
    return Day(day.isoformat(), images, index, labels[~known & (splits != "gate")], labels[splits == "gate"])
