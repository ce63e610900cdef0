"""The gate of a new version of a model that follows its stream: against the champion, on labels new to both.

The new version's answers are those it gave before it was told, day by day or event by event. The champion answers the
same examples as it was registered. Only examples count whose labels came after the champion's data end: on older ones
it would be asked about what it has learned.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.config import read_yaml
from evergreen.errors import BadInputError
from evergreen.stream.promotion import Decision, PromotionPolicy, decide

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Contender:
    """A version and its answers.

    Attributes:
        weights_sha256: what it is known by.
        answers: (n,) class names.
    """

    weights_sha256: str
    answers: Names


def read_version_policy(path: Path, domain: str) -> PromotionPolicy:
    """A domain's promotion policy.

    Raises:
        BadInputError: the file is missing or does not fit.
    """
    section = read_yaml(path).get(domain)
    if not isinstance(section, dict):
        raise BadInputError(f"{path} has no section {domain!r}, expected the names and values of the promotion policy.")
    return PromotionPolicy.read(section, f"{path}: {domain}")


def judge_version(
    labels: Names, challenger: Contender, champion: Contender | None, policy: PromotionPolicy, seed: int
) -> dict[str, Any]:
    """The content of ``metrics/evaluate.json``.

    Args:
        labels: (n,) of the examples that both answered.
        challenger: the new version.
        champion: the one in service, None if there is none.
        policy: what must be shown.
        seed: of the bootstrap.
    """
    both = [model for model in (challenger, champion) if model is not None]
    return {
        "n_gate": len(labels),
        "challenger": _report(labels, challenger),
        "champion": None if champion is None else _report(labels, champion),
        "decision": _decision(labels, both, policy, seed).to_json(),
    }


def _decision(labels: Names, models: list[Contender], policy: PromotionPolicy, seed: int) -> Decision:
    if len(models) == 2 and models[0].weights_sha256 == models[1].weights_sha256:
        return Decision(False, "the new version has the same weights as the champion")
    if len(models) == 2 and not len(labels):
        return Decision(False, "no label has come since the champion was made: the champion stays")
    classes = sorted({*labels.tolist(), *(name for model in models for name in model.answers.tolist())})
    codes = [np.searchsorted(classes, names) for names in (labels, *(model.answers for model in models))]
    return decide(codes[0], codes[1], codes[2] if len(models) == 2 else None, classes, policy, seed)


def _report(labels: Names, model: Contender) -> dict[str, Any]:
    from sklearn.metrics import f1_score

    found: dict[str, Any] = {"weights_sha256": model.weights_sha256, "accuracy": None, "macro_f1": None}
    if len(labels):
        found["accuracy"] = float((labels == model.answers).mean())
        found["macro_f1"] = float(f1_score(labels, model.answers, average="macro", zero_division=0))
    return found
