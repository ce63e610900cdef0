"""The models of the process domain by name: ``evergreen``, its variants, and what it is compared with."""

from collections.abc import Callable, Mapping
from typing import Any

from evergreen.errors import BadInputError
from evergreen.process.following import FollowingConfig, follow
from evergreen.process.learner import EvergreenConfig, EvergreenLearner
from evergreen.process.markov import markov
from evergreen.process.protocol import RunInput, RunOutput

EVERGREEN = "evergreen"
VARIANTS: dict[str, dict[str, Any]] = {
    EVERGREEN: {},
    "evergreen-counts": {"replay": {"steps": 0, "warm_up_epochs": 0, "adapt_epochs": 0}},
    "evergreen-network": {"counts": False},
    "evergreen-lstm": {"counts": False, "network": {"body": "lstm"}},
    "evergreen-transformer": {"counts": False, "network": {"body": "transformer"}},
    "evergreen-onehot": {"counts": False, "network": {"embedding": "onehot"}},
    "evergreen-word2vec": {"counts": False, "network": {"embedding": "word2vec"}},
    "evergreen-cpc": {"counts": False, "replay": {"cpc_epochs": 6}},
}
"""The variants compare networks, so they answer without the counts, which would hide what a network is worth."""
ADAPTATIONS: dict[str, dict[str, Any]] = {
    "evergreen-retrain": {"policy": "retrain"},
    "evergreen-static": {"trigger": "never"},
}
"""The whole model with another answer to drifts; the incremental learning goes on in all of them."""
MARKOV = {"markov": {}, "markov-undivided": {"exponent": 0.0}}


def names() -> list[str]:
    """All models, the main one first."""
    return [*VARIANTS, *ADAPTATIONS, *MARKOV, *_baselines()]


def chosen(wanted: list[str] | str) -> list[str]:
    """The models that were asked for: names, or ``all``.

    Raises:
        BadInputError: a name is unknown.
    """
    listed = [wanted] if isinstance(wanted, str) else list(wanted)
    known = names()
    if listed == ["all"]:
        return known
    if unknown := [name for name in listed if name not in known]:
        raise BadInputError(f"There is no model {unknown[0]!r}. Known: {', '.join(known)}, or all.")
    return listed


def run_model(name: str, run: RunInput) -> tuple[RunOutput, EvergreenLearner | None]:
    """Take a model through a stream; the model itself comes back where it is one of ours.

    Settings of ours: ``model`` as of :class:`EvergreenConfig`, ``adaptation`` as of :class:`FollowingConfig`.
    """
    if name in VARIANTS or name in ADAPTATIONS:
        config = EvergreenConfig.read(_merged(run.settings.get("model", {}), VARIANTS.get(name, {})), f"model {name}")
        adaptation = {**run.settings.get("adaptation", {}), **ADAPTATIONS.get(name, {})}
        return follow(run, config, FollowingConfig.read(adaptation, f"adaptation of {name}"))
    if name in MARKOV:
        return markov(RunInput(**{**vars(run), "settings": {**run.settings, **MARKOV[name]}})), None
    return _baselines()[name](run), None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        result[key] = _merged(base.get(key, {}), value) if isinstance(value, Mapping) else value
    return result


def _baselines() -> dict[str, Callable[[RunInput], RunOutput]]:
    from evergreen.process.baselines import BASELINES

    return BASELINES
