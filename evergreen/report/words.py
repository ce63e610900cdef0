"""The sentences of the image report: its summary and what each drawing shows, for those who do not see it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evergreen.report.cards import Card, validation_card
from evergreen.report.inputs import Inputs, Record
from evergreen.report.page import counted, day, minute, number, p_value, percent, points, whole
from evergreen.report.scores import Confusion, Row
from evergreen.report.timeline import first_drift


def summary(inputs: Inputs) -> list[str]:
    """What came out, in two or three sentences."""
    known = int(inputs.days["known"].sum())
    sentences = [
        f"{counted(len(inputs.index), 'image')} arrived in {counted(len(inputs.windows), 'window')}, "
        f"{whole(known)} of them with a known label."
    ]
    if inputs.finetune:
        sentences.append(_classifier_sentence(inputs.finetune[0]))
    else:
        sentences.append("No classifier was trained: there are not enough known labels.")
    sentences.append(drift_sentence(inputs))
    return sentences


def _classifier_sentence(entry: Record) -> str:
    if entry.get("accuracy") is None:
        return f"A classifier was trained from {counted(entry['labels'], 'label')}; no test image measures it."
    gain = entry["accuracy"] - entry["supervised_accuracy"]
    side = "above" if gain >= 0 else "below"
    return (
        f"The classifier reaches {percent(entry['accuracy'])} on the test images, "
        f"{abs(100 * gain):.1f} points {side} the same network trained from scratch on the same labels."
    )


def drift_sentence(inputs: Inputs) -> str:
    """When the stream first drifted, and whether that is when its noise is known to start."""
    found = first_drift(inputs.drift)
    start = inputs.noise_start
    if found is None:
        return "No window drifted."
    reported = f"Drift was first reported for {day(found['start'])}"
    if start is None:
        return f"{reported}."
    days = int((np.datetime64(day(found["start"])) - np.datetime64(start.date())).astype(int))
    if days == 0:
        return f"{reported}, the day on which the noise starts."
    return (
        f"{reported}, {counted(abs(days), 'day')} {'after' if days > 0 else 'before'} the noise starts ({day(start)})."
    )


def cards(inputs: Inputs, rows: Sequence[Row]) -> list[Card]:
    """The headline numbers."""
    found = [validation_card(inputs.validation, "images"), _drift_card(inputs)]
    linear = next((row for row in rows if row.name == "Linear probe"), None)
    if linear is not None:
        found.append(Card("Linear probe", percent(linear.accuracy), "frozen features, test accuracy"))
    tuned = next((row for row in rows if row.registered), None)
    if tuned is not None and tuned.gain is not None:
        found.append(Card("Classifier", percent(tuned.accuracy), f"{tuned.note} ({whole(tuned.labels)})"))
        tone = "good" if tuned.gain > 0 else "bad"
        found.append(Card("Against supervised", points(tuned.gain), "points of test accuracy", tone))
    found.append(_gate_card(inputs))
    return found


def _drift_card(inputs: Inputs) -> Card:
    found = first_drift(inputs.drift)
    drifted = sum(bool(record["drift"]) for record in inputs.drift)
    if found is None:
        return Card("Drift", "none", f"in {counted(len(inputs.drift), 'window')}", "good")
    return Card(
        "First drift", day(found["start"]), f"{drifted} of {counted(len(inputs.drift), 'window')} drifted", "bad"
    )


def _gate_card(inputs: Inputs) -> Card:
    decision = inputs.evaluate.get("decision")
    if decision is None:
        return Card("Gate", "not asked", "there was no challenger")
    if decision["promote"]:
        return Card("Gate", "promote", "the challenger may become champion", "good")
    return Card("Gate", "keep", "the champion stays", "bad")


def stream_sentence(inputs: Inputs) -> str:
    """How long the stream is and when it drifted, with the numbers."""
    first, last = inputs.windows[0], inputs.windows[-1]
    found = first_drift(inputs.drift)
    drifted = "No window drifted."
    if found is not None:
        drifted = (
            f"The first window that drifted starts {minute(found['start'])} "
            f"(statistic {number(found['statistic'])}, p {p_value(found['p_value'])})."
        )
    return (
        f"{counted(len(inputs.index), 'image')} in {counted(len(inputs.windows), 'window')}, {day(first.start)} to "
        f"{day(last.end)} (UTC). Pretraining used {whole(len(inputs.training))} of the windows. {drifted}"
    )


def labels_sentence(inputs: Inputs) -> str:
    """How many labels there are, by who may read them."""
    parts = [f"{whole(int(inputs.days['known'].sum()))} labels are known to the models."]
    if inputs.hidden:
        parts.append(f"{whole(inputs.hidden)} more exist but are hidden: only the probe measures with them.")
    if inputs.gate:
        parts.append(f"{whole(inputs.gate)} serve the promotion gate alone.")
    return " ".join(parts)


def validation_sentence(inputs: Inputs) -> str:
    """What validation read and accepted."""
    result = inputs.validation
    held = sum(bool(expectation["success"]) for expectation in result["expectations"])
    return (
        f"{whole(result['rows_read'])} images read = {whole(result['rows_accepted'])} accepted + "
        f"{whole(result['rows_quarantined'])} quarantined. {held} of {len(result['expectations'])} expectations hold."
    )


def pretrain_sentence(inputs: Inputs) -> str:
    """What was pretrained, how long, and where it ended."""
    facts = inputs.pretrain
    over = f" over {whole(facts['images'])} images" if "images" in facts else ""
    return (
        f"SimCLR, encoder {facts['encoder']}, {counted(facts['epochs'], 'epoch')}{over}, without a label. "
        f"At the end: loss {number(facts['loss'])}, alignment {number(facts['alignment'])}, "
        f"uniformity {number(facts['uniformity'])}."
    )


def gate_sentence(inputs: Inputs) -> str:
    """What the gate compared."""
    found = inputs.evaluate
    decision = found.get("decision")
    if decision is None:
        return "The gate was not asked."
    parts = [f"{counted(found['n_gate'], 'labelled image')} that no model learned from decide."]
    if found["challenger"]["accuracy"] is not None:
        parts.append(f"The challenger gets {percent(found['challenger']['accuracy'])} of them right.")
    if found["champion"] is None:
        parts.append("There was no champion.")
    elif found["champion"]["accuracy"] is not None:
        parts.append(f"The champion gets {percent(found['champion']['accuracy'])}.")
    if decision.get("gain") is not None and decision.get("interval"):
        low, high = decision["interval"]
        parts.append(f"Gain: {points(decision['gain'])} points (interval {points(low)} to {points(high)}).")
    return " ".join(parts)


def timeline_alt(inputs: Inputs) -> str:
    """What the timeline shows."""
    drifted = sum(bool(record["drift"]) for record in inputs.drift)
    return (
        f"Timeline of {len(inputs.drift)} windows with the evidence of drift, the test statistic and the use of each. "
        f"{drifted} drifted. {drift_sentence(inputs)} The table of windows has the numbers."
    )


def tests_alt(inputs: Inputs) -> str:
    """What the heat map of single tests shows."""
    alarmed = {t["name"] for r in inputs.drift if r["drift"] for t in r.get("tests", []) if _adjusted(t) < 0.001}
    seen = f"Below p = 0.001 in drifted windows: {', '.join(sorted(alarmed))}." if alarmed else "None stands out."
    return f"Heat map of the single drift tests by window. {seen}"


def _adjusted(test: dict[str, float | None]) -> float:
    value = test["p_value"] if test.get("p_adjusted") is None else test["p_adjusted"]
    return 1.0 if value is None else value


def labels_alt(inputs: Inputs) -> str:
    """What the bars of labels show."""
    total = inputs.days[["images", "known", "gate", "hidden"]].sum()
    return (
        f"Bars of the images of {counted(len(inputs.days), 'day')}: {whole(int(total['images']))} in all, "
        f"{whole(int(total['known']))} with a known label, "
        f"{whole(int(total['gate']))} whose label only the gate reads, "
        f"{whole(int(total['hidden']))} whose label is hidden."
    )


def map_sentence(noisy: NDArray[np.bool_], source: str) -> str:
    """What is on the map and how to read it."""
    marked = f", {whole(int(noisy.sum()))} of them noisy" if noisy.any() else ""
    return (
        f"{whole(len(noisy))} {source}{marked}, placed by t-SNE so that images whose features point the same way lie "
        "close. The encoder saw no label. Distances between far groups mean nothing."
    )


def map_alt(names: Sequence[str | None], source: str) -> str:
    """What the map of classes shows."""
    classes = {name for name in names if name is not None}
    return f"Map of {whole(len(names))} {source} in {len(classes)} classes: images with like features lie close."


def noise_map_alt(noisy: NDArray[np.bool_]) -> str:
    """What the map of noise shows."""
    marked, clean = int(noisy.sum()), int((~noisy).sum())
    return f"The same map with {whole(marked)} noisy copies marked among {whole(clean)} clean images."


def confusion_alt(matrix: Confusion) -> str:
    """What the confusion matrix shows."""
    worst = ", ".join(f"{true} taken for {predicted} ({number})" for true, predicted, number in matrix.pairs[:3])
    return f"Confusion matrix of {len(matrix.classes)} classes. Most frequent mix-ups: {worst or 'none'}."
