"""The parameters of step `ingest`."""

from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
from PIL import Image

from evergreen.config import Config
from evergreen.images import cifar, digits

MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
"""Above this many pixels Pillow takes a file for a decompression bomb."""

STREAM_IMAGES = {"cifar10": cifar.TRAIN_IMAGES, "digits": digits.STREAM_IMAGES}


class IngestConfig(Config):
    """What arrives, when, and which labels come with it.

    Attributes:
        source: ``cifar10`` and ``digits`` are benchmarks that play a stream, ``folder`` is anyone's own images.
        folder: source folder: where the images are.
        folder_digest: source folder: :func:`evergreen.images.folder.folder_digest` of what to take in.
        cifar_folder: source cifar10: a folder that already holds the data set.
        image_size: side of the stored square images in pixels; CIFAR-10 has 32.
        first_day: of a benchmark's stream, UTC.
        days: length of a benchmark's stream.
        images_per_day: of a benchmark's stream.
        known_fraction: share of a benchmark's images whose label is known on arrival. Labels of own images are all
            known, apart from those of the gate and the test set.
        val_fraction: share of the images that serve choices.
        gate_fraction: share of the labelled images that only the promotion gate sees.
        test_fraction: source folder: share of the labelled images that become the test set. Benchmarks have one.
        noise_from_day: first day, from 0, on which a benchmark's images carry noise; None for never.
        noise_severity: of that noise and of the noisy copy of the test set, 1 to 5.
        max_pixels: files with more pixels are quarantined unread.
    """

    source: Literal["cifar10", "digits", "folder"]
    folder: Path | None = None
    folder_digest: str | None = None
    cifar_folder: Path | None = None
    image_size: int = pydantic.Field(32, ge=8, le=512)
    first_day: date
    days: int = pydantic.Field(ge=1, le=10_000)
    images_per_day: int = pydantic.Field(ge=1, le=1_000_000)
    known_fraction: float = pydantic.Field(ge=0, le=1)
    val_fraction: float = pydantic.Field(ge=0, lt=1)
    gate_fraction: float = pydantic.Field(ge=0, lt=1)
    test_fraction: float = pydantic.Field(ge=0, lt=1)
    noise_from_day: int | None = pydantic.Field(ge=0)
    noise_severity: int = pydantic.Field(ge=1, le=5)
    max_pixels: int = pydantic.Field(ge=1, le=MAX_PIXELS)

    @pydantic.model_validator(mode="after")
    def _fractions_fit(self) -> Self:
        total = self.val_fraction + self.gate_fraction + (self.test_fraction if self.source == "folder" else 0)
        if total >= 1:
            raise ValueError(f"val, gate and test fractions add up to {total:g}: nothing would be left to train on")
        return self

    @pydantic.model_validator(mode="after")
    def _source_fits(self) -> Self:
        if self.source == "folder":
            if self.folder is None:
                raise ValueError("source folder needs the folder's path: evergreen step images ingest --folder DIR")
            return self
        wanted, there = self.days * self.images_per_day, STREAM_IMAGES[self.source]
        if wanted > there:
            raise ValueError(
                f"{self.days} days of {self.images_per_day:,} images are {wanted:,}, but {self.source} has {there:,}; "
                "lower days or images_per_day"
            )
        if self.source == "cifar10" and self.image_size != cifar.SIZE:
            raise ValueError(f"the images of cifar10 are {cifar.SIZE}×{cifar.SIZE}: image_size must be {cifar.SIZE}")
        return self

    def identity(self, seed: int) -> dict[str, Any]:
        """The source and every parameter that shapes a day, whatever the number of days: what source.json holds."""
        shared = ("source", "image_size", "val_fraction", "gate_fraction")
        own = ("folder", "test_fraction", "max_pixels")
        simulated = ("first_day", "images_per_day", "known_fraction", "noise_from_day", "noise_severity")
        names = {*shared, *(own if self.source == "folder" else simulated)}
        return {"seed": seed, **self.model_dump(mode="json", include=names)}
