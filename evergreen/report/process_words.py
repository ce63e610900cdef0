"""The sentences of the process report."""

from collections.abc import Sequence

from evergreen.report.cards import Card, validation_card
from evergreen.report.change_words import DAY, duration
from evergreen.report.drift_words import took_over
from evergreen.report.page import counted, day, number, percent, whole
from evergreen.report.process_inputs import ProcessInputs, Record
from evergreen.report.standings import lead, score_sentence

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
        reached = percent(inputs.models[main].get("macro_f1"))
        said = f"{main} foresees the next activity with a macro-F of {reached}"
        sentences.append(score_sentence(said, lead(inputs.models, main)))
    sentences.append(drift_sentence(inputs))
    return sentences


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
        found.append(validation_card(inputs.validation, "events"))
    measured = inputs.models.get(inputs.main or "", {})
    if measured.get("macro_f1") is not None:
        notes = f"next activity; accuracy {percent(measured.get('accuracy'))}"
        found.append(Card("Macro-F", percent(measured["macro_f1"]), notes))
        if (ahead := lead(inputs.models, inputs.main)) is not None:
            found.append(ahead.card())
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
