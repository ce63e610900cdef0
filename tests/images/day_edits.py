"""Faults for the tests of validation: days of a stream changed where they lie, and what came of it."""

import numpy as np
import pyarrow.parquet as pq

from evergreen.files import read_json
from evergreen.images.arrays import open_folder, pixel_sha256, write_folder

DAY = "2026-01-02"


def change(layout, edit, day=DAY):
    """Rewrite a day after ``edit(images, index)``; returns what it returned."""
    images, index = open_folder(layout.raw / day)
    images = np.array(images)
    result = edit(images, index)
    write_folder(layout.raw / day, images, index)
    return result


def put(images, index, row, image):
    images[row] = image
    index.loc[row, "sha256"] = pixel_sha256(images[row])


def result_of(layout):
    return read_json(layout.validation / "result.json")


def refused(layout):
    """Reason by identifier of each quarantined image."""
    table = pq.read_table(layout.quarantine / "validate" / "index.parquet").to_pandas()
    return dict(zip(table["image_id"], table["reason"], strict=True))


def bad_split(images, index):
    index.loc[4, "split"] = "test"
    return {"d1-4": "unknown split"}


def damaged_pixels(images, index):
    images[5, 0, 0, 0] ^= 1
    return {"d1-5": "damaged pixels"}


def duplicates_of_an_earlier_image(images, index):
    for row in (8, 20, 31):
        put(images, index, row, images[7])
    return dict.fromkeys(("d1-8", "d1-20", "d1-31"), "duplicate image")
