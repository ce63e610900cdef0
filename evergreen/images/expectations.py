"""What is expected of the image stream: suites for the array folders, the index and the statistics of single images."""

from collections.abc import Sequence

from pydantic import Field

from evergreen.config import Config
from evergreen.images.arrays import INDEX_SCHEMA
from evergreen.images.statistics import CHANNELS
from evergreen.stream.suites import Check

STREAM_SPLITS = ("train", "val", "gate")
COLUMNS = ", ".join(f"{field.name} {field.type}" for field in INDEX_SCHEMA)

FOLDER_COLUMNS = ("folder", "problem", "columns", "surplus", "dtype", "height", "width", "channels")
CLASHES = (
    "misplaced",
    "repeats",
    "damage",
    "labelled_as",
    "moved_to",
    "copy_of_test_image",
    "contradicts",
    "duplicate_of",
)
INDEX_COLUMNS = ("day", "row", *INDEX_SCHEMA.names, *CLASHES)

LABELLED_LATER, MOVED = "labelled later", "moved"
SET_ASIDE = (LABELLED_LATER, MOVED)
"""Reasons to leave out a row that is not bad, only outdated: another row has the same image with what is known now."""


class ValidateConfig(Config):
    """The limits of validation.

    Attributes:
        max_quarantined_fraction: largest share of refused rows, for each check without a limit of its own and in all;
            rows that are only outdated (:data:`SET_ASIDE`) count in neither.
        min_channel_std: an image is near-constant if no channel's standard deviation, in grey levels, reaches this.
        mean_range: lowest and highest plausible mean of a channel of an image, in grey levels.
        max_near_constant_fraction: largest share of near-constant images.
        max_duplicate_fraction: largest share of exact copies of an earlier image, and of test images.
        classes: the class names that labels may have. None: those of the test set of a benchmark; in own images, any
            name without blanks around it.
    """

    max_quarantined_fraction: float = Field(0.05, ge=0, le=1)
    min_channel_std: float = Field(2.0, ge=0, le=127.5)
    mean_range: tuple[float, float] = (2.0, 253.0)
    max_near_constant_fraction: float = Field(0.01, ge=0, le=1)
    max_duplicate_fraction: float = Field(0.01, ge=0, le=1)
    classes: tuple[str, ...] | None = None


def folder_suite(image_size: int) -> list[Check]:
    """Of the frame with one row an array folder (:data:`FOLDER_COLUMNS`).

    Args:
        image_size: side of the images in pixels.
    """
    import great_expectations.expectations as gxe

    shapes = (("height", image_size), ("width", image_size), ("channels", 3))
    return [
        Check("unreadable folder", "dataset", gxe.ExpectColumnValuesToBeNull(column="problem")),
        Check("index columns", "dataset", gxe.ExpectColumnValuesToBeInSet(column="columns", value_set=[COLUMNS])),
        Check("images without index row", "dataset", gxe.ExpectColumnValuesToBeInSet(column="surplus", value_set=[0])),
        Check("array type", "dataset", gxe.ExpectColumnValuesToBeInSet(column="dtype", value_set=["uint8"])),
        *(
            Check("array shape", "dataset", gxe.ExpectColumnValuesToBeInSet(column=name, value_set=[size]))
            for name, size in shapes
        ),
    ]


def index_suite(config: ValidateConfig, classes: Sequence[str] | None) -> list[Check]:
    """Of the frame with one row an image of the stream (:data:`INDEX_COLUMNS`).

    The columns :data:`CLASHES` name the other image that a row clashes with, or the fault; they are null where all is
    well. See :mod:`evergreen.images.same_pixels` for rows with the same pixels.

    Args:
        config: the limits.
        classes: the class names there are; None if every tidy name is one.
    """
    import great_expectations.expectations as gxe

    share = 1 - config.max_quarantined_fraction
    unique = 1 - config.max_duplicate_fraction
    labels = (
        gxe.ExpectColumnValuesToMatchRegex(column="label", regex=r"^\S(?:.*\S)?$", mostly=share)
        if classes is None
        else gxe.ExpectColumnValuesToBeInSet(column="label", value_set=sorted(classes), mostly=share)
    )
    gate = gxe.ExpectColumnValuesToBeNull(column="label", row_condition='split == "gate"', condition_parser="pandas")
    order = gxe.ExpectColumnValuesToBeNull(column="misplaced")
    test_copies = gxe.ExpectColumnValuesToBeNull(column="copy_of_test_image", mostly=unique)
    splits = gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(STREAM_SPLITS), mostly=share)
    return [
        Check("columns", "dataset", gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(INDEX_COLUMNS))),
        Check("no image", "dataset", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        *(
            Check("missing value", "dataset", gxe.ExpectColumnValuesToNotBeNull(column=field.name))
            for field in INDEX_SCHEMA
            if not field.nullable
        ),
        Check("order of arrival", "dataset", order),
        Check("label of a gate image", "dataset", gate),
        Check("repeated identifier", "row", gxe.ExpectColumnValuesToBeNull(column="repeats", mostly=share)),
        Check("damaged pixels", "row", gxe.ExpectColumnValuesToBeNull(column="damage", mostly=share)),
        Check(LABELLED_LATER, "row", gxe.ExpectColumnValuesToBeNull(column="labelled_as", mostly=0)),
        Check(MOVED, "row", gxe.ExpectColumnValuesToBeNull(column="moved_to", mostly=0)),
        Check("copy of a test image", "row", test_copies),
        Check("contradictory labels", "row", gxe.ExpectColumnValuesToBeNull(column="contradicts", mostly=share)),
        Check("duplicate image", "row", gxe.ExpectColumnValuesToBeNull(column="duplicate_of", mostly=unique)),
        Check("unknown class", "row", labels),
        Check("unknown split", "row", splits),
    ]


def statistics_suite(config: ValidateConfig) -> list[Check]:
    """Of the frame with the statistics of each image (:func:`evergreen.images.statistics.describe`) and ``spread``.

    ``spread`` is the largest standard deviation of a channel.
    """
    import great_expectations.expectations as gxe

    low, high = config.mean_range
    constant = gxe.ExpectColumnValuesToBeBetween(
        column="spread", min_value=config.min_channel_std, mostly=1 - config.max_near_constant_fraction
    )
    share = 1 - config.max_quarantined_fraction
    return [
        Check("near-constant image", "row", constant),
        *(
            Check(
                "channel mean",
                "row",
                gxe.ExpectColumnValuesToBeBetween(column=f"mean_{c}", min_value=low, max_value=high, mostly=share),
            )
            for c in CHANNELS
        ),
        *(
            Check(
                "dead channel",
                "dataset",
                gxe.ExpectColumnMeanToBeBetween(column=f"std_{c}", min_value=config.min_channel_std, max_value=127.5),
            )
            for c in CHANNELS
        ),
    ]
