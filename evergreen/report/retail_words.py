"""The sentences of the churn report."""

from collections.abc import Mapping, Sequence

from evergreen.report.cards import Card, validation_card
from evergreen.report.drift_words import took_over
from evergreen.report.page import MISSING, counted, day, number, percent, whole
from evergreen.report.retail_inputs import Record, RetailInputs
from evergreen.report.standings import lead, score_sentence
from evergreen.report.version_groups import VersionGroup
from evergreen.retail.drift_card import COHORTS

NOTES = {
    "tsunami": "the published system",
    "logistic-regression": "in the published loop",
    "random-forest": "in the published loop",
    "xgboost": "in the published loop",
    "logistic-window": "refitted on a sliding window",
    "xgboost-window": "refitted on a sliding window",
    "adaptive-tree": "Hoeffding adaptive tree",
    "adaptive-forest": "adaptive random forest",
    "static": "trained once, never again",
}
VIEWS = {"default": "at decision time", "published": "when the label is known"}
LARGE = 0.25
"""Population stability index above which a change is customarily called large."""


def note(model: str) -> str:
    """What a model is, for readers who do not know its name."""
    return NOTES.get(model, "")


def feature_label(name: str, periods: int, period_days: int) -> str:
    """A feature for a drawing.

    >>> feature_label("recency_3", 3, 120), feature_label("frequency_1", 3, 120)
    ('recency, last 120 days', 'frequency, 240–359 days ago')
    """
    kind, period = name.rsplit("_", 1)
    older = periods - int(period)
    if not older:
        return f"{kind}, last {period_days} days"
    return f"{kind}, {older * period_days}–{(older + 1) * period_days - 1} days ago"


def summary(inputs: RetailInputs) -> list[str]:
    """What came out, in a few sentences."""
    sentences = []
    if inputs.ingest and "data" in inputs.ingest:
        data = inputs.ingest["data"]
        sentences.append(
            f"{counted(data['receipts'], 'receipt')} of {counted(data['customers'], 'customer')}, "
            f"{day(data['first_day'])} to {day(data['last_day'])}."
        )
    main = inputs.main
    measured = inputs.models.get(main or "", {})
    if measured.get("macro_f1") is None:
        sentences.append("No model was measured.")
    else:
        said = f"{main} tells who will churn with a macro-F of {percent(measured['macro_f1'])}"
        sentences.append(score_sentence(said, lead(inputs.models, main)))
    sentences.append(drift_sentence(inputs))
    return sentences


def drift_sentence(inputs: RetailInputs) -> str:
    """How often customers drifted."""
    if not inputs.drifts:
        return "No drift was found."
    new = sum(took_over(drift) for drift in inputs.drifts)
    return (
        f"{counted(len(inputs.drifts), 'drift')} found, the first on {day(inputs.drifts[0].get('day'))}; "
        f"{whole(new)} of them put a new model into service."
    )


def cards(inputs: RetailInputs) -> list[Card]:
    """The headline numbers."""
    found = []
    if inputs.validation:
        found.append(validation_card(inputs.validation, "lines"))
    measured = inputs.models.get(inputs.main or "", {})
    if measured.get("macro_f1") is not None:
        notes = f"F churn {percent(measured.get('f1_churn'))}, non-churn {percent(measured.get('f1_non_churn'))}"
        found.append(Card("Macro-F", percent(measured["macro_f1"]), notes))
    if (ahead := lead(inputs.models, inputs.main)) is not None:
        found.append(ahead.card())
    if measured.get("auc") is not None:
        found.append(Card("AUC", f"{measured['auc']:.3f}", "of the scores, over all answers"))
    found.append(Card("Drifts", whole(len(inputs.drifts)), f"{whole(sum(map(took_over, inputs.drifts)))} new models"))
    if measured.get("n_scored") is not None:
        found.append(Card("Answers", whole(measured["n_scored"]), "with a known label"))
    return found


