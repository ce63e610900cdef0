"""What a drift was about: how the customers changed, and how the model's reasons moved."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from evergreen.config import Config
from evergreen.retail.explain import ORDERS, Answer, Floats, attribute, feature_names, importance
from evergreen.stream.detectors.binned_tests import stability_index
from evergreen.stream.detectors.bins import Bins
from evergreen.stream.two_sample import holm, kolmogorov_smirnov

BINS = 10
CHURN = "1"
"""The text of churn in the ledger, as a label and as a prediction."""
COHORTS = ("new", "returning", "loyal")


class CardConfig(Config):
    """How far a card looks.

    Attributes:
        days: before the alarm that are compared with as many before those.
        customers: whose reasons are compared.
        orders: of the features, see :func:`evergreen.retail.explain.attribute`.
    """

    days: int = pydantic.Field(30, ge=1)
    customers: int = pydantic.Field(300, ge=1)
    orders: int = pydantic.Field(ORDERS, ge=1)


@dataclass(frozen=True)
class FeatureChange:
    """How one feature's distribution differs after the change.

    Attributes:
        feature: its name.
        before: median.
        after: median.
        ks: Kolmogorov-Smirnov statistic, 0..1.
        p_value: of it, corrected for the number of features (Holm).
        psi: population stability index; above 0.25 is customarily called a large change.
    """

    feature: str
    before: float
    after: float
    ks: float
    p_value: float
    psi: float


def feature_changes(before: Floats, after: Floats, names: Sequence[str]) -> list[FeatureChange]:
    """Compare customers before and after, the most changed feature first.

    The tests hold for independent rows: give **one** example a customer, since the examples of successive days of one
    customer are near-copies that would make any p-value tiny.

    Args:
        before: (n, d), n at least 1.
        after: (m, d), m at least 1.
        names: d.
    """
    tests = [kolmogorov_smirnov(before[:, i], after[:, i]) for i in range(len(names))]
    adjusted = holm([test.p_value for test in tests])
    changes = [
        FeatureChange(
            name,
            float(np.median(before[:, i])),
            float(np.median(after[:, i])),
            tests[i].statistic,
            adjusted[i],
            _psi(before[:, i], after[:, i]),
        )
        for i, name in enumerate(names)
    ]
    return sorted(changes, key=lambda change: -change.ks)


def _psi(before: Floats, after: Floats) -> float:
    return stability_index(*Bins.of(before, BINS).count(after)).statistic


def cohorts(features: Floats, names: Sequence[str]) -> NDArray[np.int64]:
    """Cohort of each customer, as number in :data:`COHORTS`.

    New: bought in the youngest period alone. Loyal: bought in every period. Returning: the others, who stayed away for
    a period or are known from the one before alone.

    Args:
        features: (n, d), unscaled.
        names: d; those of frequency tell the periods.
    """
    columns = sorted((int(name.rsplit("_", 1)[1]), i) for i, name in enumerate(names) if name.startswith("frequency_"))
    bought = features[:, [i for _, i in columns]] > 0  # (n, k), oldest first
    found = np.full(len(features), COHORTS.index("returning"))
    found[~bought[:, :-1].any(axis=1)] = COHORTS.index("new")
    if bought.shape[1] > 1:
        found[bought.all(axis=1)] = COHORTS.index("loyal")
    return found


def cohort_shares(features: Floats, names: Sequence[str]) -> dict[str, float]:
    """Share of each cohort; 0 for all without customers."""
    counts = np.bincount(cohorts(features, names), minlength=len(COHORTS))
    return {name: float(count) / max(1, len(features)) for name, count in zip(COHORTS, counts, strict=True)}


def customers_card(before: Floats, after: Floats, names: Sequence[str]) -> dict[str, Any]:
    """What changed in the customers, as plain values: None for comparisons that a side has no customers for."""
    possible = len(before) and len(after)
    changes = feature_changes(before, after, names) if possible else None
    return {
        "customers": {"before": len(before), "after": len(after)},
        "features": None if changes is None else [asdict(change) for change in changes],
        "cohorts": {"before": cohort_shares(before, names), "after": cohort_shares(after, names)},
    }


def importance_card(before: Floats, after: Floats, names: Sequence[str]) -> list[dict[str, Any]] | None:
    """How the importances moved from one model version's decisions to the next one's; None if a side has none.

    Args:
        before: (n, d) Shapley values of decisions of the version that left.
        after: (m, d) of the version that came.
        names: d.
    """
    if not len(before) or not len(after):
        return None
    old, new = importance(before), importance(after)
    order = np.argsort(-np.maximum(old, new), kind="stable")
    return [{"feature": names[i], "before": float(old[i]), "after": float(new[i])} for i in order]


def drift_card(
    entry: Mapping[str, Any],
    decisions: pd.DataFrame,
    models: Mapping[int, Answer],
    background: Floats,
    config: CardConfig,
    seed: int,
) -> dict[str, Any]:
    """What changed in the customers at a drift, how the model's reasons moved, and what the new version was worth.

    The customers are those decided on in the days up to the alarm and in as many days before; a customer counts once
    a side. The reasons are those of the old and of the new version for the **same** customers, so that what moved is
    the model. The worth compares both versions on the decisions of the days after the alarm.

    Args:
        entry: of drifts.json; it is part of the card.
        decisions: as from :func:`decisions_of`.
        models: the versions.
        background: for the reasons.
        config: how much.
        seed: of the samples.
    """
    names, rng = feature_names(list(decisions.columns)), np.random.default_rng(seed)
    alarm, length = pd.Timestamp(str(entry["day"])[:10]), pd.Timedelta(days=config.days)
    after = one_a_customer(decisions[decisions["day"].between(alarm - length, alarm, inclusive="right")], [], rng)
    earlier = decisions["day"].between(alarm - 2 * length, alarm - length, inclusive="right")
    before = one_a_customer(decisions[earlier], [], rng)
    card = {
        "drift": dict(entry),
        "days": config.days,
        **customers_card(before[names].to_numpy(np.float64), after[names].to_numpy(np.float64), names),
        "versions": None,
        "importance": None,
        "worth": None,
    }
    pair = versions_around(decisions, alarm, models)
    if pair is None or not len(after):
        return card
    features = after.head(config.customers)[names].to_numpy(np.float64)
    old, new = (
        attribute(models[version], features, background, np.random.default_rng(seed), orders=config.orders).values
        for version in pair
    )
    card["versions"] = list(pair)
    card["importance"] = importance_card(old, new, names)
    later = decisions["day"].between(alarm, alarm + length, inclusive="right")
    card["worth"] = worth(decisions[later], models[pair[0]], models[pair[1]])
    return card


def one_a_customer(frame: pd.DataFrame, within: Sequence[str], rng: np.random.Generator) -> pd.DataFrame:
    """A random row of each customer, within each value of the columns ``within``; in random order."""
    return frame.iloc[rng.permutation(len(frame))].drop_duplicates([*within, "customer_id"])


def versions_around(
    decisions: pd.DataFrame, alarm: pd.Timestamp, models: Mapping[int, Answer]
) -> tuple[int, int] | None:
    """The version that decided on the day of the alarm and the next one that did; None if none came after it."""
    versions = decisions["model_version"].astype(int)
    until = versions[decisions["day"] <= alarm]
    if not len(until):
        return None
    later = versions[(decisions["day"] > alarm) & (versions > until.iloc[-1])]
    pair = (int(until.iloc[-1]), int(later.iloc[0])) if len(later) else None
    return pair if pair and set(pair) <= set(models) else None


def worth(decisions: pd.DataFrame, old: Answer, new: Answer) -> dict[str, Any] | None:
    """How good two versions are on the same labelled decisions: AUC and log-loss, into which no threshold enters.

    Returns:
        None if the labels are not of both classes.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    labelled = decisions[decisions["label"].notna()]
    labels = is_churn(labelled["label"]).to_numpy()
    if len(np.unique(labels)) < 2:
        return None
    features = labelled[feature_names(list(labelled.columns))].to_numpy(np.float64)
    return {"decisions": len(labels)} | {
        f"{name}_{which}": float(measure(labels, model(features)))
        for which, model in (("old", old), ("new", new))
        for name, measure in (("auc", roc_auc_score), ("log_loss", log_loss))
    }


def is_churn(labels: "pd.Series[Any]") -> "pd.Series[bool]":
    """The ledger's text for a label or a prediction as bool.

    >>> is_churn(pd.Series(["1", "0"])).tolist()
    [True, False]
    """
    return labels.astype(str) == CHURN
