"""A fully labelled data set that plays the part of a stream."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Benchmark:
    """Images with labels, a test set apart.

    Attributes:
        name: short, part of every image_id.
        classes: class names; a label is a position in this list.
        images: uint8 (N, size, size, 3), in the data set's own order.
        labels: integers (N,).
        test_images: uint8 (M, size, size, 3).
        test_labels: integers (M,).
    """

    name: str
    classes: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.integer]

    def image_id(self, number: int) -> str:
        """Name of the image at a position of ``images``."""
        return f"{self.name}-{number:05d}"

    def test_id(self, number: int) -> str:
        """Name of the image at a position of ``test_images``."""
        return f"{self.name}-test-{number:05d}"

    def sha256(self) -> str:
        """Identity of the content: images, labels (one byte each), test images, test labels."""
        digest = hashlib.sha256()
        for pixels, labels in ((self.images, self.labels), (self.test_images, self.test_labels)):
            digest.update(np.ascontiguousarray(pixels).data)
            digest.update(labels.astype(np.uint8).tobytes())
        return digest.hexdigest()
