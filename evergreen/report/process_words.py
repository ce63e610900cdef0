"""The sentences of the process report."""

from collections.abc import Sequence
from typing import Any

from evergreen.report.change_words import DAY, duration
from evergreen.report.page import MISSING, counted, day, number, percent, points, whole
from evergreen.report.process_inputs import ProcessInputs, Record
from evergreen.report.words import Card

NOTES = {
    "darwin": "the published system",
    "markov": "longest suffix seen, counts kept up to date",
    "adaptive-tree": "adaptive Hoeffding tree",
    "adaptive-forest": "adaptive random forest",
    "streaming-patches": "streaming random patches",
    "pauwels-update": "single-layer network, updated",
    "pauwels-retrain": "single-layer network, re-trained",
    "static": "trained once, never again",
}


def note(model: str) -> str:
    """What a model is, where its name does not say it."""
    return NOTES.get(model, "")


def rival(inputs: ProcessInputs) -> str | None:
    """The best other model by macro-F, variants of the main one left out."""
    main = inputs.main
    others = [
        name for name, found in inputs.models.items()
        if main is not None and name != main and not name.startswith(f"{main}-") and found.get("macro_f1") is not None
    ]  # fmt: skip
    return max(others, key=lambda name: inputs.models[name]["macro_f1"], default=None)


def summary(inputs: ProcessInputs) -> list[str]:
    """What came out, in two or three sentences."""
    sentences = []
    if inputs.ingest:
        log = inputs.ingest["log"]
        sentences.append(
            f"{counted(log['events'], 'event')} of {counted(log['traces'], 'case')}, "
            f"{whole(log['activities'])} activities."
        )
    main = inputs.main
    if main is None or main not in inputs.models:
        sentences.append("No model was measured.")
    else:
        sentences.append(_score_sentence(inputs, main))
    sentences.append(drift_sentence(inputs))
    return sentences


def _score_sentence(inputs: ProcessInputs, main: str) -> str:
    found, other = inputs.models[main], rival(inputs)
    said = f"{main} foresees the next activity with a macro-F of {percent(found.get('macro_f1'))}"
    if other is None or found.get("macro_f1") is None:
        return f"{said}."
    gain = found["macro_f1"] - inputs.models[other]["macro_f1"]
    side = "above" if gain >= 0 else "below"
    return f"{said}, {abs(100 * gain):.1f} points {side} {other}, the best of the others."


def drift_sentence(inputs: ProcessInputs) -> str:
    """How often the process drifted."""
    if not inputs.drifts:
        return "No drift was found."
    first = inputs.drifts[0].get("timestamp")
    return f"{counted(len(inputs.drifts), 'drift')} found, the first on {day(first)}."


def cards(inputs: ProcessInputs) -> list[Card]:
    """The headline numbers."""
    found = []
    if inputs.validation:
        result = inputs.validation
        quarantined = f"events accepted, {whole(result['rows_quarantined'])} quarantined"
        tone = "good" if result["passed"] else "bad"
        found.append(Card("Validation", whole(result["rows_accepted"]), quarantined, tone))
    measured = inputs.models.get(inputs.main or "", {})
    if measured.get("macro_f1") is not None:
        notes = f"next activity; accuracy {percent(measured.get('accuracy'))}"
        found.append(Card("Macro-F", percent(measured["macro_f1"]), notes))
        other = rival(inputs)
        if other is not None:
            gain = measured["macro_f1"] - inputs.models[other]["macro_f1"]
            found.append(
                Card("Against the best other", points(gain), f"points, {other}", "good" if gain > 0 else "bad")
            )
    if measured.get("remaining_time_mae") is not None:
        found.append(Card("Remaining time", duration(measured["remaining_time_mae"] * DAY), "mean absolute error"))
    if measured.get("outcome_auc") is not None:
        found.append(Card("Outcome", f"{measured['outcome_auc']:.3f}", "area under the ROC curve"))
    promoted = sum(took_over(drift) for drift in inputs.drifts)
    if inputs.drifts:
        found.append(Card("Drifts", whole(len(inputs.drifts)), f"{counted(promoted, 'model')} took over", "bad"))
    else:
        found.append(Card("Drifts", "none", "in the whole stream", "good"))
    return found


def took_over(drift: Record) -> bool:
    """Whether a drift led to a new model in service."""
    return drift.get("decision") in ("promoted", "replace")


def cost_text(cost: Any) -> str:
    """What an adaptation cost, in floating-point operations."""
    return f"{cost:.1e} FLOPs" if isinstance(cost, int | float) and cost else MISSING


def stretch(side: Record) -> str:
    """One side of a drift, in words."""
    if not side["events"]:
        return "nothing"
    return (
        f"{counted(side['events'], 'event')} of {counted(side['cases'], 'case')}, "
        f"{day(side['start'])} to {day(side['end'])}"
    )


def curve_alt(inputs: ProcessInputs, window: int) -> str:
    """What the curve shows."""
    return (
        f"Macro-F in a sliding window of {counted(window, 'event')} for {counted(len(inputs.answers), 'model')}, "
        f"with {counted(len(inputs.drifts), 'drift')} marked. {' '.join(summary(inputs)[1:2])}"
    )


def log_table(log: Record) -> dict[str, str]:
    """The figures of a log as papers give them: heading and value."""
    return {
        "Activities": whole(log["activities"]),
        "Resources": whole(log["resources"]),
        "Events": whole(log["events"]),
        "Traces": whole(log["traces"]),
        "Variants": whole(log["variants"]),
        "Traces per variant": number(log["traces_per_variant"]),
        "Mean length": number(log["mean_length"]),
        "Longest": whole(log["longest"]),
        "Mean duration": duration(log["mean_duration_days"] * DAY),
        "Total duration": duration(log["total_duration_days"] * DAY),
    }


def left_out(edges: int, activities: Sequence[str]) -> str:
    """What a drawing leaves out, in words."""
    if not edges:
        return ""
    text = f"{counted(edges, 'weak edge')} left out"
    if activities:
        text += f", and these rare activities: {', '.join(activities[:8])}{', …' if len(activities) > 8 else ''}"
    return f"{text}."