def data_table(data: Record) -> dict[str, str]:
    """The figures of the receipts as papers give them: heading and value."""
    gaps = data.get("days_between_receipts")
    return {
        "Customers": whole(data["customers"]),
        "with one receipt": whole(data.get("customers_with_one_receipt")),
        "Products": whole(data.get("products")),
        "Receipts": whole(data["receipts"]),
        "Items": whole(round(data["items"])),
        "Days": whole(data["days"]),
        "without receipts": whole(data.get("days_without_receipts")),
        "Receipts a day": number(data["receipts_a_day"]["mean"]),
        "Items a receipt": number(data["items_a_receipt"]["mean"]),
        "Amount a receipt": number(data["amount_a_receipt"]["mean"]),
        "Days between receipts": MISSING if gaps is None else number(gaps["mean"]),
    }


def examples_sentence(examples: Record) -> str:
    """What the receipts were made into."""
    text = f"{counted(examples['rows'], 'example')}"
    if examples.get("labelled") is not None:
        text += (
            f", {whole(examples['labelled'])} of them with a label, of which {percent(examples['churn_share'])} churn"
        )
    span = f", known from {day(examples.get('first_day'))} to {day(examples.get('last_day'))}"
    return f"{text}{span if examples.get('first_day') else ''}."


def curve_alt(inputs: RetailInputs, what: str) -> str:
    """What a drawing over the days shows."""
    return (
        f"{what} for {counted(len(inputs.tallies), 'model')}, with {counted(len(inputs.drifts), 'drift')} marked. "
        f"{' '.join(summary(inputs)[-2:-1])}"
    )


def ranks_alt(groups: Sequence[VersionGroup], labels: Mapping[str, str]) -> str:
    """What the heat map of ranks shows."""
    last = groups[-1].importance
    best = max(last, key=lambda name: last[name])
    return f"Heat map of the daily ranks of the features. In the end {labels.get(best, best)} counts most."


def swarm_alt(group: VersionGroup, labels: Mapping[str, str]) -> str:
    """What a swarm shows."""
    ordered = sorted(group.importance, key=lambda name: -group.importance[name])
    named = "; ".join(labels.get(name, name) for name in ordered[:3])
    return f"Shapley values of {counted(group.decisions, 'decision')} of {group.title}. Most important: {named}."


def customers_sentence(card: Record) -> str:
    """Who is compared on a drift card."""
    before, after = card["customers"]["before"], card["customers"]["after"]
    if not before or not after:
        return "There are not enough decisions around this day to compare customers."
    return (
        f"{counted(after, 'customer')} of the {card['days']} days up to the alarm, against {whole(before)} of the "
        f"{card['days']} days before those."
    )


def changes_sentence(card: Record, labels: Mapping[str, str]) -> str:
    """What changed in the customers, the clearest first."""
    clear = [change for change in card["features"] or [] if change["p_value"] < 0.05]
    if not clear:
        return "No single feature of the customers changed beyond chance."
    named = "; ".join(
        f"{labels.get(c['feature'], c['feature'])} (median {number(c['before'])} → {number(c['after'])}, "
        f"KS {c['ks']:.2f}{', a large change' if c['psi'] > LARGE else ''})"
        for c in clear[:3]
    )
    return f"Changed beyond chance: {named}{' and others' if len(clear) > 3 else ''}."


def cohorts_sentence(card: Record) -> str:
    """How the cohorts moved."""
    shares = card["cohorts"]
    return "Cohorts: " + ", ".join(
        f"{name} {percent(shares['before'][name], 0)} → {percent(shares['after'][name], 0)}" for name in COHORTS
    )


def worth_sentence(card: Record) -> str:
    """What the adaptation gained, measured on what came after it."""
    worth = card.get("worth")
    if not worth:
        return ""
    old, new = worth["auc_old"], worth["auc_new"]
    return (
        f"On the {whole(worth['decisions'])} labelled decisions of the {card['days']} days after it, version "
        f"{card['versions'][1]} has an AUC of {new:.3f}, version {card['versions'][0]} would have had {old:.3f}; "
        f"log-loss {worth['log_loss_new']:.3f} against {worth['log_loss_old']:.3f}."
    )
