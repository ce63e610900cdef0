"""Which images are for training, for choices, for the promotion gate and for the final test."""

import hashlib
from typing import Literal

Split = Literal["train", "val", "gate", "test"]


def split_of(sha256: str, seed: int, *, test: float, gate: float, val: float) -> Split:
    """The split of an image, by a seeded hash of its pixels: exact duplicates share one.

    The hash gives a number u, uniform in [0, 1): test where u < test, gate on the next ``gate`` of the line, then val,
    train on the rest. It depends on nothing else, so that an image keeps its split while a collection grows.

    Args:
        sha256: of the pixels, hex digits.
        seed: of the run.
        test: share of the test set, 0 to 1; the three shares add up to at most 1.
        gate: share of the promotion gate.
        val: share of the validation set.
    """
    digest = hashlib.sha256(f"split:{seed}:{sha256}".encode()).digest()
    u = int.from_bytes(digest[:8]) / 2**64
    if u < test:
        return "test"
    if u < test + gate:
        return "gate"
    return "val" if u < test + gate + val else "train"
