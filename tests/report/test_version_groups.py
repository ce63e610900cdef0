"""Versions in groups that fit on a page."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.report.version_groups import group_versions


def versions(decisions: list[int]) -> list[dict[str, Any]]:
    return [
        {"model_version": number, "decisions": count, "importance": {"a": float(number), "b": 1.0}}
        for number, count in enumerate(decisions, start=1)
    ]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 12))
def test_no_version_and_no_decision_is_lost(decisions: list[int], most: int) -> None:
    groups = group_versions(versions(decisions), most)
    assert [version for group in groups for version in group.versions] == list(range(1, len(decisions) + 1))
    assert sum(group.decisions for group in groups) == sum(decisions)
    assert len(groups) <= most
    whole = sum(group.importance["a"] * group.decisions for group in groups)
    assert whole == pytest.approx(sum(number * count for number, count in enumerate(decisions, start=1)))
    assert all(group.importance["b"] == pytest.approx(1) for group in groups)


def test_few_versions_stay_alone() -> None:
    groups = group_versions(versions([1, 100, 3]), 3)
    assert [group.name for group in groups] == ["1", "2", "3"]
    assert groups[0].title == "version 1"


def test_many_share_groups_of_like_size() -> None:
    groups = group_versions(versions([10] * 40), 10)
    assert [len(group.versions) for group in groups] == [4] * 10
    assert groups[1].title == "versions 5–8"
