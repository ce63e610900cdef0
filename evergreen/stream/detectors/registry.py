"""Detectors by name, so that configurations can name them."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from evergreen.errors import BadInputError
from evergreen.stream.detectors.detector import Detector

# name: module and class, imported when a detector is asked for: river alone takes two seconds
PERFORMANCE = {
    "adwin": ("evergreen.stream.detectors.performance", "Adwin"),
    "page_hinkley": ("evergreen.stream.detectors.performance", "PageHinkleyTest"),
    "ddm": ("evergreen.stream.detectors.performance", "Ddm"),
    "eddm": ("evergreen.stream.detectors.performance", "Eddm"),
    "hddm_a": ("evergreen.stream.detectors.performance", "HddmA"),
    "hddm_w": ("evergreen.stream.detectors.performance", "HddmW"),
    "kswin": ("evergreen.stream.detectors.performance", "Kswin"),
}
"""Fed a loss or an error at a time."""
LABELS = {
    "labels": ("evergreen.stream.detectors.labels", "LabelDetector"),
    "outcomes": ("evergreen.stream.detectors.outcomes", "OutcomeDetector"),
}
"""Fed a key and its label at a time, or those and the loss."""
FEATURES = {
    "ks": ("evergreen.stream.detectors.features", "KsDetector"),
    "chi2": ("evergreen.stream.detectors.features", "ChiSquareDetector"),
    "psi": ("evergreen.stream.detectors.features", "PsiDetector"),
}
"""Fed a window of columns at a time."""
EMBEDDINGS = {
    "mmd": ("evergreen.stream.detectors.embeddings", "MmdDetector"),
    "frechet": ("evergreen.stream.detectors.embeddings", "FrechetDetector"),
    "classifier": ("evergreen.stream.detectors.embeddings", "ClassifierDetector"),
}
"""Fed a window of vectors at a time."""
DETECTORS = {**PERFORMANCE, **LABELS, **FEATURES, **EMBEDDINGS}


def detector_class(name: str) -> type[Detector[Any]]:
    """The class of the detector of that name.

    Raises:
        BadInputError: there is none.
    """
    if name not in DETECTORS:
        raise BadInputError(f"There is no detector {name!r}. Known: {', '.join(DETECTORS)}.")
    module, chosen = DETECTORS[name]
    found: type[Detector[Any]] = getattr(import_module(module), chosen)
    return found


def make_detector(name: str, **settings: Any) -> Detector[Any]:
    """A new detector.

    Args:
        name: which; see :data:`DETECTORS`.
        settings: its settings, by name; the others keep their defaults.

    Raises:
        BadInputError: the name or a setting is unknown, or a value does not fit.
    """
    chosen = detector_class(name)
    return chosen(chosen.settings.read(settings, f"detector {name}"))


def restore_detector(state: Mapping[str, Any]) -> Detector[Any]:
    """The detector whose ``state()`` this is.

    Raises:
        BadInputError: it is no detector's state, or not as it was written.
    """
    return detector_class(str(state.get("detector"))).from_state(state)
