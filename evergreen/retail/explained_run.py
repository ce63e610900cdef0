"""A run explained: a bounded number of each day's decisions, by the version of the model that took them.

All are held against the same background, a sample of the customers of the whole run, so that versions can be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pydantic

from evergreen.config import Config
from evergreen.progress import track
from evergreen.retail.drift_card import CardConfig, drift_card, one_a_customer
from evergreen.retail.explain import Answer, Floats, attribute, feature_names, importance, ranks

SHAP = "shap_"


class ExplanationsConfig(Config):
    """How much is explained.

    Attributes:
        per_day: decisions of a day, at most one a customer.
        background: customers that decisions are held against.
        orders: of the features, see :func:`evergreen.retail.explain.attribute`.
        cards: how far a drift card looks.
    """

    per_day: int = pydantic.Field(20, ge=1)
    background: int = pydantic.Field(500, ge=1)
    orders: int = pydantic.Field(32, ge=1)
    cards: CardConfig = pydantic.Field(default_factory=CardConfig)


@dataclass(frozen=True)
class Explained:
    """What the step writes.

    Attributes:
        decisions: example_id, predicted_at, model_version, score, base, the features, and ``shap_`` + each of them.
        ranks: day, feature, importance, rank.
        summary: how it was computed, and the importances by version.
        cards: one a drift.
    """

    decisions: pd.DataFrame
    ranks: pd.DataFrame
    summary: dict[str, Any]
    cards: list[dict[str, Any]]


def decisions_of(examples: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """The ledger's answers with the features they were given, by time: adds customer_id, the features and ``day``."""
    wanted = ["example_id", "customer_id", *feature_names(list(examples.columns))]
    joined = ledger.merge(examples[wanted], on="example_id", how="inner", validate="one_to_one")
    joined["day"] = pd.to_datetime(joined["predicted_at"], utc=True).dt.tz_localize(None).dt.floor("D")
    return joined.sort_values("day", kind="stable", ignore_index=True)


def explain_run(
    decisions: pd.DataFrame,
    models: Mapping[int, Answer],
    drifts: Sequence[Mapping[str, Any]],
    config: ExplanationsConfig,
    seed: int,
) -> Explained:
    """Explain a run.

    Args:
        decisions: as from :func:`decisions_of`.
        models: the model versions; decisions of others are left out.
        drifts: the entries of drifts.json.
        config: how much.
        seed: of the samples.
    """
    names, rng = feature_names(list(decisions.columns)), np.random.default_rng(seed)
    known = decisions[decisions["model_version"].astype(int).isin(list(models))]
    chosen = one_a_customer(known, ["day"], rng).groupby("day").head(config.per_day)
    chosen = chosen.sort_values("day", kind="stable", ignore_index=True)
    backdrop = one_a_customer(known, [], rng).head(config.background)[names].to_numpy(np.float64)
    values, bases = np.zeros((len(chosen), len(names))), np.zeros(len(chosen))
    errors, gaps = [0.0], [0.0]
    versions = chosen["model_version"].astype(int).to_numpy()
    with track("explain", total=len(chosen), unit="decisions") as progress:
        for version in np.unique(versions):
            rows = np.flatnonzero(versions == version)
            features = chosen.loc[rows, names].to_numpy(np.float64)
            found = attribute(models[version], features, backdrop, np.random.default_rng(seed), orders=config.orders)
            values[rows], bases[rows] = found.values, found.base
            errors.append(found.additivity_error())
            gaps.append(float(np.abs(found.scores - chosen.loc[rows, "score"].to_numpy(np.float64)).max()))
            progress.advance(len(rows))
    shap = pd.DataFrame(values, columns=[f"{SHAP}{name}" for name in names])
    kept = chosen[["example_id", "predicted_at", "model_version", "score", *names]].assign(base=bases)
    summary = {
        "names": names,
        "decisions": len(chosen),
        "decisions_taken": len(decisions),
        "without_model": len(decisions) - len(known),
        "background": len(backdrop),
        "orders": config.orders,
        "additivity_error": max(errors),
        "largest_distance_to_the_ledger": max(gaps),
        "versions": _by_version(versions, values, names),
    }
    cards = [drift_card(entry, known, models, backdrop, config.cards, seed) for entry in drifts]
    return Explained(pd.concat([kept, shap], axis=1), daily_ranks(chosen["day"], values, names), summary, cards)


def _by_version(versions: Any, values: Floats, names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for version in np.unique(versions):
        rows = values[versions == version]
        shares = dict(zip(names, importance(rows).tolist(), strict=True))
        found.append({"model_version": int(version), "decisions": len(rows), "importance": shares})
    return found


def daily_ranks(days: "pd.Series[Any]", values: Floats, names: Sequence[str]) -> pd.DataFrame:
    """Importance and its rank, 1 the highest, of each feature on each day.

    Args:
        days: (n,) of the decisions.
        values: (n, d) Shapley values.
        names: d.

    Returns:
        day, feature, importance, rank.
    """
    daily = pd.DataFrame(np.abs(values), columns=list(names)).groupby(days.to_numpy()).mean()
    placed = pd.DataFrame(ranks(daily.to_numpy()), index=daily.index, columns=list(names))
    long = daily.rename_axis("day").reset_index().melt("day", var_name="feature", value_name="importance")
    long["rank"] = placed.rename_axis("day").reset_index().melt("day", value_name="rank")["rank"]
    return long.sort_values(["day", "rank"], kind="stable", ignore_index=True)
