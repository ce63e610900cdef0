"""scikit-learn's bundled digits as a benchmark that needs no download: 1,797 scans of handwritten digits."""

import numpy as np
from PIL import Image

from evergreen.images.benchmark import Benchmark

STREAM_IMAGES = 1400
TEST_IMAGES = 397
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TOP_GREY = 16  # the scans have 17 grey levels


def load_digits(size: int, seed: int) -> Benchmark:
    """Render the digits as RGB images.

    Args:
        size: side in pixels; the 8×8 scans are resized bicubically.
        seed: which of them form the test set.
    """
    from sklearn.datasets import load_digits as load_scans

    scans = load_scans()
    order = np.random.default_rng(seed).permutation(len(scans.target))
    grey = np.round(scans.images[order] * (255 / TOP_GREY)).astype(np.uint8)  # (1797, 8, 8)
    large = [Image.fromarray(scan).resize((size, size), Image.Resampling.BICUBIC) for scan in grey]
    images = np.stack([np.asarray(image.convert("RGB")) for image in large])  # (1797, size, size, 3)
    labels = scans.target[order]
    return Benchmark(
        name="digits",
        classes=CLASSES,
        images=images[:STREAM_IMAGES],
        labels=labels[:STREAM_IMAGES],
        test_images=images[STREAM_IMAGES:],
        test_labels=labels[STREAM_IMAGES:],
    )
