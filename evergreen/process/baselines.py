"""The models that Evergreen is compared with, by name."""

from collections.abc import Callable

from evergreen.process import darwin, pauwels, trees
from evergreen.process.protocol import RunInput, RunOutput

BASELINES: dict[str, Callable[[RunInput], RunOutput]] = {
    "darwin": darwin.darwin,
    "darwin-retrain": darwin.darwin_retrain,
    "static": darwin.static,
    "adaptive-tree": trees.adaptive_tree,
    "adaptive-forest": trees.adaptive_forest,
    "streaming-patches": trees.streaming_patches,
    "pauwels-update": pauwels.pauwels_update,
    "pauwels-retrain": pauwels.pauwels_retrain,
}
