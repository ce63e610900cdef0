"""What an ingest did: the numbers and labels that go beside the stream."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """The account of one ingest.

    Attributes:
        read: images or files that the source held.
        test_images: how many of them form the test set.
        gate: image_id, label of the gate's images.
        hidden: image_id, label of images whose label exists but is not known.
        quarantined: how many were refused.
    """

    read: int
    test_images: int
    gate: pd.DataFrame
    hidden: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"image_id": [], "label": []}, dtype=str))
    quarantined: int = 0
