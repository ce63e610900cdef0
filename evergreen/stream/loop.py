"""The adaptation loop: score → detect → adapt → prove → take over, window after window.

One engine serves the live stream and its replay. It looks at finished windows only, in their order; what it does with a
window depends on that window and the ones before it. Time is the stream's: a challenger that is still in training
cannot answer, and how long training takes comes from its cost in floating-point operations, not from a clock. So the
same stream gives the same decisions on any machine, at any time, and after any interruption.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pydantic

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.stream.adaptation import NO_POLICY, Adapted, Answers, Difference, Domain, Scope, WindowRef
from evergreen.stream.harm import HarmConfig, HarmEstimate
from evergreen.stream.harm_judge import Judge, Verdict
from evergreen.stream.promotion import Decision

Trigger = Literal["harm", "drift", "always", "never"]
LEAST = 1e-6
"""Probability below which the log-loss grows no further: one certain error is no catastrophe."""


class LoopConfig(Config):
    """When to adapt, and how.

    Attributes:
        policy: the domain's name of the adaptation; ``none`` never adapts.
        trigger: ``harm`` acts on a difference that is expected to cost accuracy, ``drift`` on any, ``always`` after
            every window, ``never`` not at all.
        reference_windows: windows that a new one is compared with: the champion's own regime.
        min_rows: rows of the new regime that adaptation needs.
        min_labels: known labels among them.
        min_classes: classes among those.
        patience: windows that a challenger without proof waits for more held-out labels before another is trained.
        flops_per_second: the cost model's speed of training.
        label_detector: a performance detector, fed the log-loss of the answers whose label is known: an alarm counts as
            harm that was seen, where the rest only estimates it. Null leaves it out.
        harm: how harm is estimated, and from which fall of accuracy it counts.
    """

    policy: str = "head"
    trigger: Trigger = "harm"
    reference_windows: int = pydantic.Field(5, ge=1)
    min_rows: int = pydantic.Field(200, ge=1)
    min_labels: int = pydantic.Field(10, ge=0)
    min_classes: int = pydantic.Field(2, ge=1)
    patience: int = pydantic.Field(4, ge=0)
    flops_per_second: float = pydantic.Field(1e11, gt=0)
    label_detector: str | None = "adwin"
    harm: HarmConfig = HarmConfig()


@dataclass(frozen=True)
class LoopState:
    """Everything the loop remembers, as plain JSON values.

    Attributes:
        model: the champion.
        reference: windows of its regime.
        processed: windows done, all of the stream's first ones.
        incoming: a promoted model still in training, and from when it answers (ISO 8601); None if there is none.
        challenger: a model without proof, waiting for more held-out labels.
        waited: windows it has waited.
        change_point: since when the stream is of another regime; None if it is not.
        detector: state of the label detector; None before the first known label.
        expected_fall: of accuracy, in the window before, if that was shifted: a small harm needs two windows.
    """

    model: str
    reference: tuple[str, ...]
    processed: int
    incoming: tuple[str, str] | None = None
    challenger: str | None = None
    waited: int = 0
    change_point: str | None = None
    detector: dict[str, Any] | None = None
    expected_fall: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "LoopState":
        incoming = tuple(values["incoming"]) if values["incoming"] else None
        return cls(**{**values, "reference": tuple(values["reference"]), "incoming": incoming})


@dataclass(frozen=True)
class Outcome:
    """What happened with a window: its record (JSON), the answers given in it, and which model gave each.

    Attributes:
        record: window, difference, harm, action, decision, cost.
        answers: of the models in service.
        models: (n,) the model that gave each answer.
    """

    record: dict[str, Any]
    answers: Answers
    models: np.ndarray[Any, np.dtype[np.str_]]


class Loop:
    """The engine. It is handed its state and hands out the next one; it keeps nothing itself.

    Args:
        domain: the stream and its models.
        config: when to adapt, and how.

    Raises:
        BadInputError: the domain does not know the policy.
    """

    def __init__(self, domain: Domain, config: LoopConfig) -> None:
        known = (NO_POLICY, *(name for name in domain.policies if name != NO_POLICY))
        if config.policy not in known:
            raise BadInputError(f"No adaptation policy {config.policy!r}. There are: {', '.join(known)}.")
        self.domain = domain
        self.config = config

    def start(self, model: str, trained_on: int) -> LoopState:
        """The state before the first window that the model has not seen.

        Args:
            model: the champion.
            trained_on: how many of the stream's first windows are of its regime; the last ones are the reference.

        Raises:
            BadInputError: there is no such window.
        """
        if not 1 <= trained_on <= len(self.domain.windows):
            raise BadInputError(
                f"The model was trained on {trained_on} windows, but the stream has {len(self.domain.windows)}."
            )
        own = self.domain.windows[:trained_on][-self.config.reference_windows :]
        return LoopState(model, tuple(window.window_id for window in own), trained_on)

    def run(self, state: LoopState) -> Iterator[tuple[LoopState, Outcome]]:
        """Process the windows that are left; yields the state after each, with what happened."""
        while state.processed < len(self.domain.windows):
            state, outcome = self.process(state)
            yield state, outcome

    def process(self, state: LoopState) -> tuple[LoopState, Outcome]:
        """Process the next window."""
        window = self.domain.windows[state.processed]
        answers, models = self._answer(state, window)
        state, missed = self._labels(state, answers)
        state = self._take_over(state, window)
        difference = self.domain.compare(state.model, state.reference, window.window_id)
        # a difference of unknown harm is not judged where nothing depends on it
        judged = difference.drift and self.config.trigger != "never"
        harm = self.domain.harm(state.model, state.reference, window.window_id) if judged else None
        judge = Judge(self.config.harm, state.expected_fall)
        verdict = judge.update(harm is not None, harm)
        state = replace(state, processed=state.processed + 1, expected_fall=judge.previous)
        different = difference.drift or missed
        state = self._regime(state, window, difference.change_point if different else None, different)
        step = Step(state, "watched" if different else "none")
        if self._called_for(state, different, missed or verdict.act):
            step = self._adapt(state, window)
        record = _record(window, step, difference, harm, verdict)
        record |= {"models": sorted(set(models.tolist())), "label_alarm": missed}
        return step.state, Outcome(record, answers, models)

    def _answer(self, state: LoopState, window: WindowRef) -> tuple[Answers, Any]:
        """The champion's answers, and from its arrival in service on those of the incoming model."""
        answers = self.domain.answer(state.model, window.window_id)
        models = np.full(len(answers.times), state.model)
        if state.incoming is None:
            return answers, models
        incoming, available = state.incoming
        late = answers.times >= _microseconds(datetime.fromisoformat(available))
        if not late.any():
            return answers, models
        newer = self.domain.answer(incoming, window.window_id)
        merged = Answers(
            answers.example_ids,
            answers.times,
            np.where(late, newer.predictions, answers.predictions),
            np.where(late, newer.scores, answers.scores),
            answers.labels,
            np.where(late, newer.label_probabilities, answers.label_probabilities),
        )
        return merged, np.where(late, incoming, models)

    def _labels(self, state: LoopState, answers: Answers) -> tuple[LoopState, bool]:
        """Feed the label detector; whether it says that the answers became worse."""
        losses = -np.log(np.maximum(answers.label_probabilities[~np.isnan(answers.label_probabilities)], LEAST))
        if self.config.label_detector is None or not len(losses):
            return state, False
        from evergreen.stream.detectors.registry import make_detector, restore_detector

        detector = restore_detector(state.detector) if state.detector else make_detector(self.config.label_detector)
        alarms = [detector.update(float(loss)) for loss in losses]
        return replace(state, detector=detector.state()), any(alarms)

    def _take_over(self, state: LoopState, window: WindowRef) -> LoopState:
        """An incoming model whose training has ended by the window's end is the champion from then on."""
        if state.incoming is None or datetime.fromisoformat(state.incoming[1]) > window.end:
            return state
        return replace(state, model=state.incoming[0], incoming=None, detector=None, expected_fall=None)

    def _regime(self, state: LoopState, window: WindowRef, began: datetime | None, different: bool) -> LoopState:
        """Remember since when the stream is of another regime, or add an undisturbed window to a short reference."""
        if different:
            since = (began or window.start).isoformat()
            return state if state.change_point else replace(state, change_point=since)
        state = replace(state, change_point=None, challenger=None, waited=0)
        if len(state.reference) < self.config.reference_windows:
            return replace(state, reference=(*state.reference, window.window_id))
        return state

    def _called_for(self, state: LoopState, different: bool, harmful: bool) -> bool:
        if self.config.policy == NO_POLICY or state.incoming is not None:
            return False
        if self.config.trigger == "always":
            return True
        if not different or self.config.trigger == "never":
            return False
        if state.challenger is not None:  # the harm was found before; the proof is what was missing
            return True
        return self.config.trigger == "drift" or harmful

    def _adapt(self, state: LoopState, window: WindowRef) -> "Step":
        """Judge the waiting challenger with the labels that came meanwhile, or train one and judge it."""
        scope = self._scope(state, window)
        if state.challenger is not None:
            decision = self.domain.prove(state.challenger, state.model, scope)
            if decision.promote:
                return self._promote(state, window, Adapted(state.challenger, 0.0), scope, decision)
            if state.waited < self.config.patience:
                return Step(replace(state, waited=state.waited + 1), "waiting for proof", decision)
        evidence = self.domain.evidence(scope)
        for name in ("rows", "labels", "classes"):
            if (found := getattr(evidence, name)) < (needed := getattr(self.config, f"min_{name}")):
                return Step(state, f"too few {name}: {found} of {needed}")
        adapted = self.domain.adapt(self.config.policy, state.model, scope)
        if adapted.model == state.model:
            return Step(state, "unchanged", flops=adapted.flops)
        decision = self.domain.prove(adapted.model, state.model, scope)
        if decision.promote:
            return self._promote(state, window, adapted, scope, decision)
        waiting = replace(state, challenger=adapted.model, waited=0)
        return Step(waiting, "adapted, not proven", decision, adapted.flops, adapted.model)

    def _scope(self, state: LoopState, window: WindowRef) -> Scope:
        began = datetime.fromisoformat(state.change_point) if state.change_point else window.start
        return Scope(began, tuple(w.window_id for w in self.domain.windows[: state.processed]))

    def _promote(
        self, state: LoopState, window: WindowRef, adapted: Adapted, scope: Scope, decision: Decision
    ) -> "Step":
        """The proven model is incoming until its training would have ended; the new regime becomes the reference."""
        available = window.end + timedelta(seconds=adapted.flops / self.config.flops_per_second)
        began = [w.window_id for w in self.domain.windows[: state.processed] if w.end > scope.change_point]
        promoted = replace(
            state,
            incoming=(adapted.model, available.isoformat()),
            challenger=None,
            waited=0,
            change_point=None,
            reference=tuple(began[-self.config.reference_windows :]),
        )
        return Step(promoted, "promoted", decision, adapted.flops, adapted.model)


@dataclass(frozen=True)
class Step:
    """What acting on a window led to: the state after it, what was done, why, at what cost, and with which model."""

    state: LoopState
    action: str
    decision: Decision | None = None
    flops: float = 0.0
    challenger: str | None = None


def _record(
    window: WindowRef, step: Step, difference: Difference, harm: HarmEstimate | None, verdict: Verdict
) -> dict[str, Any]:
    state = step.state
    return {
        "window_id": window.window_id,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "rows": window.rows,
        "drift": difference.drift,
        "statistic": difference.statistic,
        "p_value": difference.p_value,
        "moved": list(difference.moved),
        "change_point": difference.change_point.isoformat() if difference.change_point else None,
        "harm": None if harm is None else {**asdict(harm), "moved": list(harm.moved)} | _verdict(verdict),
        "action": step.action,
        "decision": step.decision.to_json() if step.decision else None,
        "flops": step.flops,
        "challenger": step.challenger,
        "champion": state.model,
        "incoming": list(state.incoming) if state.incoming else None,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"harmful": verdict.act, "verdict": verdict.reason}


def _microseconds(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)
