"""What a report says of a drift and of the adaptation that followed, whatever the domain."""

from collections.abc import Mapping
from typing import Any

from evergreen.report.page import MISSING


def took_over(drift: Mapping[str, Any]) -> bool:
    """Whether a drift led to a new model in service."""
    return drift.get("decision") in ("promoted", "replace")


def cost_text(cost: Any) -> str:
    """What an adaptation cost, in floating-point operations."""
    return f"{cost:.1e} FLOPs" if isinstance(cost, int | float) and cost else MISSING


def drift_row(number: int, drift: Mapping[str, Any], cost: Any) -> dict[str, Any]:
    """What a table of drifts shows of one of them.

    Args:
        number: from 1 on, by which the page speaks of it.
        drift: of drifts.json.
        cost: floating-point operations of the adaptation.
    """
    return {
        "number": number,
        "detector": drift.get("detector") or MISSING,
        "adaptation": drift.get("adaptation") or MISSING,
        "cost": cost_text(cost),
        "gain": drift.get("gain"),
        "decision": drift.get("decision") or MISSING,
        "took_over": took_over(drift),
    }
