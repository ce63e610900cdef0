"""The gate of a new version of a model that follows its stream: against the champion, on labels new to both.

The new version's answers are those it gave before it was told, day by day or event by event. The champion answers the
same examples as it was registered. Only examples count whose labels came after the champion's data end: on older ones
it would be asked about what it has learned.

These models answer for macro-F, so macro-F decides: accuracy would favour whoever never names a rare class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config, read_yaml
from evergreen.errors import BadInputError
from evergreen.stream.promotion import Check, Decision

Names = NDArray[Any]
"""Text; as objects where there are many rows of few names."""
Codes = NDArray[np.intp]


class VersionPolicy(Config):
    """What a new version must show. Fractions of 1."""

    min_rows: int = pydantic.Field(200, ge=1)
    """Fewer labels than this prove nothing: a champion stays."""
    minimum_gain: float = pydantic.Field(0.0, ge=-1, le=1)
    """Macro-F gained on the champion."""
    confidence: float = pydantic.Field(0.9, gt=0, lt=1)
    """Of the two-sided bootstrap interval of the gain, whose lower end must not be below ``interval_floor``."""
    interval_floor: float = pydantic.Field(-0.01, ge=-1, le=1)
    resamples: int = pydantic.Field(2_000, ge=100)


@dataclass(frozen=True)
class Contender:
    """A version and its answers.

    Attributes:
        weights_sha256: what it is known by.
        answers: (n,) class names.
    """

    weights_sha256: str
    answers: Names


def read_version_policy(path: Path, domain: str) -> VersionPolicy:
    """A domain's promotion policy.

    Raises:
        BadInputError: the file is missing or does not fit.
    """
    section = read_yaml(path).get(domain)
    if not isinstance(section, dict):
        raise BadInputError(f"{path} has no section {domain!r}, expected the names and values of the promotion policy.")
    return VersionPolicy.read(section, f"{path}: {domain}")


def names_in(table: pa.Table, column: str) -> Names:
    """A column of text, (n,), each name once in memory where the table has it as a dictionary."""
    return np.asarray(table[column].to_pandas(), dtype=object)


def judge_version(
    labels: Names, challenger: Contender, champion: Contender | None, policy: VersionPolicy, seed: int
) -> dict[str, Any]:
    """The content of ``metrics/evaluate.json``.

    Args:
        labels: (n,) of the examples that both answered.
        challenger: the new version.
        champion: the one in service, None if there is none.
        policy: what must be shown.
        seed: of the bootstrap.
    """
    models = [model for model in (challenger, champion) if model is not None]
    columns = [labels, *(model.answers for model in models)]
    classes = pd.Index(sorted({str(name) for column in columns for name in pd.unique(column)}), dtype=object)
    codes = [classes.get_indexer(pd.Index(column)) for column in columns]
    reports = [_report(codes[0], codes[1 + at], model, len(classes)) for at, model in enumerate(models)]
    if champion is None:
        decision = _first(codes, len(classes))
    elif challenger.weights_sha256 == champion.weights_sha256:
        decision = Decision(False, "the new version has the same weights as the champion")
    elif not len(labels):
        decision = Decision(False, "no label has come since the champion was made: the champion stays")
    else:
        decision = _compared(codes, len(classes), policy, seed)
    rival = reports[1] if champion is not None else None
    return {"n_gate": len(labels), "challenger": reports[0], "champion": rival, "decision": decision.to_json()}


def macro_f1(labels: Codes, answers: Codes, classes: int) -> float:
    """F1 averaged over the classes that occur or are answered.

    >>> macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    0.6666666666666666
    """
    hits = np.bincount(labels[labels == answers], minlength=classes)
    either = np.bincount(labels, minlength=classes) + np.bincount(answers, minlength=classes)
    there = either > 0
    return float((2 * hits[there] / either[there]).mean())


def macro_f1_gains(labels: Codes, first: Codes, second: Codes, classes: int, resamples: int, seed: int) -> Any:
    """Macro-F of the first minus that of the second, when the examples are drawn again with replacement; (resamples,).

    A resample only matters through how often each triple of label and both answers is drawn, and these counts are
    multinomial: drawing them is drawing the examples, in memory that does not grow with their number.
    """
    triples, counts = np.unique((labels * classes + first) * classes + second, return_counts=True)
    label, of_first, of_second = triples // classes**2, triples // classes % classes, triples % classes
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=resamples)  # (R, U)
    support = drawn @ np.eye(classes)[label]  # (R, classes)
    scores = []
    for answer in (of_first, of_second):
        hits = drawn @ (np.eye(classes)[label] * (label == answer)[:, None])
        either = support + drawn @ np.eye(classes)[answer]
        there = either > 0
        shares = np.divide(2 * hits, either, out=np.zeros_like(either), where=there)
        scores.append(shares.sum(axis=1) / np.maximum(there.sum(axis=1), 1))
    return scores[0] - scores[1]


def _first(codes: Sequence[Codes], classes: int) -> Decision:
    """A first champion must do better than the best constant answer."""
    labels, answers = codes[0], codes[1]
    if not len(labels):
        return Decision(True, "no champion yet, and no label to hold the version to the floor")
    constant = max(macro_f1(labels, np.full_like(labels, code), classes) for code in range(classes))
    check = _floor(labels, answers, classes, constant)
    if check.passed:
        return Decision(True, "no champion yet, and the floor is reached", (check,))
    return Decision(False, f"macro-F is {check.found:.3f}, a constant answer reaches {constant:.3f}", (check,))


def _floor(labels: Codes, answers: Codes, classes: int, constant: float) -> Check:
    found = macro_f1(labels, answers, classes)
    return Check("floor", found >= constant, found, constant)


def _compared(codes: Sequence[Codes], classes: int, policy: VersionPolicy, seed: int) -> Decision:
    labels, challenger, champion = codes
    gain = macro_f1(labels, challenger, classes) - macro_f1(labels, champion, classes)
    tail = (1 - policy.confidence) / 2
    gains = macro_f1_gains(labels, challenger, champion, classes, policy.resamples, seed)
    low, high = (float(end) for end in np.quantile(gains, [tail, 1 - tail]))
    checks = (
        Check("enough_rows", len(labels) >= policy.min_rows, len(labels), policy.min_rows),
        Check("minimum_gain", gain >= policy.minimum_gain, gain, policy.minimum_gain),
        Check("interval", low >= policy.interval_floor, low, policy.interval_floor),
    )
    failed = [f"{check.name} is {check.found:.3g}, needed {check.needed:.3g}" for check in checks if not check.passed]
    spread = f"{policy.confidence:.0%} interval {100 * low:+.1f} to {100 * high:+.1f}"
    told = f"macro-F gains {100 * gain:+.1f} points on the champion ({spread}, {len(labels):,} labels)"
    return Decision(not failed, ": ".join([told, *failed]), checks, (low, high), gain)


def _report(labels: Codes, answers: Codes, model: Contender, classes: int) -> dict[str, Any]:
    found: dict[str, Any] = {"weights_sha256": model.weights_sha256, "accuracy": None, "macro_f1": None}
    if len(labels):
        found |= {"accuracy": float((labels == answers).mean()), "macro_f1": macro_f1(labels, answers, classes)}
    return found
