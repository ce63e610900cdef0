"""The detectors to take where nothing is known of the data: settings that were chosen once, not for a data set."""

from evergreen.stream.detectors.labels import LabelConfig, LabelDetector
from evergreen.stream.detectors.outcomes import OutcomeConfig, OutcomeDetector
from evergreen.stream.detectors.performance import Adwin, AdwinConfig


def default_detector() -> OutcomeDetector:
    """For answers whose label and loss become known: the other two together."""
    return OutcomeDetector(OutcomeConfig())


def default_label_detector() -> LabelDetector:
    """For labels without a loss, by what a model knew: its answer, or the last activity."""
    return LabelDetector(LabelConfig())


def default_performance_detector() -> Adwin:
    """For a loss or an error at a time, where nothing else is known: ADWIN, at every value."""
    return Adwin(AdwinConfig(minimum_evidence=500, cool_down=250))
