"""How much accuracy will a classifier lose on a window of images? Simulated shifts teach `stream.harm` what harm is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.images.bundle import Classifier
from evergreen.images.shifts import SHIFTS, Shift, shifted
from evergreen.progress import Progress, Silent
from evergreen.stream import harm
from evergreen.stream.harm import Harm, HarmConfig, HarmEstimate, Shifted
from evergreen.stream.harm_signals import Answers

__all__ = ["HarmConfig", "HarmEstimate", "HarmModel", "answers_of", "fit_harm", "learning_set"]


@dataclass(frozen=True)
class HarmModel:
    """Estimates harm for one classifier and one regime.

    Attributes:
        classifier: the model whose accuracy is at stake.
        harm: what was learnt.
    """

    classifier: Classifier
    harm: Harm

    def estimate(self, images: NDArray[np.uint8]) -> HarmEstimate:
        """What is expected of the classifier on a window of images, uint8 (n, H, W, 3); see :meth:`Harm.estimate`.

        Raises:
            BadInputError: fewer than two images.
        """
        return self.harm.estimate(answers_of(self.classifier, images))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the classifier itself but with its hash; :meth:`from_json` restores exactly."""
        return {"weights_sha256": self.classifier.weights_sha256, "harm": self.harm.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], classifier: Classifier) -> Self:
        """Restore what was learnt about ``classifier``.

        Raises:
            BadInputError: it was learnt about another one.
        """
        if values["weights_sha256"] != classifier.weights_sha256:
            raise BadInputError(
                f"The harm estimate belongs to the classifier with weights {values['weights_sha256']!r}, found "
                f"{classifier.weights_sha256!r}. Learn it again with fit_harm for this classifier."
            )
        return cls(classifier, Harm.from_json(values["harm"]))


def fit_harm(
    classifier: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]] | None,
    config: HarmConfig,
    seed: int,
    shifts: Sequence[Shift] = SHIFTS,
    progress: Progress | None = None,
) -> HarmModel:
    """Learn how signals of a window and loss of accuracy hang together for this classifier.

    With the defaults the classifier answers 64 changed copies of 500 images: half a minute on two cores.

    Args:
        classifier: the model in service.
        images: uint8 (N, H, W, 3), a sample of the regime that it is used in; 500 to 1,500 are plenty.
        labels: (N,) positions in ``classifier.classes``, −1 where unknown, of images that it never trained on. None, or
            fewer than ``config.min_labels`` known ones: the answers on the images as they are stand in for labels. The
            estimate is then the share of answers that change, at least as large as the fall of accuracy; a mix of
            classes that is harder by itself is not noticed.
        config: how to learn and judge.
        seed: of everything random.
        shifts: the simulated shifts.
        progress: told of every image that is answered.

    Raises:
        BadInputError: too few images, or labels that are no classes.
    """
    progress = progress or Silent()
    rng = np.random.default_rng([seed, len(images)])
    known = _known(labels, images, classifier)
    enough = len(known) >= config.min_labels
    candidates = known if enough else np.arange(len(images))
    rows = np.sort(rng.choice(candidates, min(config.rows, len(candidates)), replace=False))
    reference = answers_of(classifier, images)
    progress.advance(len(images))
    simulated = learning_set(classifier, np.asarray(images[rows]), config, rng, shifts, progress)
    truth = np.asarray(labels)[rows] if enough and labels is not None else None
    learnt = harm.fit(reference, reference.take(rows), truth, simulated, classifier.classes, config, seed)
    return HarmModel(classifier, learnt)


def learning_set(
    classifier: Classifier,
    images: NDArray[np.uint8],
    config: HarmConfig,
    rng: np.random.Generator,
    shifts: Sequence[Shift],
    progress: Progress,
) -> list[Shifted]:
    """The classifier's answers to images after each simulated shift at each strength.

    Strengths are drawn one from each of ``config.strengths`` equal parts of 0 to 1.
    """
    found = []
    for shift in shifts:
        for part in range(config.strengths):
            strength = (part + rng.random()) / config.strengths
            changed = shifted(images, shift, float(strength), rng)
            found.append(Shifted(shift.name, shift.relatives, answers_of(classifier, changed)))
            progress.advance(len(images))
    return found


def answers_of(classifier: Classifier, images: NDArray[np.uint8]) -> Answers:
    """Probabilities and features of images, uint8 (n, H, W, 3), from one pass through the encoder."""
    features = classifier.embed(images)
    with torch.no_grad():
        logits = classifier.head(torch.from_numpy(features).to(classifier.device))
    return Answers(logits.softmax(dim=1).cpu().numpy(), features)


def _known(
    labels: NDArray[np.integer[Any]] | None, images: NDArray[np.uint8], classifier: Classifier
) -> NDArray[np.int64]:
    """Rows with a label."""
    if labels is None:
        return np.empty(0, dtype=np.int64)
    if len(labels) != len(images):
        raise BadInputError(f"Found {len(labels)} labels for {len(images)} images, expected one for each.")
    if len(labels) and (np.min(labels) < -1 or np.max(labels) >= len(classifier.classes)):
        raise BadInputError(
            f"Found labels from {np.min(labels)} to {np.max(labels)}, expected -1 (unknown) or a position in the "
            f"classifier's {len(classifier.classes)} classes."
        )
    return np.flatnonzero(np.asarray(labels) >= 0)
